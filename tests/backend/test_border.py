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


def public_names(source: str) -> set[str]:
    """What a module defines, but for names that begin with an underscore."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.once
def test_engines_have_the_same_names():
    engines = {
        name: public_names((PACKAGE / "backend" / f"{name}.py").read_text(encoding="utf-8"))
        for name in ("tensorflow", "jax", "torch")
    }
    assert len(engines["jax"]) > 20
    assert engines["tensorflow"] == engines["jax"] == engines["torch"]


@pytest.mark.once
@pytest.mark.parametrize("file", sorted((PACKAGE / "backend").glob("*.py")), ids=lambda file: file.stem)
def test_the_engine_is_chosen_once(file):
    inside = [
        ast.unparse(node)
        for function in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
        if isinstance(node, (ast.Import, ast.ImportFrom))
    ]
    assert inside == []
    # Which formats a backend exports to is a table of all of them.
    assert file.stem in ("chosen", "exports") or crossings_of_keras(file) == []


def crossings_of_keras(file):
    return [line for line in crossings(file.read_text(encoding="utf-8")) if "keras." in line]


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
