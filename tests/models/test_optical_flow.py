"""The baseline that moves the last frame."""

import cv2
import numpy as np
import pytest

from keras_frnn import evaluation, models


def panning(channels: int = 3, frames: int = 8, size=(32, 40), speed=2) -> np.ndarray:
    """A smooth texture that moves by `speed` columns per frame, float32 `(1, time, height, width, channels)`."""
    height, width = size
    noise = np.random.default_rng(0).normal(0, 1, (height, width + speed * frames, channels)).astype("float32")
    scene = cv2.GaussianBlur(noise, (0, 0), 2).reshape(height, -1, channels)
    scene /= np.abs(scene).max()
    return np.stack([scene[:, speed * t : speed * t + width] for t in range(frames)])[None]


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_motion_goes_on(channels):
    video = panning(channels)
    forecast = models.OpticalFlow(4, "channels_last").forecast(video[:, :4])
    assert (forecast.shape, forecast.dtype) == (video[:, 4:].shape, np.dtype("float32"))
    error, copied = (np.square(frames - video[:, 4:]).mean((0, 2, 3, 4)) for frames in (forecast, video[:, 3:4]))
    assert (error < 0.5 * copied).all()
    # Away from the sides, which show what has not been seen.
    assert np.abs(forecast[0, 0, 8:-8, 8:-8] - video[0, 4, 8:-8, 8:-8]).max() < 0.2


def test_data_format_and_steps():
    video = panning()
    last, first = (models.OpticalFlow(2, form) for form in ("channels_last", "channels_first"))
    forecast = last.forecast(video[:, :4], steps=3)
    moved = first.forecast(np.moveaxis(video[:, :4], -1, 2), steps=3)
    np.testing.assert_array_equal(np.moveaxis(moved, 2, -1), forecast)
    np.testing.assert_allclose(np.asarray(last(video[:, :4])), forecast[:, :2], atol=1e-6)
    np.testing.assert_allclose(last.predict(video[:, :4], verbose=0), forecast[:, :2], atol=1e-6)
    assert models.OpticalFlow.from_config(first.get_config()).data_format == "channels_first"


def test_what_rests_is_copied():
    video = panning(speed=0)
    flow = models.OpticalFlow(3, "channels_last")
    np.testing.assert_allclose(flow.forecast(video[:, :4]), video[:, 4:7], atol=1e-3)
    moving = panning()
    np.testing.assert_array_equal(flow.forecast(moving[:, :1]), moving[:, [0, 0, 0]])  # One frame shows no motion.


def test_is_scored_beside_networks():
    video = panning()
    scores = evaluation.evaluate({"flow": models.OpticalFlow(4, "channels_last")}, [(video[:, :4], video[:, 4:])])
    assert scores["flow"]["mse"].mean() < 0.5 * scores["copy_last_frame"]["mse"].mean()


def test_smallest_frames():
    smallest = models.OpticalFlow.smallest
    flow = models.OpticalFlow(1, "channels_last")
    for size in ((smallest, 40), (40, smallest), (smallest, smallest)):
        assert np.isfinite(flow.forecast(panning(size=size)[:, :4])).all()
    with pytest.raises(ValueError, match=f"at least {smallest}x{smallest}. Received: frames of shape"):
        flow.forecast(panning(size=(smallest - 1, 40)))
    with pytest.raises(ValueError, match=r"values in \[-1, 1\]|range"):
        flow.forecast(2 * panning())
