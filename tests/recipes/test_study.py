"""The study's runs are what it compares, each is trained and scored, and its page draws the verdicts that follow."""

import json
import pathlib

import numpy as np
import pytest
import study
from absl import flags
from absl.testing import flagsaver

from keras_frnn import models

pytestmark = pytest.mark.once
ROOT = pathlib.Path(study.__file__).parent.parent
TOPOLOGY = [("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3)]


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    flags.FLAGS.mark_as_parsed()
    monkeypatch.syspath_prepend(ROOT / "docs")
    networks = {
        "fRNN": lambda: models.FoldedRNN.from_topology(TOPOLOGY, 10),
        "RLadder": lambda: models.LadderRNN.from_topology(TOPOLOGY, 10),
        "RLadder pre-trained": lambda: models.LadderRNN.from_topology(TOPOLOGY, 10),
    }
    monkeypatch.setattr(study, "NETWORKS", networks)
    study.gmac_a_sequence.cache_clear()
    yield
    study.gmac_a_sequence.cache_clear()


def test_equal_arithmetic_and_equal_sequences():
    tmac = 100 * study.gmac_a_sequence("RLadder") * study.BATCH / 1e3
    steps = {run.name: study.training_steps(run, tmac) for run in study.runs(seeds=2)}
    assert (
        steps["RLadder-arithmetic-0"] == steps["RLadder-pre-trained-arithmetic-1"] == steps["fRNN-sequences-0"] == 100
    )
    assert steps["fRNN-arithmetic-0"] * study.gmac_a_sequence("fRNN") == pytest.approx(
        100 * study.gmac_a_sequence("RLadder"), rel=0.01
    )
    assert len(steps) == 2 * 4  # RLadder's are of both comparisons.


def test_a_training_leaves_its_scores_and_its_weights(tmp_path):
    tmac = 2 * study.gmac_a_sequence("RLadder") * study.BATCH / 1e3
    results = []
    for run in study.runs(seeds=1):
        study.train(run, tmp_path / run.name, tmac, test_sequences=3)
        results.append(json.loads((tmp_path / run.name / "result.json").read_text()))
    assert [np.isfinite(result["scores"][result["network"]]["mse"]).all() for result in results] == [True] * 4
    assert all(("layer_removal" in result) == (result["network"] == "fRNN") for result in results)
    study.draw(results, tmp_path, tmp_path)
    assert (tmp_path / "study-curves.png").exists()
    assert (tmp_path / "study-strip.png").exists()


def test_another_setting_is_refused(tmp_path):
    (tmp_path / "setting.json").write_text(json.dumps({"tmac": 3.0}))
    with (
        flagsaver.flagsaver(output=str(tmp_path)),
        pytest.raises(SystemExit, match=r"other settings \(tmac: 3.0 there, 2.0 here.*Pass another --output"),
    ):
        study.main(None)


def test_page_has_the_verdicts_of_its_numbers():
    import study_section

    found = json.loads((ROOT / "benchmarks" / "results" / "study.json").read_text())
    assert study_section.section(found) in (ROOT / "docs" / "results.md").read_text()
    less = study_section._less
    assert less(np.array([1, 2]), np.array([3, 4])) == "confirmed"
    assert less(np.array([3, 4]), np.array([1, 2])) == "not confirmed: the opposite"
    assert less(np.array([1, 3]), np.array([2, 4])) == "not confirmed: trainings overlap"
