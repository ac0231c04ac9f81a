"""Scores on real videos."""

import json
import pathlib

import motion_trials
import numpy as np
import pytest
import video_scores

from keras_frnn import models

pytestmark = pytest.mark.once
ROOT = pathlib.Path(__file__).parent.parent.parent


def test_windows_with_a_scene_cut_are_left_out():
    video = np.linspace(-1, -0.9, 60, dtype="float32")[:, None, None, None] * np.ones((1, 16, 16, 3), "float32")
    video[50:] *= -1
    model = models.CopyLastFrame(10)
    clip = video_scores.scores(model, video)
    assert clip["cuts"] == [False, False, True]
    kept = video_scores.without_cuts(clip)
    assert kept["windows"] == 2
    np.testing.assert_allclose(kept["network"], kept["copy"])
    np.testing.assert_allclose(kept["copy"], (np.arange(1, 11) * 0.1 / 59 / 2) ** 2, atol=1e-6)
    assert "| clip.mp4 | 2 of 3 | 0.0000 | 1.00 | 1.00, 1.00, 1.00 |" in video_scores.page(
        {"clip.mp4": clip}, "a", 16, {}
    )


def test_trials_in_the_documentation():
    results = ROOT / "benchmarks" / "results"
    found = json.loads((results / "motion.json").read_text())
    table = motion_trials.page(found["trials"], found["about"])
    assert table == (results / "motion.md").read_text()
    assert table in (ROOT / "docs" / "motion.md").read_text()
    errors = {"network": [0.1, 0.3], "flow": [0.2, 0.2], "both": [0.1, 0.1], "copy": [0.4, 0.4]}
    row = motion_trials.row("a", *(np.array(errors[kind] * 5) for kind in ("network", "copy", "flow")))
    assert row == "| a | 0.500 | 0.25, 0.25, 0.75 | +1, +3, +5, +7, +9 |"
