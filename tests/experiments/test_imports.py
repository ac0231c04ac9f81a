"""The package's files import each other one way, and a command line is read before Keras is loaded."""

import ast
import graphlib
import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

import keras_frnn

pytestmark = pytest.mark.once
PACKAGE = pathlib.Path(keras_frnn.__file__).parent
# What stands in one line may not import each other, or what stands below.
ORDER = [
    {"experiment", "devices", "worker_processes"},
    {"run_folder"},
    {"data"},
    {"validation", "evaluating"},
    {"training"},
    {"exporting"},
    {"running"},
    {"command_line"},
]


def imports(folder: pathlib.Path, package: str) -> dict[str, set[str]]:
    """The modules of a package that each of its modules imports, also inside functions, but not for types alone."""
    paths = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder).with_suffix("").parts
        paths[".".join([package, *(part for part in parts if part != "__init__")])] = path
    found = {}
    for module, path in paths.items():
        tree = ast.parse(path.read_text())
        for_types = {
            node for block in ast.walk(tree) if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
            for node in ast.walk(block)
        }  # fmt: skip
        names = set()
        for node in ast.walk(tree):
            if node in for_types:
                continue
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                inside = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= inside if inside <= paths.keys() else inside | {node.module}
        found[module] = names & paths.keys() - {module}
    return found


def test_no_circle_of_imports():
    found = imports(PACKAGE, "keras_frnn")
    graphlib.TopologicalSorter(found).prepare()  # Raises CycleError.
    inside = "keras_frnn.experiments."
    assert {name.removeprefix(inside) for name in found if name.startswith(inside)} == set().union(*ORDER)
    for above, names in enumerate(ORDER):
        for name in names:
            used = {module.removeprefix(inside) for module in found[inside + name] if module.startswith(inside)}
            assert used <= set().union(*ORDER[:above]), name


@pytest.mark.parametrize("first", ["import keras_frnn_command", "import keras_frnn_command, keras_frnn"])
def test_a_command_line_needs_no_keras(first):
    code = (
        f"{first}\nimport sys, keras_frnn.experiments.command_line, keras_frnn.topology\n"
        "assert not {'keras', 'numpy', 'tensorflow'} & set(sys.modules)\n"
        "import keras_frnn; assert keras_frnn.models.PAPER_TOPOLOGY is keras_frnn.topology.PAPER_TOPOLOGY\n"
        "assert 'layers' in dir(keras_frnn)"
    )
    run(code)


def test_keras_loads_networks_after_a_bare_import(tmp_path):
    path = tmp_path / "model.keras"
    model = keras_frnn.models.FoldedRNN.from_topology([("conv", 2, 3), ("recurrent", 2, 3)], 2)
    model.build((None, 2, 4, 4, 1))
    model.save(path)
    run(f"import keras_frnn\nimport keras; assert keras.saving.load_model({str(path)!r}).horizon == 2")


def run(code: str):
    root = pathlib.Path(importlib.util.find_spec("keras_frnn_command").origin).parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
