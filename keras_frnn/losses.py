"""Losses for frames in [-1, 1]."""

import keras
import numpy as np
from keras import ops

from keras_frnn.checks import RANGE_MARGIN, check_range, shapes_fit

_LEAST = 1e-4


@keras.saving.register_keras_serializable(package="keras_frnn")
class FrameCrossentropy(keras.losses.Loss):
    """Binary cross-entropy of frames in [-1, 1], each pixel taken for the probability `(frame + 1) / 2` of white.

    Its gradient does not vanish where the `tanh` that made a wrong pixel is saturated, as those of squared and absolute
    error do. That matters where most pixels are black or white. It is computed in float32, and pixels are kept 1e-4
    away from probabilities 0 and 1: so a pixel's loss is finite, 9.2 at most where the true pixel is black or white.

    Args:
        reduction: as of `keras.losses.Loss`; `"sum_over_batch_size"`, the mean, by default.
        name: name of the loss.
        dtype: dtype of the result; `keras.config.floatx()` by default.

    Call arguments:
        y_true: true frames, of any shape, values in [-1, 1]. Where a value is beyond, the loss is NaN; of a NumPy array
            it is an error.
        y_pred: predicted frames of the same shape. Values beyond [-1, 1] count as -1 or 1.
        sample_weight: weights of the samples, of pixels without their channels, or of anything between.

    Returns:
        A number; with `reduction="none"` the mean over the last axis of every pixel.

    Raises:
        ValueError: the shapes differ, or `y_true` is a NumPy array with values outside [-1, 1].

    Example:

    >>> truth = np.array([[-1.0, 1.0], [-1.0, 1.0]])
    >>> prediction = np.array([[-1.0, 0.0], [0.0, 0.0]])
    >>> print(f"{float(FrameCrossentropy()(truth, prediction)):.3f}")  # Three of four know nothing: 3/4 log(2).
    0.520
    """

    def __init__(self, reduction="sum_over_batch_size", name="frame_crossentropy", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def __call__(self, y_true, y_pred, sample_weight=None):
        if isinstance(y_true, np.ndarray) and y_true.size:
            check_range(y_true, "y_true with ")
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true, y_pred):
        shapes = tuple(y_true.shape), tuple(y_pred.shape)
        if not shapes_fit(*shapes):
            raise ValueError(
                f"Expected frames of the same shape. Received: y_true of shape {shapes[0]}, y_pred of shape {shapes[1]}"
            )
        y_true, y_pred = (ops.cast(frames, "float32") for frames in (y_true, y_pred))
        white = (y_true + 1) / 2
        # Not cut off at the least probability, where the gradient would vanish, too.
        predicted = _LEAST + (1 - 2 * _LEAST) * ops.clip((y_pred + 1) / 2, 0, 1)
        loss = -(white * ops.log(predicted) + (1 - white) * ops.log(1 - predicted))
        return ops.mean(ops.where(ops.abs(y_true) <= RANGE_MARGIN, loss, np.nan), axis=-1)
