"""The code of the pages in docs/ runs as it stands, but for the length of its training; their links lead somewhere."""

import re

import idea_figures
import matplotlib
import numpy as np
import paper_to_code
import pytest
from clips import write_clip
from documents import PAGES, README, ROOT, python_blocks, run, shorten_training
from PIL import Image

# processes.md is a whole program, which tests/test_processes.py runs.
_WITH_CODE = [page for page in PAGES if python_blocks(page) and page.name != "processes.md"]


@pytest.mark.once
@pytest.mark.parametrize("page", _WITH_CODE, ids=lambda page: page.stem)
def test_code_runs(page, tmp_path, monkeypatch):
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
def test_pictures_of_the_idea_are_those_that_the_code_draws(tmp_path):
    idea_figures.main(tmp_path)
    for path in tmp_path.iterdir():
        drawn, kept = (np.asarray(Image.open(folder / path.name), float) for folder in (tmp_path, idea_figures.FIGURES))
        assert drawn.shape == kept.shape
        assert np.abs(drawn - kept).mean() < 1, f"{path.name} is old: run python docs/idea_figures.py"


@pytest.mark.once
def test_equations_lead_to_their_lines():
    assert paper_to_code.PAGE.read_text() == paper_to_code.page(), "lines have moved: run python docs/paper_to_code.py"
