"""Pictures of predictions and scores. Frames come as arrays in [-1, 1], `(batch, time, height, width, channels)`."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw, ImageFont

from keras_frnn.evaluation.scores import Scores
from keras_frnn.files import atomic_path

_PANELS = {"mse": "MSE", "psnr": "PSNR in dB", "dssim": "DSSIM"}
_MARGIN = 6


def plot_curves(scores: Scores, path: str | os.PathLike):
    """Draws a panel a metric, a curve a model, over the time steps, into a PNG."""
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (metric, label) in zip(figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True):
        for name, values in scores.values.items():
            steps = np.arange(1, len(values[metric]) + 1)
            axes.plot(steps, values[metric], marker="o", markersize=4, label=_title(name))
        axes.set(xlabel="predicted frame", title=f"{label} ({'more' if metric == 'psnr' else 'less'} is better)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def plot_strip(
    context: np.ndarray,
    future: np.ndarray,
    predictions: dict[str, np.ndarray],
    path: str | os.PathLike,
    steps: Sequence[int] | None = None,
    data_format: str | None = None,
):
    """Draws one sequence over time into a PNG: the truth on top, a row a model below its future.

    Args:
        context: frames that were given, `(1, context, height, width, channels)`; of a larger batch, the first sequence.
        future: true future frames.
        predictions: by model, predicted frames.
        path: file to write.
        steps: which future frames, counted from 1; by default all.
        data_format: `"channels_first"` if channels come before height.

    Raises:
        ValueError: a step that is not among the future frames.
    """
    context, future, predictions = _channels_last(data_format, context, future, predictions)
    steps = list(range(1, future.shape[1] + 1) if steps is None else steps)
    if not steps or min(steps) < 1 or max(steps) > future.shape[1]:
        raise ValueError(f"`steps` are future frames from 1 to {future.shape[1]}. Received: steps={steps}")
    picked = [step - 1 for step in steps]
    given, rows = len(context[0]), {"truth": np.concatenate([context[0], future[0][picked]])}
    rows |= {name: frames[0][picked] for name, frames in predictions.items()}
    columns = len(rows["truth"])
    figure = Figure(figsize=(0.75 * columns + 1.2, 0.85 * len(rows) + 0.3), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, gridspec_kw=dict(wspace=0.04, hspace=0.04))
    for axes_row, (name, frames) in zip(grid, rows.items(), strict=True):
        for column, axes in enumerate(axes_row):
            index = column - (columns - len(frames))
            axes.set(xticks=[], yticks=[])
            if index < 0:
                axes.axis("off")
                continue
            axes.imshow(_to_uint8(frames[index]), cmap="gray", vmin=0, vmax=255)
        axes_row[columns - len(frames)].set_ylabel(_title(name))
    for column, axes in enumerate(grid[0]):
        is_future = column >= given
        title = f"+{steps[column - given]}" if is_future else f"{column - given + 1}"
        axes.set_title(title, fontsize=8, color="black" if is_future else "gray")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def save_animation(
    context: np.ndarray,
    future: np.ndarray,
    predictions: dict[str, np.ndarray],
    path: str | os.PathLike,
    frame_rate: float = 5,
    height: int = 128,
    data_format: str | None = None,
):
    """Writes a GIF: the truth in the top row, a row a model below, a column a sequence.

    Args:
        context, future, predictions: as in `plot_strip`; every sequence of the batch becomes a column.
        path: file to write.
        frame_rate: frames a second.
        height: in pixels, to which each frame is enlarged.
        data_format: `"channels_first"` if channels come before height.
    """
    context, future, predictions = _channels_last(data_format, context, future, predictions)
    rows = {"truth": np.concatenate([context, future], axis=1)}
    rows |= {name: np.concatenate([context, frames], axis=1) for name, frames in predictions.items()}
    scale = max(1, round(height / context.shape[2]))
    font = ImageFont.load_default(size=14)
    label_width = max(int(font.getlength(_title(name))) for name in rows) + 2 * _MARGIN
    frame_height, frame_width = context.shape[2] * scale, context.shape[3] * scale
    size = (
        label_width + len(context) * (frame_width + _MARGIN),
        24 + len(rows) * (frame_height + _MARGIN),
    )
    pages = []
    for time in range(rows["truth"].shape[1]):
        step = time - context.shape[1] + 1
        page = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(page)
        text = f"predicted frame +{step}" if step > 0 else f"given frame {step}"
        draw.text((label_width, 4), text, fill="firebrick" if step > 0 else "black", font=font)
        for row, (name, frames) in enumerate(rows.items()):
            top = 24 + row * (frame_height + _MARGIN)
            draw.text((_MARGIN, top + frame_height // 2 - 8), _title(name), fill="black", font=font)
            for column, sequence in enumerate(frames):
                image = Image.fromarray(_to_uint8(sequence[time]))
                image = image.resize((frame_width, frame_height), Image.Resampling.NEAREST)
                page.paste(image, (label_width + column * (frame_width + _MARGIN), top))
        pages.append(page)
    # The last frame stays for a second, so that one sees where the sequence ends.
    durations = [1000 / frame_rate] * (len(pages) - 1) + [1000]
    with atomic_path(path) as temporary:
        pages[0].save(temporary, format="GIF", save_all=True, append_images=pages[1:], duration=durations, loop=0)


def _channels_last(data_format, context, future, predictions):
    arrays = [np.asarray(context), np.asarray(future), *(np.asarray(frames) for frames in predictions.values())]
    if data_format == "channels_first":
        arrays = [np.moveaxis(frames, 2, -1) for frames in arrays]
    return arrays[0], arrays[1], dict(zip(predictions, arrays[2:], strict=True))


def _to_uint8(frame: np.ndarray) -> np.ndarray:
    """`(height, width)` of a grey frame, `(height, width, 3)` of a colour frame."""
    frame = np.clip((np.asarray(frame, "float32") + 1) * 127.5, 0, 255).round().astype("uint8")
    return frame[..., 0] if frame.shape[-1] == 1 else frame


def _title(name: str) -> str:
    return name.replace("_", " ")
