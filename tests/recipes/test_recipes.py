"""The recipes' machinery on a network that trains in seconds."""

import json

import experiment
import keras
import mmnist_frnn
import numpy as np
import pytest

from keras_frnn import datasets, models

FILES = {
    "animation.gif", "curves.png", "model.keras", "progress.json", "results.json", "scores.csv", "settings.json",
    "strip.png",
}  # fmt: skip


def run(output, steps=4, seed=0):
    def make_model():
        keras.utils.set_random_seed(seed)
        return models.FoldedRNN.from_topology([("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3)], horizon=2)

    def train_data(steps_done):
        return datasets.moving_mnist(
            "train", "uci", size=16, context=2, horizon=2, batch_size=2, start=2 * steps_done, seed=seed
        )

    training = experiment.Training(
        steps=steps, steps_per_epoch=2, batch_size=2, loss="mse", optimizer=lambda: keras.optimizers.Adam(1e-2)
    )
    test_data = datasets.moving_mnist("test", "uci", size=16, context=2, horizon=2, batch_size=2, sequences=5)
    return experiment.run(make_model, training, train_data, test_data, {"seed": seed}, output)


def test_run_writes_scores_and_pictures(tmp_path, capsys):
    scores = run(tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == FILES
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test_mse"]["model"] == pytest.approx(scores["model"]["mse"].mean())
    assert results["test_sequences"] == 5
    assert results["machine"]["backend"] == keras.backend.backend()
    futures = [future for _, future in datasets.moving_mnist("test", "uci", size=16, context=2, horizon=2, sequences=5)]
    black = np.mean(((np.concatenate(futures) + 1) / 2) ** 2)
    assert results["test_mse"]["black_frame"] == pytest.approx(black, rel=1e-5)
    printed = capsys.readouterr().out
    for number in results["test_mse"].values():
        assert f"{number:.4f}" in printed


class InterruptedInTheSecondEpoch(experiment._Checkpoint):
    def on_train_batch_end(self, batch, logs=None):
        if (self.output / "model.keras").exists():
            raise KeyboardInterrupt


def test_interrupted_run_ends_like_an_undisturbed_one(tmp_path, capsys, monkeypatch):
    run(tmp_path / "undisturbed")
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "_Checkpoint", InterruptedInTheSecondEpoch)
        with pytest.raises(SystemExit, match="Interrupted. The same command goes on"):
            run(tmp_path / "disturbed")
    assert {path.name for path in (tmp_path / "disturbed").iterdir()} == {
        "model.keras", "progress.json", "settings.json"
    }  # fmt: skip
    run(tmp_path / "disturbed")
    assert "Going on from step 2 of 4" in capsys.readouterr().out
    weights = [
        keras.saving.load_model(tmp_path / n / "model.keras").get_weights() for n in ("undisturbed", "disturbed")
    ]
    for undisturbed, disturbed in zip(*weights, strict=True):
        np.testing.assert_allclose(disturbed, undisturbed, rtol=1e-5, atol=1e-6)
    run(tmp_path / "disturbed")
    assert "has had its 4 steps" in capsys.readouterr().out


def test_folder_of_another_run(tmp_path):
    run(tmp_path / "run")
    with pytest.raises(SystemExit, match="other settings"):
        run(tmp_path / "run", seed=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(SystemExit, match="holds no run of a recipe"):
        run(tmp_path / "mine")


def test_paper_preset_is_the_published_protocol():
    preset = mmnist_frnn.PRESETS["paper"]
    training = preset["training"]
    optimizer = training.optimizer()
    assert preset["topology"] == models.PAPER_TOPOLOGY
    assert preset["data"] == {"digits": "mnist", "size": 64}
    assert (training.steps, training.batch_size, training.loss) == (500_000, 12, "mae")
    assert isinstance(optimizer, keras.optimizers.RMSprop)
    assert float(optimizer.learning_rate) == pytest.approx(1e-4)


@pytest.mark.parametrize("preset", mmnist_frnn.PRESETS)
def test_presets_fit_their_data(preset):
    preset = mmnist_frnn.PRESETS[preset]
    size = preset["data"]["size"]
    model = models.FoldedRNN.from_topology(preset["topology"], horizon=10, kernel_initializer="zeros")
    model.build((None, 10, size, size, 1))
    assert model.compute_output_shape((None, 10, size, size, 1)) == (None, 10, size, size, 1)
    assert preset["training"].steps % preset["training"].steps_per_epoch == 0
