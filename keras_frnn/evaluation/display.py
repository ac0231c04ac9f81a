"""Prepares frames for drawing."""

import math
from collections.abc import Mapping

import keras
import numpy as np

from keras_frnn.checks import check_data_format
from keras_frnn.models.frames import check_frames, from_uint8, to_uint8


def to_display(context, future, predictions: Mapping, data_format: str | None = None) -> tuple:
    """Checked frames as uint8 arrays, channels last.

    Args:
        context, future, predictions, data_format: as in `plot_strip`.

    Returns:
        Context, future (with zero frames if it is None), predictions by model.

    Raises:
        ValueError: frames cannot be drawn, or do not fit together.
    """
    if not isinstance(predictions, Mapping):
        raise ValueError(f"Expected `predictions` as frames by model name. Received: {type(predictions).__name__}")
    videos = {"context": context} | ({} if future is None else {"future": future})
    videos |= {f"predictions['{name}']": frames for name, frames in predictions.items()}
    channels_first = check_data_format(data_format) == "channels_first"
    videos = {name: _checked_uint8(frames, name, channels_first) for name, frames in videos.items()}
    shapes = {name: frames.shape for name, frames in videos.items()}
    if len({(shape[0], *shape[2:]) for shape in shapes.values()}) > 1:
        raise ValueError(f"All frames must have the same batch and frame size. Received, channels last: {shapes}")
    lengths = {shape[1] for name, shape in shapes.items() if name not in ("context", "future")}
    if len(lengths) > 1 or ("future" in shapes and shapes["future"][1] > min(lengths, default=math.inf)):
        raise ValueError(
            "Predictions must have the same number of frames, and the future must not have more. Received, channels "
            f"last: {shapes}. Cut them to the shortest, or pass `future=None`."
        )
    given, *rest = videos.values()
    future = given[:, :0] if future is None else rest.pop(0)
    return given, future, dict(zip(predictions, rest, strict=True))


def _checked_uint8(frames, name: str, channels_first: bool) -> np.ndarray:
    frames = keras.ops.convert_to_numpy(frames) if keras.ops.is_tensor(frames) else np.asarray(frames)
    try:
        # Rank and number of frames are checked as in a model, also for uint8 frames.
        frames = check_frames(from_uint8(frames) if frames.dtype == "uint8" else frames)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    if channels_first:
        frames = np.moveaxis(frames, 2, -1)
    if frames.shape[-1] not in (1, 3):
        raise ValueError(
            f"{name}: Expected gray or color frames with 1 or 3 channels. Received, channels last: shape={frames.shape}"
        )
    return to_uint8(frames)


def window_pyplot():
    """`matplotlib.pyplot` if it can open a window; None without a screen, where it can only draw into files."""
    from matplotlib import pyplot

    only_files = pyplot.get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")
    return None if only_files else pyplot
