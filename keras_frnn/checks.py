"""Checks of arguments: an error says what was expected, what came, and what to do."""

import operator
import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

RANGE_MARGIN = 1.001  # Of frames in [-1, 1] that went through float16 or an interpolation.


def check_positive_integers(value, name: str, count: int) -> tuple[int, ...]:
    """`value` as a tuple of `count` positive integers: one integer for all, or one for each. NumPy's count, too."""
    values = value if isinstance(value, (tuple, list)) else (value,) * count
    try:
        integers = tuple(operator.index(v) for v in values)
    except TypeError:
        integers = ()
    if len(integers) != count or any(isinstance(v, bool) or i < 1 for v, i in zip(values, integers, strict=True)):
        expected = "a positive integer" + (f" or {count} of them" if count > 1 else "")
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")
    return integers


def check_positive_integer(value, name: str) -> int:
    """`value` as an integer of 1 or more. NumPy's count, too."""
    return check_positive_integers(value, name, 1)[0]


def check_positive_integers_by_name(**values) -> list[int]:
    """Each value as by `check_positive_integer`, in their order; the names are those of arguments."""
    return [check_positive_integer(value, name) for name, value in values.items()]


def check_integer(value, name: str, lowest: int | None = None, highest: int | None = None) -> int:
    """`value` as an integer within both bounds, as far as there are any. NumPy's count, too."""
    try:
        integer = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        integer = None
    if integer is None or (lowest is not None and integer < lowest) or (highest is not None and integer > highest):
        expected = "an integer" if lowest is None else f"an integer of {lowest} or more"
        expected = expected if highest is None else f"an integer from {lowest} to {highest}"
        raise ValueError(f"`{name}` must be {expected}. Received: {name}={value!r}")
    return integer


def check_finite(value, name: str) -> float:
    """`value` as a finite number. NumPy's count, too."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not np.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}")
    return float(value)


def check_data_format(data_format: str | None) -> str:
    """`"channels_last"` or `"channels_first"`; None is `keras.config.image_data_format()`, here as everywhere."""
    if data_format is None:
        return keras.config.image_data_format()
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(
            f"`data_format` must be 'channels_last' or 'channels_first'. Received: data_format={data_format!r}"
        )
    return data_format


def check_float_policy(policy: keras.DTypePolicy):
    """Raises where something is to compute, or keep its weights, in other numbers than floating-point ones."""
    if not all(keras.backend.is_float_dtype(dtype) for dtype in (policy.compute_dtype, policy.variable_dtype)):
        raise ValueError(
            f"`dtype` must be floating, such as 'float32' or 'mixed_bfloat16'. Received: dtype={policy.name!r}"
        )


def refuse_quantization(layer: keras.layers.Layer):
    """What `quantize` of a layer does: it raises, which Keras turns into a warning for a layer of a larger model."""
    raise NotImplementedError(
        f"Layer '{layer.name}', a {type(layer).__name__}, stays in floating point: it has no kernels of integers. With "
        "dtype='mixed_bfloat16' it is smaller and faster, too."
    )


_FIXED = "the equation is fixed, see the docstring. `kernel_initializer` and `update_bias` can be chosen"
_SIZE = (
    "convolutions pad frames with zeros and keep their size, to which decoding leads back. To divide it, put a "
    "FoldedMaxPooling2D or a FoldedPatch2D between layers"
)
_PENALTY = "let the optimizer bound the weights, as keras.optimizers.AdamW(weight_decay=1e-4) does"
_DROPOUT = "put keras.layers.SpatialDropout3D between layers that are used on their own; models have none"
# What other Keras layers take, and what to do instead.
_KEYWORDS = {
    **dict.fromkeys(("activation", "recurrent_activation", "use_bias", "unit_forget_bias"), _FIXED),
    **dict.fromkeys(("recurrent_initializer", "bias_initializer"), _FIXED),
    **dict.fromkeys(("strides", "dilation_rate", "padding", "groups"), _SIZE),
    **dict.fromkeys(
        (f"{of}_{kind}" for of in ("kernel", "recurrent", "bias") for kind in ("regularizer", "constraint")), _PENALTY
    ),
    **dict.fromkeys(("dropout", "recurrent_dropout"), _DROPOUT),
    "unroll": "how it loops over time depends on the backend",
}


def check_keywords(owner: str, keywords: dict):
    """Raises where there are arguments that other Keras layers have, and these have not; says what to do instead."""
    for name, value in keywords.items():
        if name in _KEYWORDS:
            raise ValueError(f"{owner} has no `{name}`: {_KEYWORDS[name]}. Received: {name}={value!r}")


def check_is_tensor(data, name: str):
    """Raises where text, None or objects stand where Keras takes arrays and tensors."""
    kind = getattr(getattr(data, "dtype", None), "kind", "")
    if data is None or isinstance(data, (str, bytes, os.PathLike)) or kind in ("O", "S", "T", "U"):
        found = f"dtype={data.dtype}" if kind else f"{name}={data!r}"
        raise ValueError(f"Expected an array or a tensor of frames. Received: {found}")


def check_suffix(path: str | os.PathLike, *suffixes: str) -> str:
    """The suffix of a file's name in lower case, which must be one of those that can be written."""
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in suffixes:
        raise ValueError(f"The file's name must end in {' or '.join(suffixes)}. Received: path={os.fspath(path)!r}")
    return suffix


def nearest_multiples(length: int, factor: int) -> str:
    """The multiples of `factor` next to a length that is none, for messages."""
    lower = length // factor * factor
    return f"{lower} and {lower + factor}" if lower else f"{factor}"


def shapes_fit(shape: Sequence[int | None], expected: Sequence[int | None]) -> bool:
    """Whether two shapes are the same; an axis that is not known yet, None, fits any."""
    return len(shape) == len(expected) and all(a == b or None in (a, b) for a, b in zip(shape, expected, strict=True))


def check_range(frames: np.ndarray, what: str = ""):
    """Raises where an array of frames has NaN or values outside [-1, 1]; `what` says whose they are."""
    low, high = float(frames.min()), float(frames.max())
    # NaN fails every comparison.
    if not (low >= -RANGE_MARGIN and high <= RANGE_MARGIN):
        found = "NaN" if np.isnan(low) else f"values from {low:g} to {high:g}"
        raise ValueError(
            f"Expected frames with values in [-1, 1]. Received: {what}{found}. "
            "For frames in [0, 1], pass `2 * frames - 1`; in [0, 255], `frames / 127.5 - 1`."
        )
