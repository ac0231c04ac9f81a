"""What differs between TensorFlow, JAX and Torch is in `keras_frnn.backend` alone."""

import ast
import pathlib

import pytest

import keras_frnn

PACKAGE = pathlib.Path(keras_frnn.__file__).parent
FILES = [file for folder in ("layers", "models", "metrics") for file in sorted((PACKAGE / folder).glob("**/*.py"))]


def crossings(source: str) -> list[str]:
    """The backends that a module imports, and the places where it asks Keras which one it runs on."""
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Attribute):
            names = [ast.unparse(node)]
        for name in names:
            asks = name.startswith("keras.") and name.endswith((".backend.backend", ".config.backend"))
            if asks or (name.split(".")[0] in ("tensorflow", "jax", "torch") and not isinstance(node, ast.Attribute)):
                found.append(f"line {node.lineno}: {name}")
    return found


@pytest.mark.once
def test_only_the_backend_package_knows_backends():
    assert len(FILES) > 10
    found = {str(file.relative_to(PACKAGE)): crossings(file.read_text(encoding="utf-8")) for file in FILES}
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.once
@pytest.mark.parametrize(
    "source",
    [
        "import jax.numpy as jnp",
        "def f():\n    import torch",
        "from tensorflow import nn",
        "import keras\nif keras.backend.backend() == 'jax': pass",
        "import keras\nif keras.config.backend() == 'jax': pass",
        "from keras.config import backend",
    ],
)
def test_crossings_are_found(source):
    assert len(crossings(source)) == 1
