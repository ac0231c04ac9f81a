"""What the commands share: loading a network, fitting a video to it, forecasting, and saying how good that is."""

import math

import numpy as np

from keras_frnn import models
from keras_frnn.command.before_keras import TrainedOn, find_model
from keras_frnn.evaluation.scores import COPY_LAST_FRAME, OPTICAL_FLOW
from keras_frnn.layers import layout
from keras_frnn.models.load_network import load_network

FRAME_RATE = 10.0  # Frames per second of a video whose file gives no rate.
_GRAY = 3.0  # Codecs store gray videos in color: the largest mean difference of their red, green and blue, of 255.


def load_model(name: str, compile: bool = False) -> models.FoldedRNN:
    """Loads a preset of the package, a .keras file, or a folder with a preset or model.keras.

    Args:
        name: name or path.
        compile: whether to load the optimizer and the loss of a .keras file, too.

    Raises:
        ValueError: there is no such model, it does not load, or it is not a model of this package.
    """
    return load_network(find_model(name), compile)


def frame_shape(model, video_size: tuple[int, int], size: tuple[int, int] | None = None) -> tuple[int, int, int]:
    """(height, width, channels) of the frames that a model is given from a video.

    Args:
        model: the network.
        video_size: (height, width) of the video's frames.
        size: (height, width) to use; by default the size that the model was built for, or, if it was built for any
            size, the largest that fits both model and video.
    """
    *built, channels = layout.frame_size_and_channels(model.context_shape, _data_format(model))
    if channels not in (1, 3):
        raise ValueError(f"This model takes frames of {channels} channels. Videos have 1 (gray) or 3 (color).")
    sides = []
    for axis in range(2):
        factor = math.prod(layer.downsampling[axis] for layer in getattr(model, "stack", ()))
        sides.append(built[axis] or max(video_size[axis] // factor, 1) * factor)
    height, width = size or sides
    return height, width, channels


def forecast(model, frames: np.ndarray, context: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Splits frames into given ones and their known future, and forecasts from the given ones.

    Args:
        model: the network.
        frames: float32 `(time, height, width, channels)` in [-1, 1].
        context: how many frames are given; all if there are fewer.
        steps: how many are predicted.

    Returns:
        Arrays of the same form: `min(context, time)` given frames, up to `steps` future ones, `steps` predicted ones.
    """
    given, future = frames[:context], frames[context : context + steps]
    predicted = channels_last(model, model.forecast(as_model(model, given)[None], steps))[0]
    return given, future, predicted


def score(future: np.ndarray, predicted: np.ndarray, last: np.ndarray) -> str:
    """A line with the mean squared errors of a forecast and of the last given frame, on frames in [0, 1]."""
    return verdict(*(mean_squared_error(future, frames) for frames in (predicted, last[None])))


def mean_squared_error(future: np.ndarray, frames: np.ndarray) -> float:
    """Takes frames in [-1, 1]; the error is that of frames in [0, 1]."""
    return float(np.square((future - frames) / 2).mean())


def verdict(error: float, copied: float) -> str:
    """A line with the mean squared errors of a forecast and of the last given frame, and which one is better."""
    better = "better than" if error < copied else "worse than" if error > copied else "no better than"
    return f"MSE {error:.4f}; copying the last given frame: {copied:.4f}. The forecast is {better} copying."


def verdict_by_step(errors: dict[str, np.ndarray]) -> str:
    """The verdict on mean squared errors by step: those of `"network"`, of copying and, if there are any, of flow."""
    forecast, copied = errors["network"], errors[COPY_LAST_FRAME]
    steps = np.unique(np.linspace(0, len(copied) - 1, 10).round().astype(int))
    rows = {"step": [f"+{step + 1}" for step in steps]}
    for name in (name for name in errors if name != COPY_LAST_FRAME):
        rows[name.replace("_", " ")] = [f"{errors[name][step] / max(copied[step], 1e-12):.2f}" for step in steps]
    lines = [verdict(forecast.mean(), copied.mean()), "The error, divided by that of copying:"]
    lines += [f"  {name:14}" + "".join(f"{text:>7}" for text in texts) for name, texts in rows.items()]
    others = {"copying": copied} | ({"optical flow": errors[OPTICAL_FLOW]} if OPTICAL_FLOW in errors else {})
    lines += [f"The forecast is {_where_better(forecast, error, name)}." for name, error in others.items()]
    return "\n".join(lines)


def _where_better(forecast: np.ndarray, other: np.ndarray, name: str) -> str:
    better = forecast < other
    if better.all():
        return f"better than {name} at every step"
    if not better.any():
        return f"not better than {name} at any step"
    others = ", ".join(f"+{step}" for step in np.flatnonzero(~better) + 1)
    return f"better than {name} at {better.sum()} of {len(better)} steps, not at {others}"


def print_misfit(name: str, trained: TrainedOn, network, source: str, frame: np.ndarray, frame_step: int | None = None):
    """Prints a line if a network was trained on frames of another kind than a video's.

    Args:
        name: name of the network.
        trained: what it was trained on.
        network: the network.
        source: name of the video.
        frame: a frame of the video, BGR uint8 `(height, width, 3)`.
        frame_step: distance of the frames that the network is given, in frames of the video; None if not chosen.
    """
    *size, channels = layout.frame_size_and_channels(network.context_shape, _data_format(network))
    is_color = np.abs(np.diff(frame.astype("int"), axis=-1)).mean() > _GRAY
    found = [
        f" of {frame.shape[0]}x{frame.shape[1]}" if trained.digits and [*size] != [*frame.shape[:2]] else "",
        " in color" if is_color and channels == 1 else " in gray" if not is_color and channels == 3 else "",
    ]
    if trained.data and any(found):
        about = [trained.data, *[f"{size[0]}x{size[1]}"] * (None not in size), "gray" if channels == 1 else "in color"]
        print(
            f"{name} was trained on {', '.join(about)}; {source} has frames{''.join(found)}. For a network of your own "
            "videos, see `keras-frnn prepare --help` and `keras-frnn train --help`."
        )
    step = trained.windows.get("frame_step", frame_step)
    if frame_step is not None and step != frame_step:
        print(f"{name} was trained with --frame-step={step}. Received: --frame-step={frame_step}")


def _data_format(model) -> str:
    return getattr(model, "data_format", None) or "channels_last"


def as_model(model, frames: np.ndarray) -> np.ndarray:
    """Moves the channels of `(..., height, width, channels)` to where a model has them."""
    return np.moveaxis(frames, -1, -3) if _data_format(model) == "channels_first" else frames


def channels_last(model, frames: np.ndarray) -> np.ndarray:
    """Moves the channels of a model's frames to the end."""
    return np.moveaxis(frames, -3, -1) if _data_format(model) == "channels_first" else frames
