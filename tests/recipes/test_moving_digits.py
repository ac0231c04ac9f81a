"""The recipe of the preset moving-digits, on networks that train in seconds, and the tables of its page."""

import itertools
import json
import os
import shlex
import signal

import digit_scores
import keras
import moving_digits
import numpy as np
import pytest
from documents import ROOT

from keras_frnn import datasets, models
from keras_frnn.experiments import data, run_folder, training
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.devices import Place
from keras_frnn.experiments.experiment import flat, phases, replace

NARROW, WIDE = ((("conv", n, 3), ("pool", 2), ("recurrent", n + 1, 3)) for n in (2, 3))
TINY = replace(
    moving_digits.QUICK,
    topology=WIDE,
    size=16,
    iterations=4,
    checkpoint_every=2,
    warm_up=2,
    test_sequences=3,
    context=3,
    horizon=2,
    phases=(
        dict(topology=NARROW, horizon=1, cooldown=0.3),
        dict(topology=NARROW, turns=moving_digits.HALF, dssim=0.5, ema=0.9, seed=10),
        dict(precision="mixed_bfloat16", loss="mse", dssim=0.1, seed=20),
        dict(iterations=1, average=2, seed=30),
    ),
)


def run(folder, *stages):
    main("recipes/moving_digits.py", argv=[*stages, f"--output={folder}"], tiny=TINY)


@pytest.mark.once
def test_one_command_trains_and_exports_a_preset(tmp_path, monkeypatch):
    run(tmp_path / "whole", "train")
    end = training.Checkpoints.on_train_batch_end

    def stop_in_second(self, batch, logs=None):
        if self.folder.path.name == "phase-2" and self.iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        end(self, batch, logs)

    monkeypatch.setattr(training.Checkpoints, "on_train_batch_end", stop_in_second)
    with pytest.raises(SystemExit):
        run(tmp_path / "run", "train", "export")
    monkeypatch.undo()
    (tmp_path / "run" / "saving-preset").mkdir()  # As a killed process leaves it.
    run(tmp_path / "run", "train", "export")
    networks = [run_folder.load(tmp_path / name / "model.keras", compile=False)[0] for name in ("run", "whole")]
    frames = np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 16, 1)).astype("float32")
    of_run, of_whole = (network.forecast(frames) for network in networks)
    np.testing.assert_allclose(of_run, of_whole, atol=1e-3)
    assert {path.name for path in (tmp_path / "run" / "preset").iterdir()} == {
        "README.md", "config.json", "metadata.json", "model.weights.h5", "sample.npz"
    }  # fmt: skip
    assert not (tmp_path / "run" / "saving-preset").exists()

    preset = models.FoldedRNN.from_preset(tmp_path / "run" / "preset")
    assert (preset.name, preset.horizon) == ("moving_digits", 2)
    assert {layer.dtype_policy.name for layer in preset.stack} == {"float32"}
    np.testing.assert_allclose(preset.forecast(frames), of_run, atol=0.05)
    metadata = json.loads((tmp_path / "run" / "preset" / "metadata.json").read_text())
    assert [part["iterations"] for part in metadata["training"]] == [4, 4, 4, 1]
    assert metadata["scores"]["sequences"] == 3
    values = [metadata[key]["values"] for key in ("scores", "scores_on_unseen_motion")]
    assert values[0]["copy_last_frame"]["mse"] != values[1]["copy_last_frame"]["mse"]
    card = (tmp_path / "run" / "preset" / "README.md").read_text()
    mine, copy = (np.mean(values[0][name]["mse"]) for name in ("model", "copy_last_frame"))
    assert f"| MSE | {mine:.4f}; {mine / copy:.3f} of copying the last frame |" in card
    assert "TMAC of forward passes, 13 iterations" in card
    with np.load(tmp_path / "run" / "preset" / "sample.npz") as sample:
        context, forecast = (sample[name].astype("float32") / 127.5 - 1 for name in ("context", "forecast"))
    np.testing.assert_allclose(preset.forecast(context), forecast, atol=0.02)


def test_pixels_stay_float32():
    """In bfloat16, black would not be exactly black."""
    experiment, _ = phases(TINY)[2]
    model = training.make_model(experiment, (2, 3, 16, 16, 1))
    assert [layer.compute_dtype for layer in model.stack] == ["float32", "bfloat16", "bfloat16"]
    assert model.loss.get_config()["weight"] == 0.1
    assert model.optimizer.global_clipnorm == 1.0
    twin = training.in_float32(model, horizon=4)
    assert (twin.horizon, {layer.compute_dtype for layer in twin.stack}) == (4, {"float32"})
    for one, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_kinds_of_batches_take_turns():
    turns = (dict(num_digits=1), {}, dict(speed=0.2))
    experiment = replace(TINY, turns=turns, phases=(), seed=5)
    kinds = [dict(num_digits=1, speed=0.05, seed=5), dict(speed=0.05, seed=6), dict(speed=0.2, seed=7)]
    given = dict(digits="mnist-5k", size=16, context=3, horizon=2, batch_size=2)
    expected = [iter(datasets.moving_mnist("train", **given, **kind)) for kind in kinds]
    expected = [next(expected[number % 3])[0] for number in range(7)]
    for done in (0, 1, 5):
        batches = itertools.islice(data.train_data(experiment, done), 2)
        for (context, _), right in zip(batches, expected[done:], strict=False):
            np.testing.assert_array_equal(context, right)
    halves = [next(iter(data.train_data(experiment, 4, Place(processes=2, process=n))))[0] for n in (0, 1)]
    np.testing.assert_array_equal(np.concatenate(halves), expected[4])


@pytest.mark.once
def test_phases_are_those_of_the_shipped_network():
    recorded = models.FoldedRNN.presets["moving-digits"]["training"]
    losses = {"FrameCrossentropy": "crossentropy", "mse": "mse"}
    for (phase, average), stage in zip(phases(moving_digits.SHIPPED), recorded, strict=True):
        flags: dict = {}
        for argument in shlex.split(stage["command"])[2:]:
            name, _, value = argument.removeprefix("--").partition("=")
            flags.setdefault(name, []).append(value)
        values = flat(phase)
        assert values["iterations"] == int(stage["steps"])
        assert str(list(values["topology"])).replace(" ", "").replace("'", '"') == flags["topology"][0]
        assert values["precision"] == flags["dtype"][0]
        assert losses[values["loss"]] == flags.get("loss", ["crossentropy"])[0]
        digits = [kind.get("num_digits", values["num_digits"]) for kind in values["turns"]]
        assert digits == [int(number) for number in flags["num_digits"]]
        for name, flag, default in (
            ("horizon", "horizon", 10), ("batch_size", "batch_size", 2), ("learning_rate", "rate", 2e-3),
            ("cooldown", "cooldown", 1), ("dssim", "dssim", 0), ("ema", "ema", 0), ("seed", "seed", 0),
        ):  # fmt: skip
            assert values[name] == float(flags.get(flag, [default])[0]), (name, stage)
        assert average == max(1, len(flags.get("initial", [])))


@pytest.mark.once
def test_tables_of_the_page_are_those_of_the_results(tmp_path):
    page = ROOT / "docs" / "learning.md"
    (tmp_path / "page.md").write_text(page.read_text())
    digit_scores.write_page(tmp_path / "page.md")
    assert (tmp_path / "page.md").read_text() == page.read_text(), "run python recipes/digit_scores.py --tables"


class NearestMean:
    """A classifier that needs no training: the class whose mean frame is nearest."""

    def fit(self, frames, labels, **_):
        self.means = np.stack([frames[labels == label].mean(axis=0) for label in range(10)])

    def predict(self, frames, **_):
        return -np.square(frames[:, None] - self.means).sum(axis=(2, 3, 4))


@pytest.mark.once
def test_readable_digits(monkeypatch):
    assert tuple(digit_scores._classifier()(np.zeros((1, 16, 16, 1))).shape) == (1, 10)
    monkeypatch.setattr(digit_scores, "_classifier", NearestMean)
    network = models.FoldedRNN.from_preset("moving-digits")
    truth, predicted, copied = digit_scores.readability(network, sequences=3, training_sequences=50)
    assert float(truth["+1"]) > 0.6
    assert float(copied["+10"]) == float(copied["+1"]) > 0.6
    assert 0.5 < float(predicted["+1"]) <= float(truth["+1"]) + 0.1


@pytest.mark.once
def test_what_could_be_known_of_moving_digits():
    test = datasets.moving_mnist(
        "test", "mnist-5k", size=32, num_digits=2, speed=0.05, batch_size=3, sequences=3, format="keras"
    )
    _, future = test[0]
    digits, places = test.make.trajectories(np.arange(3))
    images, pixels = test.make.digits[digits] / 255, test.make.corners(places)
    for index, paths in enumerate(pixels):
        possible = [digit_scores.continuations(test.make, path[:10], np.random.default_rng(0)) for path in paths]
        for of_digit, path in zip(possible, paths, strict=True):
            assert of_digit.shape[1:] == (10, 2)
            assert np.abs(of_digit - path[10:]).max() <= 3  # Ten given frames leave no more doubt about the next ten.
            assert (of_digit[:, 0] == path[10]).all(axis=-1).any()
        # If the positions of the digits are known, the mean is the frame.
        known = digit_scores.mean_frame(32, images[index], [path[None, 10] for path in paths])
        np.testing.assert_allclose(known, (future[index, 0, ..., 0] + 1) / 2, atol=1e-6)
        pairs = itertools.product(*(p[:, 9] for p in possible))
        drawn = [digit_scores.drawn(32, images[index], both) for both in pairs]
        mean = digit_scores.mean_frame(32, images[index], [p[:, 9] for p in possible])
        np.testing.assert_allclose(mean, np.mean(drawn, axis=0), atol=1e-9)


@pytest.mark.once
def test_best_predictions_are_better_than_the_network():
    rows = digit_scores.limits(models.FoldedRNN.from_preset("moving-digits"), sequences=5)
    assert [row["sequences with"] for row in rows[:2]] == ["one digit", "two digits"]
    for row in rows[:2]:
        assert 0 < float(row["bound / copy"]) < float(row["network / copy"]) < 0.6


@pytest.mark.once
def test_a_stage_of_the_file(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(digit_scores, "write", lambda model, folder: seen.append((model.horizon, folder)))
    own = {"digits": ("digit_scores", "a test")}
    stages = ["train", "digits"]
    argv = [f"--output={tmp_path}", "--phases=()", "--iterations=1"]
    main("recipes/moving_digits.py", argv=argv, by_default=stages, own=own, tiny=TINY)
    assert seen == [(2, tmp_path)]
    assert keras.saving.load_model(tmp_path / "model.keras").horizon == 2
