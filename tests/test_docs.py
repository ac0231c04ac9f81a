"""The code of the pages in docs/ runs as it stands, but for the length of its training; their links lead somewhere."""

import re

import idea_figures
import matplotlib
import paper_to_code
import pytest
from clips import write_clip
from documents import PAGES, README, ROOT, python_blocks, run, shorten_training

import keras_frnn

# processes.md is a whole program, which tests/test_processes.py runs.
_WITH_CODE = [page for page in PAGES if python_blocks(page) and page.name != "processes.md"]


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


@pytest.mark.once
@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.once
def test_pictures_of_the_idea_count_the_updates():
    # Three layers, four given and four predicted frames: 7 steps of the ladder, both ways through them. The folded
    # network goes 4 times up and 4 times down, and its deepest layer 3 times more.
    titles = [axes.get_title(loc="left") for axes in idea_figures.schedule().axes]
    assert [re.search(r"\((\d+) updates", title)[1] for title in titles] == ["42", "27"]


@pytest.mark.once
def test_equations_lead_to_their_lines():
    assert paper_to_code.PAGE.read_text() == paper_to_code.page(), "lines have moved: run python docs/paper_to_code.py"


@pytest.mark.once
def test_files_of_the_release_name_its_version():
    assert f"\n## {keras_frnn.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()[:50]
    assert f"\nversion: {keras_frnn.__version__}\n" in (ROOT / "CITATION.cff").read_text()
