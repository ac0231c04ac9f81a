"""Motion as the lowest layer: optical flow, its forecasts, and what layers above change in them."""

import keras
import numpy as np
import pytest
import scipy.ndimage
from keras import ops

from keras_frnn import datasets, layers, models
from keras_frnn.layers import lucas_kanade

RANDOM = np.random.default_rng(0)
TOPOLOGY = [("motion",), ("patch", 2), ("recurrent", 4, 3), ("pool", 2), ("minimal", 4, 3)]


def smooth(height: int, width: int, right: float = 0.0, down: float = 0.0) -> np.ndarray:
    """A pattern of waves of three channels, as it looks after it has moved."""
    y, x = np.mgrid[:height, :width].astype("float32")
    x, y = x - right, y - down
    waves = [np.sin(x / 3 + k) * np.cos(y / (4 - k)) for k in range(3)]
    return 0.8 * np.stack(waves, -1).astype("float32")


def moving(right: float, down: float, steps: int = 8, height: int = 24, width: int = 36) -> np.ndarray:
    return np.stack([smooth(height, width, right * t, down * t) for t in range(steps)])[None]


def test_pixels_are_moved_as_scipy_moves_them():
    frames = RANDOM.normal(size=(2, 7, 9, 3)).astype("float32")
    flow = RANDOM.normal(0, 4, (2, 7, 9, 2)).astype("float32")  # Beyond edges, too.
    places = np.mgrid[:7, :9] + np.moveaxis(flow[..., ::-1], -1, 1)
    expected = [
        [scipy.ndimage.map_coordinates(plane, place, order=1, mode="nearest") for plane in np.moveaxis(frame, -1, 0)]
        for frame, place in zip(frames, places, strict=True)
    ]
    found = ops.convert_to_numpy(lucas_kanade.moved(ops.convert_to_tensor(frames), ops.convert_to_tensor(flow)))
    np.testing.assert_allclose(found, np.moveaxis(expected, 1, -1), atol=1e-5)


def test_means_over_neighbors_are_those_of_scipy():
    frames = RANDOM.normal(size=(2, 11, 14)).astype("float32")
    expected = frames
    for axis in (1, 2) * 2:
        expected = scipy.ndimage.correlate1d(expected, lucas_kanade._BINOMIAL, axis=axis, mode="nearest")
    found = lucas_kanade.local_mean(ops.convert_to_tensor(frames))
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 3), (7, 9)])
def test_frames_of_any_size(size):
    frames = np.full((1, 3, *size, 1), 0.5, "float32")
    encoded = ops.convert_to_numpy(layers.FoldedMotion2D()(frames))
    np.testing.assert_allclose(encoded[..., :1], frames)
    np.testing.assert_allclose(encoded[..., 1:], 0, atol=1e-6)
    # A field at half the size stays the same at the whole, up to the last row and column.
    field = ops.ones((1, -(-size[0] // 2), -(-size[1] // 2)))
    np.testing.assert_allclose(ops.convert_to_numpy(lucas_kanade._doubled(field, ops.ones((1, *size)))), 1, atol=1e-6)


def test_flow_is_about_as_good_as_that_of_opencv():
    import cv2

    sequences = datasets.moving_pictures("test", sequences=4, batch_size=4, size=64, flow=True, format="keras")
    frames, truth = (ops.convert_to_numpy(part) for part in next(iter(sequences)))
    before, after = (part.reshape(-1, 64, 64, 3) for part in (frames[:, :-1], frames[:, 1:]))
    # How far each pixel has moved, from the frame before; OpenCV is asked the same.
    found = ops.convert_to_numpy(lucas_kanade.optical_flow(ops.stack([after, before])))[0]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    gray = [np.round((part.mean(-1) + 1) * 127.5).astype("uint8") for part in (before, after)]
    opencv = np.stack([dis.calc(a, b, None) for a, b in zip(*gray, strict=True)])
    still, ours, theirs = (
        np.linalg.norm(flow - truth.reshape(found.shape), axis=-1).mean() for flow in (0, found, opencv)
    )
    assert ours < 1.2 * theirs
    assert ours < 0.6 * still


@pytest.mark.parametrize("velocity", [(0.7, -0.4), (-2.5, 1.5)])
def test_what_moves_evenly_goes_on(velocity):
    video = moving(*velocity, steps=12)
    layer = layers.FoldedMotion2D()
    sequence = ops.convert_to_tensor(np.swapaxes(video, 0, 1))
    encoded, state = layer.encode(sequence[:8])
    above = ops.repeat(encoded[-1:], 4, axis=0)  # As a layer above hands on whose gates are closed.
    forecast = ops.convert_to_numpy(layer.decode(above, state))
    inside = np.s_[:, :, 10:-10, 10:-10]
    truth, last = np.swapaxes(video, 0, 1)[8:], np.swapaxes(video, 0, 1)[7:8]
    errors = np.square(forecast - truth)[inside].mean((1, 2, 3, 4))
    copied = np.square(last - truth)[inside].mean((1, 2, 3, 4))
    assert (errors < 0.05 * copied).all()
    right, down, share = np.moveaxis(ops.convert_to_numpy(encoded)[-1, 0, 10:-10, 10:-10, 3:], -1, 0)
    np.testing.assert_allclose([right.mean() * 8, down.mean() * 8], [-velocity[0], -velocity[1]], atol=0.1)
    assert share.mean() > 0.8


def test_what_stands_still_is_copied():
    video = np.repeat(smooth(16, 16)[None, None], 5, axis=1)
    encoded = ops.convert_to_numpy(layers.FoldedMotion2D()(video))
    np.testing.assert_allclose(encoded[..., 3:], 0, atol=1e-6)
    for context in (1, 5):
        model = models.FoldedRNN.from_topology(TOPOLOGY, 3, decoder_update_bias=-30.0)
        np.testing.assert_allclose(model.forecast(video[:, :context]), video[:, :3], atol=1e-4)


def test_two_frames_are_enough_for_the_whole_velocity():
    encoded = ops.convert_to_numpy(layers.FoldedMotion2D(reach=4.0)(moving(1.0, 0.0, steps=2)))
    np.testing.assert_allclose(encoded[0, 1, 10:-10, 10:-10, 3].mean() * 4, -1, atol=0.1)


def test_velocities_end_at_the_reach():
    encoded = ops.convert_to_numpy(layers.FoldedMotion2D(reach=0.5)(moving(2.0, 0.0)))
    assert np.abs(encoded[..., 3:5]).max() == 1


def test_decoding_is_the_equation():
    """In a frame of one row."""
    layer = layers.FoldedMotion2D(reach=2.0)
    last = np.arange(6, dtype="float32").reshape(1, 1, 6, 1) / 10
    above = np.zeros((2, 1, 1, 6, 4), "float32")
    above[..., 0], above[..., 1] = -1, 0.25  # Half a pixel per step, from the right.
    above[0, ..., 3], above[1, ..., 3] = 1, 0
    memory = np.zeros((1, 1, 6, 5), "float32")
    found = ops.convert_to_numpy(
        layer.decode(ops.convert_to_tensor(above), tuple(map(ops.convert_to_tensor, (last, memory))))
    )
    np.testing.assert_allclose(found[0, 0, 0, :, 0], [0.05, 0.15, 0.25, 0.35, 0.45, 0.5], atol=1e-6)
    np.testing.assert_allclose(found[1, 0, 0, :, 0], (np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.5]) - 1) / 2, atol=1e-6)


def test_a_velocity_is_learned():
    """Through the place that is read: the only thing that can make this network's forecast right."""
    video = moving(0.0, 0.0, steps=4, height=16, width=16)
    target = np.stack([smooth(16, 16, 0.2 * t) for t in (1, 2, 3)])[None]
    model = models.FoldedRNN([layers.FoldedMotion2D(), layers.FoldedConvGRU(2, 3, decoder_update_bias=-4.0)], 3)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    before = model.train_on_batch(video, target)
    for _ in range(40):
        after = model.train_on_batch(video, target)
    assert after < 0.5 * before
    above = model.stack[1].rollout(model.encode(video)[1], 3)
    assert ops.convert_to_numpy(above)[..., 3].mean() < 0  # It comes from the left.


def test_in_a_network(tmp_path):
    model = models.FoldedRNN.from_topology(TOPOLOGY, 4, decoder_update_bias=-4.0)
    context = moving(0.7, -0.4, steps=5)
    whole = model.forecast(context)
    stream = model.stream()
    for frame in context[0]:
        stream.update(frame)
    np.testing.assert_allclose(stream.forecast(), whole[0], atol=1e-4)
    assert model.truncate(3).forecast(context).shape == whole.shape
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras").forecast(context), whole, atol=1e-5)
    model.save_to_preset(tmp_path / "preset")
    np.testing.assert_allclose(models.FoldedRNN.from_preset(tmp_path / "preset").forecast(context), whole, atol=2e-3)
    encode, decode, state = model.streaming_models((24, 36, 3))
    for frame in context[0]:
        state = encode([frame[None], *state])
    np.testing.assert_allclose(ops.convert_to_numpy(decode(state)), whole, atol=1e-4)


def test_channels_first():
    context = moving(0.7, -0.4, steps=3)
    last = layers.FoldedMotion2D(data_format="channels_last")(context)
    first = layers.FoldedMotion2D(data_format="channels_first")(np.moveaxis(context, -1, 2))
    np.testing.assert_allclose(np.moveaxis(ops.convert_to_numpy(first), 2, -1), ops.convert_to_numpy(last), atol=1e-6)


def test_errors():
    for reach in (0, -1.0, float("nan"), "far"):
        with pytest.raises(ValueError, match="reach"):
            layers.FoldedMotion2D(reach=reach)
    with pytest.raises(ValueError, match=r"Received: entry 0 = \('motion', 8\)"):
        models.FoldedRNN.from_topology([("motion", 8), ("recurrent", 4, 3)], 4)
    with pytest.raises(ValueError, match="layers of a LadderRNN that have a state are BridgeLadder layers"):
        models.LadderRNN.from_topology([("motion",), ("recurrent", 4, 3)], 4)
