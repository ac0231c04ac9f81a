"""The code of the pages in docs/ runs unchanged, except for shorter trainings, and their links work."""

import re

import idea_figures
import keras
import matplotlib
import numpy as np
import paper_to_code
import pytest
from clips import write_clip
from documents import PAGES, README, ROOT, python_blocks, run, shorten_training

import keras_frnn

# processes.md is a complete program, which tests/test_processes.py runs.
_WITH_CODE = [page for page in PAGES if python_blocks(page) and page.name not in ("processes.md", "building_blocks.md")]


@pytest.mark.once
@pytest.mark.parametrize("page", _WITH_CODE, ids=lambda page: page.stem)
def test_code_runs(page, tmp_path, monkeypatch):
    if page.stem == "export":
        for name in ("onnx", "onnxruntime", "onnxscript", "tf2onnx"):
            pytest.importorskip(name)
    shorten_training(monkeypatch)
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    for name in ("monday/1.avi", "monday/2.avi", "tuesday/1.avi"):
        write_clip(tmp_path / "my_videos" / name, frames=30)
    namespace: dict = {"__name__": page.stem}
    for block in python_blocks(page):
        run(block, page, namespace)


def test_layers_are_building_blocks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page, namespace = ROOT / "docs" / "building_blocks.md", {"__name__": "building_blocks"}
    for block in python_blocks(page):
        run(block, page, namespace)
    assert namespace["accuracy"] > 0.9
    assert namespace["history"][-1] < 0.5 * namespace["history"][0]
    assert namespace["own_losses"][-1] < namespace["own_losses"][0]
    assert namespace["own_loop"][-1] < namespace["own_loop"][0]
    # The critic affects the network's weights: without it, the same step changes them differently.
    generator, (context, future) = namespace["generator"], namespace["batches"][0]
    moved = []
    for weight in (0.0, 1.0):
        keras.utils.set_random_seed(0)
        twin = type(generator).from_config(generator.get_config())
        twin.adversarial_weight = weight
        twin.build((None, *context.shape[1:]))
        twin.set_weights(generator.get_weights())
        twin.compile(keras.optimizers.SGD(0.1), "mse")
        judge = twin.judge.get_weights()
        twin.train_on_batch(context, future)
        assert all(np.array_equal(before, after) for before, after in zip(judge, twin.judge.get_weights(), strict=True))
        moved.append(keras.ops.convert_to_numpy(twin.trainable_variables[0]))
    assert np.abs(moved[1] - moved[0]).max() > 1e-5


@pytest.mark.once
@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_links_work(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.once
def test_pictures_of_the_idea_count_the_updates():
    # Three layers, four given and four predicted frames: the ladder runs 7 steps in both directions. The folded network
    # runs 4 times up and 4 times down, and its deepest layer 3 more times.
    titles = [axes.get_title(loc="left") for axes in idea_figures.schedule().axes]
    assert [re.search(r"\((\d+) updates", title)[1] for title in titles] == ["42", "27"]


@pytest.mark.once
def test_equations_refer_to_their_lines():
    assert paper_to_code.PAGE.read_text() == paper_to_code.page(), "lines have moved: run python docs/paper_to_code.py"


@pytest.mark.once
def test_files_of_the_release_name_its_version():
    assert f"\n## {keras_frnn.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()[:50]
    assert f"\nversion: {keras_frnn.__version__}\n" in (ROOT / "CITATION.cff").read_text()
