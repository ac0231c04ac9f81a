"""Writes docs/results.md and its pictures from the runs in runs/ and the study's results. All numbers come from files.

make demo && make results
"""

import json
import pathlib
import shutil

import study_section

from keras_frnn.files import atomic_path

ROOT = pathlib.Path(__file__).parent.parent
STUDY = ROOT / "benchmarks" / "results" / "study.json"
VIDEO = ROOT / "benchmarks" / "results" / "video.md"
PICTURES = {
    "animation.gif": "Given frames, predicted frames and the truth",
    "strip.png": "One sequence over time; +1 is the first predicted frame",
    "long_horizon.png": "Predictions beyond the horizon of the training",
    "curves.png": "Scores by predicted frame",
    "layer_removal.png": "The same sequence with layers removed",
}


def main():
    runs = sorted((ROOT / "runs").glob("*/results.json"))
    if not runs:
        raise SystemExit("There is no finished run in runs/. Run a recipe first, for example `make demo`.")
    text = "# Results\n\nWritten by `make results` from the runs of the commands below.\n"
    for path in runs:
        pictures = {name: caption for name, caption in PICTURES.items() if (path.parent / name).exists()}
        text += _section(path.parent, json.loads(path.read_text()), pictures)
        for picture in pictures:
            with atomic_path(ROOT / "docs" / "figures" / f"{path.parent.name}-{picture}") as temporary:
                shutil.copyfile(path.parent / picture, temporary)
    if STUDY.exists():
        text += study_section.section(json.loads(STUDY.read_text()))
    text += "\n#" + VIDEO.read_text()  # Its heading is one of this page.
    with atomic_path(ROOT / "docs" / "results.md") as temporary:
        temporary.write_text(text)


def _section(folder: pathlib.Path, results: dict, pictures: dict[str, str]) -> str:
    lines = [
        f"\n## {folder.name}\n",
        f"    {results.get('command') or _command(results['settings'])}\n",
        "| | |",
        "| --- | --- |",
        *(f"| parameters, {name} | {count:,} |" for name, count in _by_name(results, "weights").items()),
        *(f"| training, {name} | {seconds:.0f} s |" for name, seconds in _by_name(results, "training_seconds").items()),
        f"| machine | {', '.join(f'{key} {value}' for key, value in results['machine'].items())} |",
        *(f"| test MSE, {name} | {mse:.4f} |" for name, mse in results["test_mse"].items()),
        "",
        (folder / "scores.md").read_text(),
    ]
    lines += [f"![{caption}](figures/{folder.name}-{picture})\n" for picture, caption in pictures.items()]
    return "\n".join(lines)


def _by_name(results: dict, key: str) -> dict:
    """Values by the names of their networks."""
    value = results[key]
    return value if isinstance(value, dict) else {results["title"]: value}


def _command(settings: dict) -> str:
    return f"python recipes/{settings['recipe']}.py --preset={settings['preset']} --seed={settings['seed']}"


if __name__ == "__main__":
    main()
