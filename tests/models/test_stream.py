"""A stream forecasts what the model forecasts of all its frames, and holds none of them."""

import keras
import numpy as np
import pytest

from keras_frnn import models

TOPOLOGY = [("conv", 3, 3), ("pool", 2), ("recurrent", 4, 3), ("recurrent", 3, 3)]


def make(family=models.FoldedRNN, **kwargs):
    return family.from_topology(TOPOLOGY, horizon=3, **kwargs)


def video(time=6, shape=(8, 12, 1)):
    return np.random.default_rng(0).uniform(-1, 1, (time, *shape)).astype("float32")


@pytest.mark.parametrize(
    ("family", "data_format"),
    [
        (models.FoldedRNN, "channels_last"),
        (models.FoldedRNN, "channels_first"),
        (models.LadderRNN, "channels_last"),
    ],
)
def test_equals_the_forecast_of_all_frames(family, data_format):
    model = make(family, data_format=data_format)
    frames = video(shape=(3, 8, 12) if data_format == "channels_first" else (8, 12, 3))
    stream = model.stream(frames[0].shape)
    for count, frame in enumerate(frames, start=1):
        stream.update(frame)
        if count in (1, len(frames)):
            # Both forecasts are from the same state: the first one must not have changed it.
            for steps in (None, 5):
                expected = model.forecast(frames[None, :count], steps)[0]
                np.testing.assert_allclose(stream.forecast(steps), expected, atol=1e-6)
    assert stream.frames_seen == len(frames)


def test_compiles_once_and_follows_the_weights():
    model, frames = make(), video(time=8)
    stream = model.stream((8, 12, 1))
    for frame in frames:
        stream.update(frame)
        stream.forecast()
    # The first frame, the frames after it, the forecast.
    assert len(model._compiled_calls) == (0 if keras.backend.backend() == "torch" else 3)
    stream.reset()
    model.set_weights([weight + 0.1 for weight in model.get_weights()])
    for frame in frames[:2]:
        stream.update(frame)
    before = stream.forecast()
    assert len(model._compiled_calls) == (0 if keras.backend.backend() == "torch" else 3)
    np.testing.assert_allclose(before, model.forecast(frames[None, :2])[0], atol=1e-6)


def test_holds_no_frames_and_records_no_gradient():
    stream = make().stream((8, 12, 1))
    sizes = []
    for frame in video():
        stream.update(frame)
        tensors = keras.tree.flatten(stream._state)
        sizes.append(sum(int(np.prod(tensor.shape)) for tensor in tensors))
        assert not any(getattr(tensor, "requires_grad", False) for tensor in tensors)
    assert len(set(sizes)) == 1


def test_shape_of_what_the_model_was_built_for_and_bytes_of_a_camera():
    model, frames = make(), video(time=2)
    model.build((None, 10, 8, 12, 1))
    stream = model.stream()
    assert stream.frame_shape == (8, 12, 1)
    camera = ((frames + 1) * 127.5).round().astype("uint8")
    for frame in camera:
        stream.update(frame)
    np.testing.assert_allclose(stream.forecast(), model.forecast(camera[None] / 127.5 - 1)[0], atol=1e-6)
    stream.reset()
    assert stream.frames_seen == 0
    stream.update(keras.ops.convert_to_tensor(frames[1]))
    np.testing.assert_allclose(stream.forecast(), model.forecast(frames[None, 1:])[0], atol=1e-6)


@pytest.mark.once
class TestErrors:
    def test_nothing_seen(self):
        stream = make().stream((8, 12, 1))
        with pytest.raises(ValueError, match="seen no frame yet. Call `update"):
            stream.forecast()
        stream.update(video()[0])
        stream.reset()
        with pytest.raises(ValueError, match="seen no frame yet"):
            stream.forecast()

    @pytest.mark.parametrize(
        ("frame", "message"),
        [
            (np.zeros((1, 8, 12, 1)), r"one frame of shape \(8, 12, 1\) at a time. Received: shape=\(1, 8, 12, 1\)"),
            (np.zeros((8, 12)), r"Received: shape=\(8, 12\)"),
            (np.zeros((16, 24, 1)), r"Received: shape=\(16, 24, 1\).*make another stream"),
            (np.full((8, 12, 1), 255.0), r"values in \[-1, 1\]. Received: values from 255"),
            (np.full((8, 12, 1), np.nan), "Received: NaN"),
            (np.zeros((8, 12, 1), "int32"), "floating-point frames .* Received: dtype=int32"),
        ],
    )
    def test_frames(self, frame, message):
        model, good = make(), video(time=1)
        stream = model.stream((8, 12, 1))
        stream.update(good[0])
        with pytest.raises(ValueError, match=message):
            stream.update(frame)
        assert stream.frames_seen == 1
        np.testing.assert_allclose(stream.forecast(), model.forecast(good[None])[0], atol=1e-6)

    def test_frame_shape(self):
        with pytest.raises(ValueError, match="does not tell the size of its frames. Pass it"):
            make().stream()
        with pytest.raises(ValueError, match="Frame height 7 does not fit"):
            make().stream((7, 12, 1))
        with pytest.raises(ValueError, match="`frame_shape` must be a positive integer or 3 of them"):
            make().stream((8, 12))
        model = make()
        model.build((None, None, None, None, 1))
        with pytest.raises(ValueError, match="does not tell the size"):
            model.stream()
        with pytest.raises(ValueError, match=r"built for frames of 1 channel\(s\)"):
            model.stream((8, 12, 3))

    def test_steps_and_weights(self):
        stream = make().stream((8, 12, 1))
        stream.update(video()[0])
        with pytest.raises(ValueError, match="`steps` must be a positive integer"):
            stream.forecast(0)
        stream.model.set_weights([np.full_like(weight, np.nan) for weight in stream.model.get_weights()])
        with pytest.raises(FloatingPointError, match="NaN or infinite. So have its weights"):
            stream.forecast()
