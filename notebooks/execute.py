"""Executes the notebooks of this folder and writes them back with their outputs.

python notebooks/execute.py [NAME.ipynb ...]

Needs the extra `docs`. Times, paths and progress bars are removed, since they do not belong in a repository.
"""

import base64
import io
import os
import pathlib
import re
import sys
import tempfile

import nbformat
from nbclient import NotebookClient
from PIL import Image

from keras_frnn.files import atomic_path

FOLDER = pathlib.Path(__file__).parent
LARGEST = 300_000  # Bytes per notebook.


def main(names: list[str]):
    for path in [FOLDER / name for name in names] or sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": folder}}).execute()
        text = nbformat.writes(cleaned(notebook)) + "\n"
        if len(text) > LARGEST:
            raise SystemExit(f"{path.name} would have {len(text):,} bytes, but only {LARGEST:,} are allowed.")
        with atomic_path(path) as temporary:
            temporary.write_text(text)


def cleaned(notebook):
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number}", {}
        if cell.cell_type == "code":
            cell.outputs = [kept for output in cell.outputs if (kept := _cleaned_output(output)) is not None]
    return notebook


def _cleaned_output(output):
    if "image/png" in output.get("data", {}):
        output.data = {"image/png": _smaller(output.data["image/png"])}
    if output.output_type != "stream":
        return output
    if output.name == "stderr":  # Only messages of libraries; failures raise exceptions.
        return None
    # Keep the last state of a progress bar.
    output.text = re.sub(r"[^\n]*[\r\b]+(?=[^\n\r\b])", "", output.text).replace("\b", "")
    return output


def _smaller(picture: str) -> str:
    """A picture in base64 reduced to 64 colors, which takes a third of the space."""
    buffer = io.BytesIO()
    image = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB")
    image.quantize(64).save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main(sys.argv[1:])
