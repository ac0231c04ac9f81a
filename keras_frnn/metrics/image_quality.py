"""Per-frame image quality as functions on any backend.

All of them take the frames of two videos, `(batch, time, height, width, channels)`, rescale them from a known value
range to [0, 1], and return one float32 value per frame, `(batch, time)`.
"""

import math
from collections.abc import Iterator

import numpy as np
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_data_format, shapes_fit

_WINDOW, _SIGMA = 11, 1.5

Range = tuple[float, float]
"""The values of black and white."""


def mse(y_true, y_pred, value_range: Range = (-1.0, 1.0), data_format: str | None = None):
    """Mean squared error over the pixels and channels of each frame, on frames rescaled to [0, 1].

    Args:
        y_true: true frames, `(batch, time, height, width, channels)`, integers or floating point, including 16 bits.
        y_pred: predicted frames of the same shape.
        value_range: the values of black and white in both; `(0, 255)` for uint8 frames.
        data_format: `"channels_first"` if channels come before height; `keras.config.image_data_format()` by default.

    Returns:
        float32 tensor `(batch, time)`; 0 is perfect, 1 the worst. NaN for frames that contain NaN.

    Raises:
        ValueError: the shapes differ or are not those of videos, the range is empty, or the `data_format` is unknown.
    """
    y_true, y_pred = _to_unit_range(y_true, y_pred, value_range, data_format)
    return ops.mean(ops.square(y_true - y_pred), axis=(2, 3, 4))


def psnr(y_true, y_pred, value_range: Range = (-1.0, 1.0), data_format: str | None = None):
    """Peak signal-to-noise ratio of each frame in decibels: `10 log10(1 / mse)`; infinite for equal frames.

    Args, Raises: see `mse`.

    Returns:
        float32 tensor `(batch, time)` in dB; higher is better.
    """
    return -10 / np.log(10).astype("float32") * ops.log(mse(y_true, y_pred, value_range, data_format))


def dssim(y_true, y_pred, value_range: Range = (-1.0, 1.0), data_format: str | None = None):
    """Structural dissimilarity of each frame, `(1 - SSIM) / 2`.

    SSIM with an 11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, averaged over the positions where the window
    lies inside the frame, and over channels.

    Args, Raises: see `mse`; frames must also be at least 11x11 pixels.

    Returns:
        float32 tensor `(batch, time)`; 0 is perfect, 1 the worst.

    Reference: Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE
    Transactions on Image Processing 13(4), 2004.
    """
    y_true, y_pred = _to_unit_range(y_true, y_pred, value_range, data_format)
    if min(y_true.shape[2:4]) < _WINDOW:
        raise ValueError(
            f"SSIM needs frames of at least {_WINDOW}x{_WINDOW} pixels. Received: shape={tuple(y_true.shape)}"
        )
    (mean_true, variance_true), (mean_pred, variance_pred) = _window_moments(y_true), _window_moments(y_pred)
    mean_difference, variance_difference = _window_moments(y_true - y_pred)
    c1, c2 = 0.01**2, 0.03**2
    # 1 - SSIM = (1 - l) + l (1 - cs), where l compares means and cs the rest, is also precise for nearly equal frames.
    other_means = ops.square(mean_difference) / (ops.square(mean_true) + ops.square(mean_pred) + c1)
    other_structure = variance_difference / (variance_true + variance_pred + c2)
    return ops.mean(other_means + (1 - other_means) * other_structure, axis=(2, 3, 4)) / 2


def check_value_range(value_range: Range) -> Range:
    """`value_range` as two finite numbers, with white above black."""
    try:
        black, white = (float(value) for value in value_range)
    except (TypeError, ValueError):
        black = white = math.nan
    if not -math.inf < black < white < math.inf:
        raise ValueError(
            f"`value_range` must be (black, white) with white above black. Received: value_range={value_range!r}"
        )
    return black, white


def _to_unit_range(y_true, y_pred, value_range, data_format):
    """Both videos as float32 in [0, 1], channels last."""
    black, white = check_value_range(value_range)
    data_format = check_data_format(data_format)
    y_true, y_pred = _to_float32(y_true, "y_true"), _to_float32(y_pred, "y_pred")
    shapes = tuple(y_true.shape), tuple(y_pred.shape)
    if len(shapes[0]) != 5 or not shapes_fit(*shapes):
        raise ValueError(
            "Expected two videos of the same shape (batch, time, height, width, channels). "
            f"Received: y_true of shape {shapes[0]}, y_pred of shape {shapes[1]}"
        )
    if data_format == "channels_first":
        y_true, y_pred = (ops.moveaxis(frames, 2, -1) for frames in (y_true, y_pred))
    return (y_true - black) / (white - black), (y_pred - black) / (white - black)


def _to_float32(frames, name: str):
    if not ops.is_tensor(frames):
        try:
            frames = np.asarray(frames).astype("float32")
        except (TypeError, ValueError):
            raise ValueError(f"Expected frames as an array of numbers. Received: {name}={frames!r}") from None
    return ops.cast(ops.convert_to_tensor(frames), "float32")


def _window_moments(frames):
    """Gaussian-weighted means and variances over all window positions inside each frame."""
    # Autodiff would keep a copy of the frames for every pixel of the window, and JAX would compile for minutes.
    moments = backend.custom_gradient(_moments_and_residuals, _moments_gradient, lambda x: ops.stack(_moments(x)))
    return ops.unstack(moments(frames))


def _moments(frames):
    # The sum of the variance within rows and the variance of their means. In float32, the mean square minus the squared
    # mean would lose the small variances of flat frames and could become negative.
    columns = _smooth(frames, 3)
    variance = _smooth(_weighted(ops.square(part - columns) for part in _shifted(frames, 3)), 2)
    mean = _smooth(columns, 2)
    return mean, variance + _weighted(ops.square(part - mean) for part in _shifted(columns, 2))


def _moments_and_residuals(frames):
    mean, variance = _moments(frames)
    return ops.stack([mean, variance]), (mean,)


def _moments_gradient(upstream, inputs, residuals):
    (frames,), (mean,) = inputs, residuals
    of_mean, of_variance = ops.unstack(upstream)
    return (2 * frames * _spread(of_variance) + _spread(of_mean - 2 * of_variance * mean),)


def _smooth(frames, axis: int):
    """Gaussian-weighted means along one axis."""
    return _weighted(_shifted(frames, axis))


def _spread(gradient):
    """The gradient of `_smooth` along both axes."""
    border = [_WINDOW - 1, _WINDOW - 1]
    return _smooth(_smooth(ops.pad(gradient, [[0, 0], [0, 0], border, border, [0, 0]]), 2), 3)


def _shifted(frames, axis: int) -> Iterator:
    """For every pixel of the window, the values there at all window positions along one axis."""
    length, before = frames.shape[axis] - _WINDOW + 1, (slice(None),) * axis
    return (frames[(*before, slice(i, i + length))] for i in range(_WINDOW))


def _weighted(parts: Iterator):
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    weights = np.exp(-(offsets**2) / (2 * _SIGMA**2))
    weights /= weights.sum()
    # Sums instead of a convolution, in which GPUs round products to fewer digits than variances need.
    return sum(float(weight) * part for weight, part in zip(weights, parts, strict=True))
