"""Losses for frames in [-1, 1]."""

import keras
import numpy as np
from keras import ops

from keras_frnn.checks import RANGE_MARGIN, check_data_format, check_range, shapes_fit
from keras_frnn.metrics import image_quality

_LEAST = 1e-4


class _FrameLoss(keras.losses.Loss):
    """A loss of frames in [-1, 1]: an array beyond is an error; a tensor, which may not have values yet, gives NaN."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        if isinstance(y_true, np.ndarray) and y_true.size:
            check_range(y_true, "y_true with ")
        if sample_weight is not None:
            sample_weight = self._weights_of_values(sample_weight, ops.shape(ops.convert_to_tensor(y_pred)))
        return super().__call__(y_true, y_pred, sample_weight)

    def _axes_of_values(self, frames_shape: tuple) -> int:
        """How many of the frames' axes the values have that are weighed, the first of them."""
        raise NotImplementedError

    def _weights_of_values(self, sample_weight, frames_shape: tuple):
        # Keras lines up the last axes, where sequences would weigh the columns of frames, and divides by the sum of the
        # weights as they are.
        weights = ops.cast(ops.convert_to_tensor(sample_weight), self.dtype)
        expected = tuple(frames_shape[: self._axes_of_values(frames_shape)])
        missing = len(expected) - len(weights.shape)
        if missing == -1 and weights.shape[-1] == 1:
            weights, missing = ops.squeeze(weights, -1), 0
        axes = zip(weights.shape, expected, strict=False)
        if missing < 0 or any(isinstance(there, int) and here not in (1, there, None) for here, there in axes):
            raise ValueError(
                f"`sample_weight` must be of shape {expected}, or have fewer axes, the first of these, or axes of 1. "
                f"Received: sample_weight of shape {tuple(weights.shape)}"
            )
        return ops.broadcast_to(ops.reshape(weights, (*ops.shape(weights), *[1] * missing)), expected)


def _where_in_range(y_true, loss):
    """The losses of single pixels or of frames, NaN where a true pixel is beyond [-1, 1]."""
    axes = tuple(range(len(loss.shape), len(y_true.shape)))
    return ops.where(ops.all(ops.abs(y_true) <= RANGE_MARGIN, axis=axes), loss, np.nan)


@keras.saving.register_keras_serializable(package="keras_frnn")
class FrameCrossentropy(_FrameLoss):
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
        sample_weight: weights of the samples, `(batch,)`, of pixels without their channels, or of anything between, as
            `(batch, time)` of frames.

    Returns:
        A number; with `reduction="none"` the mean over the last axis of every pixel.

    Raises:
        ValueError: the shapes differ, weights do not fit, or `y_true` is a NumPy array with values outside [-1, 1].

    Example:

    >>> truth = np.array([[-1.0, 1.0], [-1.0, 1.0]])
    >>> prediction = np.array([[-1.0, 0.0], [0.0, 0.0]])
    >>> print(f"{float(FrameCrossentropy()(truth, prediction)):.3f}")  # Three of four know nothing: 3/4 log(2).
    0.520
    """

    def __init__(self, reduction="sum_over_batch_size", name="frame_crossentropy", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def _axes_of_values(self, frames_shape):
        return len(frames_shape) - 1

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
        return ops.mean(_where_in_range(y_true, loss), axis=-1)


@keras.saving.register_keras_serializable(package="keras_frnn")
class DSSIM(_FrameLoss):
    """Structural dissimilarity of frames in [-1, 1], `(1 - SSIM) / 2`, 0 for equal frames and 1 at worst.

    It asks for edges where the losses of single pixels are content with a blur. Where both frames are black everywhere
    around a pixel it has nothing to say; so it is best added to another loss:

    >>> crossentropy, dssim = FrameCrossentropy(), DSSIM()
    >>> def loss(y_true, y_pred):
    ...     return crossentropy(y_true, y_pred) + dssim(y_true, y_pred)

    Args:
        data_format: `"channels_first"` if channels come before height; `keras.config.image_data_format()` by default.
        reduction: as of `keras.losses.Loss`; `"sum_over_batch_size"`, the mean, by default.
        name: name of the loss.
        dtype: dtype of the result; `keras.config.floatx()` by default. It is computed in float32.

    Call arguments:
        y_true: true frames, `(batch, time, height, width, channels)`, at least 11x11 pixels, values in [-1, 1]. Where a
            value is beyond, the loss of its frame is NaN; of a NumPy array it is an error.
        y_pred: predicted frames of the same shape.
        sample_weight: weights of sequences, `(batch,)`, or of frames, `(batch, time)`.

    Returns:
        A number; with `reduction="none"` one for each frame, `(batch, time)`.

    Raises:
        ValueError: the shapes differ, are not those of videos, or frames are smaller; weights do not fit; another
            `data_format`; `y_true` is a NumPy array with values outside [-1, 1].

    Reference: see `metrics.dssim`.
    """

    def __init__(self, data_format=None, reduction="sum_over_batch_size", name="dssim", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.data_format = check_data_format(data_format)

    def _axes_of_values(self, frames_shape):
        return 2

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, "float32")
        return _where_in_range(y_true, image_quality.dssim(y_true, y_pred, data_format=self.data_format))

    def get_config(self) -> dict:
        return {**super().get_config(), "data_format": self.data_format}
