"""Weights of sequences and of frames, against weighted means written by hand."""

import keras
import numpy as np
import pytest

from keras_frnn import layers, metrics, models

# As many sequences as columns, and frames as many as rows: where weights line up with the wrong axes, nothing fails.
TARGET = np.random.default_rng(0).uniform(-1, 1, (4, 2, 2, 4, 1)).astype("float32")
CONTEXT = TARGET[:, ::-1].copy()
OF_SEQUENCES = np.array([0.0, 0.5, 1.0, 3.0], "float32")
OF_FRAMES = np.array([[0, 1], [2, 0.5], [1, 1], [0, 3]], "float32")


def mean_of_frames(y_true, y_pred):
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=(2, 3, 4))


@pytest.mark.parametrize(
    ("loss", "error", "weights"),
    [
        ("mse", np.square, OF_SEQUENCES),
        ("mae", np.abs, OF_FRAMES),
        (keras.losses.MeanSquaredError(), np.square, OF_FRAMES[:, :1]),
        ([keras.losses.LogCosh()], lambda x: np.log(np.cosh(x)), OF_FRAMES),
        (mean_of_frames, np.square, OF_SEQUENCES),
        (mean_of_frames, np.square, OF_FRAMES),
    ],
)
def test_loss_is_the_weighted_mean(loss, error, weights):
    model = models.CopyLastFrame(horizon=2)
    model.compile(loss=loss)
    errors = error(CONTEXT[:, -1:] - TARGET).mean(axis=(2, 3, 4))
    expected = np.mean(errors * weights.reshape(4, -1))
    np.testing.assert_allclose(model.test_on_batch(CONTEXT, TARGET, sample_weight=weights), expected, rtol=1e-5)


def test_fit_weighs_loss_and_metrics():
    model = models.FoldedRNN([layers.FoldedConvGRU(2, 3)], horizon=2)
    frames = metrics.MSE(value_range=(0, 1), name="frames")
    model.compile(keras.optimizers.SGD(0.0), "mse", weighted_metrics=["mse", frames])
    errors = np.square(model.forecast(CONTEXT) - TARGET).mean(axis=(2, 3, 4))
    logs = model.fit(CONTEXT, TARGET, sample_weight=OF_FRAMES, batch_size=4, verbose=0).history
    np.testing.assert_allclose(logs["loss"], np.mean(errors * OF_FRAMES), rtol=1e-5)
    for name in ("mse", "frames"):
        np.testing.assert_allclose(logs[name], np.average(errors, weights=OF_FRAMES), rtol=1e-5)


def test_loss_that_divides_by_the_weights():
    model = models.CopyLastFrame(horizon=2)
    model.compile(loss=keras.losses.MeanSquaredError(reduction="mean_with_sample_weight"))
    errors = np.square(CONTEXT[:, -1:] - TARGET).mean(axis=(2, 3, 4))
    loss = model.test_on_batch(CONTEXT, TARGET, sample_weight=OF_FRAMES)
    np.testing.assert_allclose(loss, np.average(errors, weights=OF_FRAMES), rtol=1e-5)


def test_weights_of_another_shape():
    model = models.CopyLastFrame(horizon=2)
    model.compile(loss="mse")
    with pytest.raises(ValueError, match=r"\(batch,\) or \(batch, time\). Received: sample_weight of shape \(4, 3\)"):
        model.test_on_batch(CONTEXT, TARGET, sample_weight=np.ones((4, 3), "float32"))
