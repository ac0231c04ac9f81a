"""Per-frame image quality as Keras metrics, for `model.compile(metrics=[...])` or on their own."""

import keras
from keras import ops

from keras_frnn.metrics import image_quality


class FrameMetric(keras.metrics.Metric):
    """Mean of a per-frame function over frames with a finite value.

    Args:
        per_step: whether `result()` is one value for each time step, `(time,)`, or one mean over all frames.
        value_range: what black and white are in the frames.
        data_format: `"channels_first"` if channels come before height; `keras.config.image_data_format()` by default.
    """

    function = None

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
        self.value_range = tuple(value_range)
        self.data_format = data_format
        self._steps = None

    def update_state(self, y_true, y_pred, sample_weight=None):
        """Adds a batch of videos `(batch, time, height, width, channels)`; `sample_weight` is `(batch,)` or
        `(batch, time)`."""
        values = type(self).function(y_true, y_pred, self.value_range, self.data_format)
        self._build(values.shape[1] if self.per_step else 1)
        finite = ops.isfinite(values)
        weights = ops.cast(finite, "float32")
        if sample_weight is not None:
            sample_weight = ops.cast(sample_weight, "float32")
            if len(sample_weight.shape) == 1:
                sample_weight = ops.expand_dims(sample_weight, -1)
            weights = weights * sample_weight
        total = ops.sum(ops.where(finite, values, 0) * weights, axis=0)
        count = ops.sum(weights, axis=0)
        if not self.per_step:
            total, count = ops.sum(total, keepdims=True), ops.sum(count, keepdims=True)
        self.total.assign_add(total)
        self.count.assign_add(count)

    def result(self):
        if self._steps is None:
            return ops.convert_to_tensor(0.0)
        mean = ops.divide_no_nan(self.total, self.count)
        return mean if self.per_step else mean[0]

    def _build(self, steps: int):
        if self._steps is None:
            self._steps = steps
            self.total = self.add_variable((steps,), "zeros", name="total")
            self.count = self.add_variable((steps,), "zeros", name="count")
        elif steps != self._steps:
            raise ValueError(
                f"Metric '{self.name}' counts {self._steps} time steps. Received: frames of {steps} time steps. "
                "Use one metric for each horizon."
            )

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
    """Peak signal-to-noise ratio in dB; infinite values (equal frames) are left out of the mean. See `metrics.psnr`."""

    function = staticmethod(image_quality.psnr)


@keras.saving.register_keras_serializable(package="keras_frnn")
class DSSIM(FrameMetric):
    """Structural dissimilarity, `(1 - SSIM) / 2`; see `metrics.dssim`."""

    function = staticmethod(image_quality.dssim)
