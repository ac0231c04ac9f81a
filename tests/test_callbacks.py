"""Pictures of a network during training: for which epochs, their contents, and errors."""

import shutil

import keras
import numpy as np
import pytest
from PIL import Image

from keras_frnn import callbacks, models

CONTEXT, FUTURE = (np.random.default_rng(0).uniform(-1, 1, (5, time, 8, 8, 1)).astype("float32") for time in (3, 2))


def fit(*pictures, epochs=3, **kwargs):
    model = models.FoldedRNN.from_topology([("conv", 2, 3), ("recurrent", 2, 3)], horizon=1, name="mine", **kwargs)
    model.compile("sgd", "mse")
    model.fit(CONTEXT, FUTURE[:, :1], epochs=epochs, verbose=0, callbacks=pictures)
    return model


def test_every_second_epoch_and_the_last(tmp_path):
    fit(callbacks.ForecastPictures(CONTEXT, keras.ops.convert_to_tensor(FUTURE), tmp_path / "new", every=2))
    names = [f"epoch-{epoch:04d}.{suffix}" for epoch in (2, 3) for suffix in ("gif", "png")]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    with Image.open(tmp_path / "new" / "epoch-0003.gif") as gif:
        assert gif.n_frames == 5  # 3 given, 2 predicted: those of `future`, not the model's horizon.


def test_shows_the_network_of_that_epoch(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(callbacks, "plot_strip", lambda *arguments, **_: drawn.append(arguments))
    model = fit(callbacks.ForecastPictures(CONTEXT, FUTURE, tmp_path, animation=False), epochs=2)
    assert [arguments[3].name for arguments in drawn] == ["epoch-0001.png", "epoch-0002.png"]
    np.testing.assert_array_equal(drawn[-1][2]["mine"], model.forecast(CONTEXT[:4], 2))
    assert np.abs(drawn[0][2]["mine"] - drawn[1][2]["mine"]).max() > 0
    assert not list(tmp_path.iterdir())


def test_tensorboard_reads_the_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(callbacks.ForecastPictures(CONTEXT, FUTURE, tmp_path / "pictures", animation=False, log_dir=tmp_path / "logs"))
    events = EventAccumulator(str(tmp_path / "logs")).Reload().Images("forecast")
    assert [event.step for event in events] == [1, 2, 3]
    assert events[-1].encoded_image_string == (tmp_path / "pictures" / "epoch-0003.png").read_bytes()


def test_a_failed_picture_does_not_end_the_training(tmp_path, capsys):
    """A file in place of the folder imitates a disk that fails during training."""
    folder = tmp_path / "pictures"

    def block(epoch, logs):
        if epoch == 0:
            shutil.rmtree(folder)
            folder.touch()

    pictures = callbacks.ForecastPictures(CONTEXT, FUTURE, folder, animation=False)
    model = fit(pictures, keras.callbacks.LambdaCallback(on_epoch_end=block))
    assert model.optimizer.iterations == 3
    lines = [line for line in capsys.readouterr().out.splitlines() if line]
    assert [line[: len("No picture of epoch 1")] for line in lines] == [
        "No picture of epoch 2",
        "No picture of epoch 3",
    ]
    assert all(str(folder) in line and line.endswith("Training continues.") for line in lines)
    # A folder that cannot be used is refused before the first epoch. Weights that are not finite end the training.
    with pytest.raises(NotADirectoryError, match="pictures is a file"):
        fit(pictures)
    broken = models.FoldedRNN.from_topology([("conv", 2, 3), ("recurrent", 2, 3)], horizon=1)
    broken.compile("sgd", "mse")
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: broken.set_weights([weight * np.nan for weight in broken.get_weights()])
    )
    pictures = callbacks.ForecastPictures(CONTEXT, FUTURE, tmp_path)
    with pytest.raises(FloatingPointError, match="NaN or infinite"):
        broken.fit(CONTEXT, FUTURE[:, :1], verbose=0, callbacks=[spoil, pictures])


def test_errors(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="`every` must be a positive integer"):
        callbacks.ForecastPictures(CONTEXT, FUTURE, tmp_path, every=0)
    with pytest.raises(ValueError, match="at least one sequence"):
        callbacks.ForecastPictures(CONTEXT[:0], FUTURE[:0], tmp_path)
    with pytest.raises(ValueError, match=r"values in \[-1, 1\]"):
        fit(callbacks.ForecastPictures(CONTEXT + 3, FUTURE, tmp_path), epochs=0)
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        callbacks.ForecastPictures(CONTEXT, FUTURE, tmp_path, log_dir=tmp_path)
    assert not list(tmp_path.iterdir())
