"""Losses for frames in [-1, 1]."""

import keras
import numpy as np
from keras import ops

from keras_frnn.checks import RANGE_MARGIN, check_data_format, check_range, shapes_fit
from keras_frnn.metrics import image_quality

_LEAST = 1e-4


class _FrameLoss(keras.losses.Loss):
    """A loss of frames in [-1, 1]. Values outside raise an error in an array, and give NaN in a tensor, which may be
    symbolic."""

    def __call__(self, y_true, y_pred, sample_weight=None):
        if isinstance(y_true, np.ndarray) and y_true.size:
            check_range(y_true, "y_true with ")
        if sample_weight is not None:
            sample_weight = self._weights_of_values(sample_weight, ops.shape(ops.convert_to_tensor(y_pred)))
        return super().__call__(y_true, y_pred, sample_weight)

    def _axes_of_values(self, frames_shape: tuple) -> int:
        """How many leading axes of the frames the weighted values keep."""
        raise NotImplementedError

    def _weights_of_values(self, sample_weight, frames_shape: tuple):
        # Keras aligns the last axes, so weights of sequences would apply to the columns of frames, and it divides by
        # the sum of the weights before they are broadcast.
        weights = ops.cast(ops.convert_to_tensor(sample_weight), self.dtype)
        expected = tuple(frames_shape[: self._axes_of_values(frames_shape)])
        missing = len(expected) - len(weights.shape)
        if missing == -1 and weights.shape[-1] == 1:
            weights, missing = ops.squeeze(weights, -1), 0
        axes = zip(weights.shape, expected, strict=False)
        if missing < 0 or any(isinstance(there, int) and here not in (1, there, None) for here, there in axes):
            raise ValueError(
                f"`sample_weight` must have shape {expected}, or only the first of these axes, or axes of length 1. "
                f"Received: sample_weight of shape {tuple(weights.shape)}"
            )
        return ops.broadcast_to(ops.reshape(weights, (*ops.shape(weights), *[1] * missing)), expected)


def _where_in_range(y_true, loss):
    """The losses of pixels or frames, NaN where a true pixel is outside [-1, 1]."""
    axes = tuple(range(len(loss.shape), len(y_true.shape)))
    return ops.where(ops.all(ops.abs(y_true) <= RANGE_MARGIN, axis=axes), loss, np.nan)


@keras.saving.register_keras_serializable(package="keras_frnn")
class FrameCrossentropy(_FrameLoss):
    """Binary cross-entropy of frames in [-1, 1]: each pixel is read as the probability `(frame + 1) / 2` of white.

    Its gradient does not vanish for a wrong pixel that comes from a saturated `tanh`, unlike the gradients of squared
    and absolute error. This matters if most pixels are black or white. The loss is computed in float32, and
    probabilities are kept 1e-4 away from 0 and 1, so a pixel's loss is at most 9.2 if the true pixel is black or white.

    Args:
        reduction: as in `keras.losses.Loss`; by default `"sum_over_batch_size"`, the mean.
        name: name of the loss.
        dtype: dtype of the result; `keras.config.floatx()` by default.

    Call arguments:
        y_true: true frames of any shape, values in [-1, 1]. Values outside give NaN, or an error in a NumPy array.
        y_pred: predicted frames of the same shape. Values outside [-1, 1] count as -1 or 1.
        sample_weight: weights of the samples, `(batch,)`, of the frames, `(batch, time)`, or with further axes, up to
            one weight per pixel.

    Returns:
        A number; with `reduction="none"`, one value per pixel, the mean over the last axis.

    Raises:
        ValueError: the shapes differ, the weights do not fit, or `y_true` is a NumPy array with values outside [-1, 1].

    Example:

    >>> truth = np.array([[-1.0, 1.0], [-1.0, 1.0]])
    >>> prediction = np.array([[-1.0, 0.0], [0.0, 0.0]])
    >>> print(f"{float(FrameCrossentropy()(truth, prediction)):.3f}")  # Three of four pixels are gray: 3/4 log(2).
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
        # Scaled instead of clipped to the smallest probability, where the gradient would vanish.
        predicted = _LEAST + (1 - 2 * _LEAST) * ops.clip((y_pred + 1) / 2, 0, 1)
        loss = -(white * ops.log(predicted) + (1 - white) * ops.log(1 - predicted))
        return ops.mean(_where_in_range(y_true, loss), axis=-1)


@keras.saving.register_keras_serializable(package="keras_frnn")
class DSSIM(_FrameLoss):
    """Structural dissimilarity of frames in [-1, 1], `(1 - SSIM) / 2`: 0 for equal frames, 1 at worst.

    It rewards sharp edges, where losses of single pixels accept a blur. It has no gradient around pixels where both
    frames are black, so it is best added to another loss:

    >>> crossentropy, dssim = FrameCrossentropy(), DSSIM()
    >>> def loss(y_true, y_pred):
    ...     return crossentropy(y_true, y_pred) + dssim(y_true, y_pred)

    Args:
        data_format: `"channels_first"` if channels come before height; `keras.config.image_data_format()` by default.
        reduction: as in `keras.losses.Loss`; by default `"sum_over_batch_size"`, the mean.
        name: name of the loss.
        dtype: dtype of the result; `keras.config.floatx()` by default. The loss is computed in float32.

    Call arguments:
        y_true: true frames, `(batch, time, height, width, channels)`, at least 11x11 pixels, values in [-1, 1]. A value
            outside makes the loss of its frame NaN; in a NumPy array it is an error.
        y_pred: predicted frames of the same shape.
        sample_weight: weights of sequences, `(batch,)`, or of frames, `(batch, time)`.

    Returns:
        A number; with `reduction="none"`, one per frame, `(batch, time)`.

    Raises:
        ValueError: the shapes differ or are not those of videos, or frames are too small; the weights do not fit; the
            `data_format` is unknown; `y_true` is a NumPy array with values outside [-1, 1].

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


@keras.saving.register_keras_serializable(package="keras_frnn")
class PlusDSSIM(DSSIM):
    """A loss of single pixels plus a multiple of `DSSIM`, `loss + weight * DSSIM`.

    The presets were trained with it: `PlusDSSIM(keras.losses.MeanSquaredError(), 0.05)`.

    Args:
        loss: a `keras.losses.Loss` that has a value per pixel, such as `FrameCrossentropy()`.
        weight: factor of the structural dissimilarity.
        data_format: as in `DSSIM`.
        reduction: as in `keras.losses.Loss`; by default `"sum_over_batch_size"`, the mean.
        name: name of the loss.
        dtype: dtype of the result; `keras.config.floatx()` by default. The loss is computed in float32.

    Call arguments, returned values and errors are those of `DSSIM`.

    Raises:
        ValueError: `loss` is not a loss.

    Example:

    >>> frames = np.zeros((1, 2, 16, 16, 1))
    >>> print(f"{float(PlusDSSIM(keras.losses.MeanSquaredError(), 0.5)(frames, frames + 1)):.3f}")
    1.050
    """

    def __init__(self, loss, weight, data_format=None, reduction="sum_over_batch_size", name="plus_dssim", dtype=None):
        super().__init__(data_format=data_format, reduction=reduction, name=name, dtype=dtype)
        if not isinstance(loss, keras.losses.Loss):
            raise ValueError(f"Expected a keras.losses.Loss, such as FrameCrossentropy(). Received: loss={loss!r}")
        self.loss, self.weight = loss, weight

    def call(self, y_true, y_pred):
        dssim = super().call(y_true, y_pred)  # First: it checks the shapes.
        pixels = self.loss.call(*(ops.cast(frames, "float32") for frames in (y_true, y_pred)))
        return ops.mean(pixels, axis=tuple(range(2, len(pixels.shape)))) + self.weight * dssim

    def get_config(self) -> dict:
        loss = keras.saving.serialize_keras_object(self.loss)
        return {**super().get_config(), "loss": loss, "weight": self.weight}

    @classmethod
    def from_config(cls, config: dict) -> "PlusDSSIM":
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
