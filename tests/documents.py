"""Shared code of the tests of the README and the pages."""

import pathlib
import re

import keras

ROOT = pathlib.Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def python_blocks(path: pathlib.Path) -> list[str]:
    """The blocks of code, except those whose title names another backend."""
    blocks = re.findall(r'```python(?: title="(\w+)")?\n(.*?)```', path.read_text(), flags=re.DOTALL)
    return [code for title, code in blocks if title.lower() in ("", keras.config.backend())]


def run(block: str, path: pathlib.Path, namespace: dict) -> dict:
    """Runs a block of a file in a namespace, and returns the namespace."""
    exec(compile(block, str(path), "exec"), namespace)
    return namespace


def shorten_training(monkeypatch):
    """Makes `fit` run one epoch of two steps if `steps_per_epoch` is given."""
    fit = keras.Model.fit

    def short_fit(model, *args, **kwargs):
        if kwargs.get("steps_per_epoch"):
            kwargs["steps_per_epoch"] = 2
        return fit(model, *args, **{**kwargs, "epochs": 1})

    monkeypatch.setattr(keras.Model, "fit", short_fit)
