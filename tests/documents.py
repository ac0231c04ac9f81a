"""What the tests of README and pages share."""

import pathlib
import re

import keras

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def python_blocks(path: pathlib.Path) -> list[str]:
    """The blocks of code, without those whose title names another backend."""
    blocks = re.findall(r'```python(?: title="(\w+)")?\n(.*?)```', path.read_text(), flags=re.DOTALL)
    return [code for title, code in blocks if title.lower() in ("", keras.config.backend())]


def run(block: str, path: pathlib.Path, namespace: dict) -> dict:
    """Runs a block of a file in a namespace, and returns that."""
    exec(compile(block, str(path), "exec"), namespace)
    return namespace


def shorten_training(monkeypatch):
    """Lets `fit` go two steps instead of `steps_per_epoch`, for one epoch."""
    fit = keras.Model.fit

    def short_fit(model, *args, **kwargs):
        if kwargs.get("steps_per_epoch"):
            kwargs["steps_per_epoch"] = 2
        return fit(model, *args, **{**kwargs, "epochs": 1})

    monkeypatch.setattr(keras.Model, "fit", short_fit)
