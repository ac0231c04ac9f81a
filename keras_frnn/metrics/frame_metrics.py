"""Per-frame image quality as Keras metrics, for `model.compile(metrics=[...])` or on their own."""

import keras
import numpy as np
from keras import ops

from keras_frnn.checks import check_data_format
from keras_frnn.metrics import image_quality


class FrameMetric(keras.metrics.Metric):
    """Mean of a per-frame function over frames; NaN if a frame contains NaN.

    Args:
        per_step: whether `result()` is one value per time step, `(time,)`, or one mean over all frames.
        value_range: the values of black and white in the frames.
        data_format: `"channels_first"` if channels come before height; `keras.config.image_data_format()` by default.

    Raises:
        ValueError: the range is empty, or the `data_format` is unknown.
    """

    @staticmethod
    def function(y_true, y_pred, value_range, data_format):
        """The values of all frames, `(batch, time)`."""
        raise NotImplementedError

    # Whether the value of equal frames is infinite and therefore excluded from the mean.
    is_infinite_for_equal_frames = False

    def __init__(
        self,
        per_step: bool = False,
        value_range: image_quality.Range = (-1.0, 1.0),
        data_format: str | None = None,
        name: str | None = None,
        dtype=None,
    ):
        super().__init__(name=name or type(self).__name__.lower(), dtype=dtype)
        self.per_step = per_step
        self.value_range = image_quality.check_value_range(value_range)
        self.data_format = check_data_format(data_format)
        self._steps: int | None = None

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch of videos `(batch, time, height, width, channels)`. `sample_weight` is `(batch,)` or
        `(batch, time)`; frames of weight 0 are ignored, even if they contain NaN."""
        values = self.function(y_true, y_pred, self.value_range, self.data_format)
        self._build(values.shape[1] if self.per_step else 1)
        weights = ops.ones_like(values)
        if sample_weight is not None:
            weights = weights * self._to_frame_weights(sample_weight, values.shape)
        left_out = ops.logical_and(values == np.inf, self.is_infinite_for_equal_frames)
        counted = ops.where(left_out, 0.0, weights)
        sums = {
            "total": ops.where(counted == 0, 0.0, values * counted),
            "count": counted,
            "left_out": weights - counted,
        }
        for name, summands in sums.items():
            summed = ops.sum(summands, axis=0)
            getattr(self, name).assign_add(summed if self.per_step else ops.sum(summed, keepdims=True))

    def result(self):
        """The mean; 0 without any frames, infinity if all frames were excluded as infinite."""
        if self._steps is None:
            return ops.convert_to_tensor(0.0)
        mean = ops.divide_no_nan(self.total, self.count)
        mean = ops.where(ops.logical_and(self.count == 0, self.left_out > 0), np.inf, mean)
        return mean if self.per_step else mean[0]

    def _build(self, steps: int):
        if self._steps is None:
            self._steps = steps
            for name in ("total", "count", "left_out"):
                setattr(self, name, self.add_variable((steps,), "zeros", name=name))
        elif steps != self._steps:
            raise ValueError(
                f"Metric '{self.name}' counts {self._steps} time steps. Received: frames of {steps} time steps. "
                "Use one metric per horizon."
            )

    def _to_frame_weights(self, sample_weight, shape: tuple):
        weights = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
        if len(weights.shape) == 1:
            weights = ops.expand_dims(weights, -1)
        fits = len(weights.shape) == 2 and all(
            here in (1, there) or None in (here, there) for here, there in zip(weights.shape, shape, strict=True)
        )
        if not fits:
            raise ValueError(
                "`sample_weight` must be of shape (batch,) or (batch, time). "
                f"Received: sample_weight of shape {tuple(np.shape(sample_weight))} for frames {tuple(shape)}"
            )
        return weights

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "per_step": self.per_step,
            "value_range": self.value_range,
            "data_format": self.data_format,
        }


@keras.saving.register_keras_serializable(package="keras_frnn")
class MSE(FrameMetric):
    """Mean squared error over pixels and channels, on frames rescaled to [0, 1]; see `metrics.mse`.

    Example:

    >>> import numpy as np
    >>> metric = MSE(value_range=(0, 1))
    >>> metric.update_state(np.zeros((2, 3, 16, 16, 1)), np.full((2, 3, 16, 16, 1), 0.5))
    >>> float(metric.result())
    0.25
    """

    function = staticmethod(image_quality.mse)


@keras.saving.register_keras_serializable(package="keras_frnn")
class PSNR(FrameMetric):
    """Peak signal-to-noise ratio in dB. Equal frames have an infinite value and are excluded from the mean, which is
    infinite if all frames are equal. See `metrics.psnr`."""

    function = staticmethod(image_quality.psnr)
    is_infinite_for_equal_frames = True


@keras.saving.register_keras_serializable(package="keras_frnn")
class DSSIM(FrameMetric):
    """Structural dissimilarity, `(1 - SSIM) / 2`; see `metrics.dssim`."""

    function = staticmethod(image_quality.dssim)
