"""Training in phases, each a run of its own; and runs that an older version has begun."""

import json
import os
import pathlib
import signal

import keras
import numpy as np
import pytest
from test_running import ROOT, TINY, assert_same_weights, fails, rewrite, run, weights

from keras_frnn.experiments import run_folder, training
from keras_frnn.experiments.experiment import phases, replace

PHASES = replace(
    TINY,
    ema=None,
    phases=(
        dict(horizon=1, num_digits=1, iterations=2),
        dict(iterations=4, learning_rate=1e-3, loss="mse", seed=1),
        dict(iterations=0, average=2),
    ),
)


def test_a_phase_is_the_experiment_with_other_flags():
    first, second, mean = phases(replace(PHASES, initial_weights="runs/other"))
    assert [average for _, average in (first, second, mean)] == [1, 1, 2]
    assert first[0] == replace(PHASES, horizon=1, num_digits=1, iterations=2, phases=(), initial_weights="runs/other")
    assert second[0] == replace(PHASES, iterations=4, learning_rate=1e-3, loss="mse", seed=1, phases=())


@pytest.mark.once
def test_phases_are_interrupted_and_go_on(tmp_path, monkeypatch, capsys):
    run(tmp_path / "whole", "train", experiment=PHASES)
    end = training.Checkpoints.on_train_batch_end

    def stop_in_second(self, batch, logs=None):
        if self.folder.path.name == "phase-2" and self.iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        end(self, batch, logs)

    monkeypatch.setattr(training.Checkpoints, "on_train_batch_end", stop_in_second)
    assert fails(tmp_path / "run", "train", experiment=PHASES) == "143"
    monkeypatch.undo()
    assert not (tmp_path / "run" / "model.keras").exists()
    run(tmp_path / "run", "evaluate", "--test_sequences=25", experiment=PHASES)  # The network of the second phase.
    assert json.loads((tmp_path / "run" / "results.json").read_text())["iteration"] == 3
    capsys.readouterr()
    run(tmp_path / "run", "train", experiment=PHASES)
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'run' / 'phase-1' / 'model.keras'} has had its 2 iterations." in printed
    assert "Going on from iteration 3 of 4" in printed
    assert_same_weights(weights(tmp_path / "run"), weights(tmp_path / "whole"))

    # The second phase started from the first, the third is the mean of both, and the run's network is the third's.
    one, two, three = (weights(tmp_path / "run" / f"phase-{number}") for number in (1, 2, 3))
    assert_same_weights(three, weights(tmp_path / "run"))
    assert_same_weights(three, [(a + b) / 2 for a, b in zip(one, two, strict=True)])
    assert max(np.abs(a - b).max() for a, b in zip(one, two, strict=True)) > 1e-4
    _, record = run_folder.load(tmp_path / "run" / "model.keras", compile=False)
    assert record["iteration"] == 6
    first = keras.saving.load_model(tmp_path / "run" / "phase-1" / "model.keras")
    assert first.horizon == 1
    one_rate = replace(TINY, decay=None, phases=(dict(iterations=1),))
    run(tmp_path / "one", "train", experiment=one_rate)
    assert "learning_rate: 0.002 in the folder, 0.1 now" in fails(
        tmp_path / "one", "train", "--learning_rate=0.1", experiment=one_rate
    )
    assert "phases: [{" in fails(tmp_path / "run", "train", "--phases=({},)", experiment=PHASES)


@pytest.mark.once
def test_a_run_of_version_0_3_goes_on(tmp_path, capsys):
    """Its settings have the flags in other parts."""
    settings = json.loads((ROOT / "tests" / "data" / "experiments" / "settings_of_0_3.json").read_text())
    run(tmp_path / "new", "train")
    for name in ("settings.json", "checkpoints"):
        old = tmp_path / name / "old"
        (old / "checkpoints").mkdir(parents=True)
        if name == "settings.json":
            (old / name).write_text(json.dumps(settings))
        checkpoint = pathlib.Path("checkpoints") / "00000002.keras"
        rewrite(tmp_path / "new" / checkpoint, old / checkpoint, lambda record: record.update(settings=settings))
        assert "batch_size: 2 in the folder, 3 now\n" in fails(old, "train", "--batch_size=3")
        run(old, "train")
        assert "Going on from iteration 2 of 6" in capsys.readouterr().out
        assert_same_weights(weights(old), weights(tmp_path / "new"))
        # A new run beside it is compared with it.
        run(old.parent / "copy", "train", "evaluate", "--iterations=1", "--title=new", "--test_sequences=25")
        scores = json.loads((old.parent / "copy" / "results.json").read_text())["scores"]["values"]
        assert set(scores) == {"new", "fRNN", "copy_last_frame"}
        capsys.readouterr()
