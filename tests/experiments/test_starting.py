"""Trainings on videos: what they start from, which layers they train, and which checkpoint they keep."""

import re

import keras
import numpy as np
import pytest
import videos_frnn
from clips import write_clip

import keras_frnn_command
from keras_frnn import datasets, models
from keras_frnn.experiments import run_folder
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import replace

WINDOWS = dict(context=3, horizon=4)
TINY = replace(
    videos_frnn.QUICK,
    topology=(("patch", 2), ("minimal", 4, 3), ("pool", 2), ("recurrent", 4, 3)),
    data="prepared",
    iterations=2,
    checkpoint_every=1,
    validation=5,
    test_sequences=5,
    samples=1,
    **WINDOWS,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three prepared videos for training and one for testing, 16x16 in color."""
    folder = tmp_path_factory.mktemp("videos")
    for i in range(4):
        write_clip(folder / "clips" / f"{i}.avi", size=(32, 32), frames=14, seed=i, color=True)
    arguments = ["--size=16x16", "--workers=1", "--test=3.avi"]
    assert (
        keras_frnn_command.main(["prepare", str(folder / "clips"), f"--output={folder / 'prepared'}", *arguments]) == 0
    )
    return folder / "prepared"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prepared").symlink_to(folder)


def run(path, *argv, experiment=TINY):
    main("recipes/tiny.py", argv=[*argv, f"--output={path}"], paper=experiment)
    return run_folder.load(path / "model.keras", compile=False)


def fails(path, *argv, experiment=TINY) -> str:
    with pytest.raises(SystemExit) as error:
        run(path, *argv, experiment=experiment)
    return str(error.value.code)


def ratios(model) -> np.ndarray:
    """Squared errors by step on the test video, divided by those of copying."""
    test = datasets.video_folder("prepared", "test", batch_size=20, **WINDOWS, format="keras")
    context, future = test[0]
    forecast = model.forecast(context, future.shape[1])
    error, copied = (np.square(frames - future).mean((0, 2, 3, 4)) for frames in (forecast, context[:, -1:]))
    return error / copied


@pytest.mark.parametrize("preset", [videos_frnn.QUICK, videos_frnn.SMALL], ids=["quick", "small"])
def test_an_untrained_network_copies_or_goes_on_with_motion(preset):
    network = preset.network
    biases = dict(update_bias=network.update_bias, decoder_update_bias=network.decoder_update_bias)
    topology = [(*entry[:1], 8, 3) if len(entry) == 3 else entry for entry in network.topology]
    for layers in (topology, network.topology)[: 1 + (preset is videos_frnn.QUICK)]:
        keras.utils.set_random_seed(0)
        copies, moves = (
            ratios(models.FoldedRNN.from_topology(x, WINDOWS["horizon"], **biases)) for x in (layers[1:], layers)
        )
        assert (copies < 1.005).all()
        assert (copies > 0.9).all()
        assert (moves < 0.9).all()


def test_a_short_training_is_never_worse_than_copying(capsys):
    arguments = ["--network=quick", "--context=3", "--horizon=4", "--steps=6", "--save-every=3", "--batch=1"]
    assert keras_frnn_command.main(["train", "prepared", *arguments]) == 0
    model = keras.saving.load_model("model.keras", compile=False)
    by_step = ratios(model)
    assert (by_step < 1.005).all()
    printed = capsys.readouterr().out
    assert "The forecast is better than copying at every step." in printed
    assert re.search("The forecast is .*better than optical flow", printed)
    row = re.search(r"^  network( +[\d.]+){4}$", printed, re.MULTILINE)[0].split()[1:]
    np.testing.assert_allclose([float(ratio) for ratio in row], by_step, atol=0.006)


def test_the_best_checkpoint_is_kept(tmp_path, capsys):
    """With a rate that destroys the network, that is the one before training."""
    model, record = run(tmp_path / "a", "train", "--learning_rate=10")
    assert (record["iteration"], record["network_of"]) == (2, 0)
    assert (ratios(model) < 1.005).all()
    worse, _ = run_folder.load(tmp_path / "a" / "checkpoints" / "00000002.keras", compile=False)
    assert ratios(worse).mean() > ratios(model).mean()
    printed = capsys.readouterr().out
    before, *after = [float(score) for score in re.findall(r"validation ([\d.]+) of copying", printed)]
    assert len(after) == 2
    assert before < min(after)
    # It is evaluated, too, and compared with optical flow.
    main("recipes/tiny.py", argv=["evaluate", "analyse", f"--output={tmp_path / 'a'}"], paper=TINY)
    assert "optical_flow" in capsys.readouterr().out
    results = run_folder.read_json(tmp_path / "a" / "results.json")
    errors = results["test_mse"]
    assert set(errors) == {"fRNN", "copy_last_frame", "optical_flow", "black_frame"}
    assert errors["fRNN"] < 1.005 * errors["copy_last_frame"]


@pytest.mark.once
def test_a_file_without_its_run_goes_on_from_the_best_checkpoint(tmp_path):
    arguments = ["train", "prepared", "--network=quick", "--context=3", "--horizon=4", "--batch=1", "--save-every=1"]
    assert keras_frnn_command.main([*arguments, "--learning-rate=10", "--steps=2"]) == 0
    (tmp_path / "model.keras").rename("copy.keras")
    assert (
        keras_frnn_command.main(["train", "prepared", "--output=copy.keras", "--steps=3", "--learning-rate=1e-4"]) == 0
    )
    record = run_folder.record_of(tmp_path / "copy.keras")
    assert record["iteration"] == 3
    assert (ratios(keras.saving.load_model("copy.keras")) < 1.005).all()


def test_frozen_layers_keep_their_weights(tmp_path):
    source = models.FoldedRNN.from_topology(TINY.network.topology, 4)
    source.build((None, 3, 16, 16, 3))
    source.save("source.keras")
    frozen = replace(TINY, freeze=2, initial_weights="source.keras", validation=None, learning_rate=0.1)
    run(tmp_path / "a", "train", experiment=replace(frozen, iterations=1, decay=None))
    # Also when the training goes on, with the state of the optimizer.
    model, _ = run(tmp_path / "a", "train", experiment=replace(frozen, decay=None))
    for layer, other in zip(model.stack, source.stack, strict=True):
        for weight, before in zip(layer.get_weights(), other.get_weights(), strict=True):
            assert np.array_equal(weight, before) == (layer is model.stack[1]), layer.name
    loaded = keras.saving.load_model(tmp_path / "a" / "model.keras")
    assert int(loaded.optimizer.iterations) == 2
    assert len(loaded.trainable_variables) == len(model.stack[-1].weights)
    assert "Freezing must leave layers to train: the network has 4. Received: 4" in fails(
        tmp_path / "b", "train", "--freeze=4"
    )


@pytest.mark.once
def test_sources(tmp_path, capsys):
    source = models.FoldedRNN.from_topology([("patch", 2), ("minimal", 3, 3)], 4)
    source.build((None, 3, 8, 8, 1))
    source.save("source.keras")
    source.save_to_preset("preset")
    run(tmp_path / "run", "train")
    different = "The source's frames have 1 channels, these 3. Layer 2 has 4 filters, 3 of them from the source."
    for name, text in [("source.keras", f" {different}"), ("preset", f" {different}"), ("run", "")]:
        run(tmp_path / f"from_{name}", "train", f"--initial_weights={name}", "--iterations=1")
        assert f"Starting from the weights of {name}.{text}" in capsys.readouterr().out
    for name, message in [
        ("moving-pictures", "cannot start from moving-pictures. Layer 1 cannot start from the source's. Expected"),
        ("moving-picture", "There is no trained network in moving-picture.*The presets are moving-digits, moving-pict"),
        ("none.keras", "none.keras"),
    ]:
        assert re.search(message, fails(tmp_path / f"other_{name}", "train", f"--initial_weights={name}"))


@pytest.mark.once
def test_validation_that_is_not_possible(tmp_path):
    assert "of the weights, not of their running average" in fails(tmp_path / "a", "train", "--ema=0.9")
    message = fails(tmp_path / "b", "train", "--context=8", "--horizon=7")
    assert "has no video of 15 frames" in message or "nothing to hold out" in message
