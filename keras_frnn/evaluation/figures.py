"""Pictures of scores and of predicted frames."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from keras_frnn.checks import check_positive_integer, check_suffix
from keras_frnn.evaluation.colors import model_colors
from keras_frnn.evaluation.display import to_display
from keras_frnn.evaluation.scores import Scores
from keras_frnn.files import atomic_path

_PANELS = {"mse": "MSE", "psnr": "PSNR in dB", "dssim": "DSSIM"}


def plot_curves(scores: Scores, path: str | os.PathLike):
    """Draws a PNG with one panel per metric and one curve per model over the time steps.

    Raises:
        ValueError: the suffix is not `.png`.
    """
    check_suffix(path, ".png")
    figure, colors = Figure(figsize=(13.5, 3.6), layout="constrained"), model_colors(scores.values)
    for axes, (metric, label) in zip(figure.subplots(1, len(_PANELS)), _PANELS.items(), strict=True):
        for name, values in scores.values.items():
            steps = np.arange(1, len(values[metric]) + 1)
            axes.plot(steps, values[metric], marker="o", markersize=4, label=name, color=colors[name])
        axes.set(xlabel="predicted frame", title=f"{label} ({'higher' if metric == 'psnr' else 'lower'} is better)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=120)


def plot_strip(
    context: np.ndarray,
    future: np.ndarray | None,
    predictions: Mapping[str, np.ndarray],
    path: str | os.PathLike,
    steps: Sequence[int] | None = None,
    data_format: str | None = None,
):
    """Draws one sequence over time into a PNG: the truth at the top, and one row per model below the true future.

    Args:
        context: given frames, `(1, context, height, width, channels)`, 1 or 3 channels: floating point in [-1, 1], as
            models take them, or uint8, as cameras return them. Only the first sequence of a larger batch is drawn.
        future: true future frames, `(1, horizon, height, width, channels)`; None if they are unknown, fewer if only the
            first are known.
        predictions: predicted frames by model, `(1, horizon, height, width, channels)`.
        path: file to write, `.png`.
        steps: future frames to draw, counted from 1; by default all.
        data_format: `"channels_first"` if channels come before height; `keras.config.image_data_format()` by default.

    Raises:
        ValueError: frames have unexpected values or shapes that do not fit together, a step is not among the future
            frames, or the suffix is not `.png`.
    """
    check_suffix(path, ".png")
    context, future, predictions = to_display(context, future, predictions, data_format)
    horizon = max(frames.shape[1] for frames in (future, *predictions.values()))
    steps = [check_positive_integer(step, "steps") for step in (range(1, horizon + 1) if steps is None else steps)]
    if max(steps, default=0) > horizon:
        raise ValueError(f"`steps` are future frames from 1 to {horizon}. Received: steps={steps}")
    picked, given = [step - 1 for step in steps], context.shape[1]
    # For each row: its name, the column of its first frame, its frames.
    known = future.shape[1]
    truth = [*context[0], *(future[0][step] if step < known else None for step in picked)]
    rows = [("truth", 0, truth), *((name, given, frames[0][picked]) for name, frames in predictions.items())]
    colors = model_colors(name for name, *_ in rows)
    columns = given + len(steps)
    figure = Figure(figsize=(0.8 * columns + 0.8, 0.85 * len(rows) + 0.4))
    figure.set_layout_engine("constrained", wspace=0.02, hspace=0.02, w_pad=0.035, h_pad=0.035)
    grid = figure.add_gridspec(len(rows), columns)
    for row, (name, first, frames) in enumerate(rows):
        for column, frame in enumerate(frames, start=first):
            if frame is None:
                continue
            is_given = column < given
            axes = figure.add_subplot(grid[row, column])
            axes.set(xticks=[], yticks=[])
            axes.imshow(frame, cmap="gray", vmin=0, vmax=255)
            for spine in axes.spines.values():
                spine.set(color="lightgray" if is_given else colors[name], linewidth=1 if is_given else 2.5)
            if row == 0 or (row == 1 and not is_given and picked[column - given] >= known):
                title = f"{column + 1}" if is_given else f"+{steps[column - given]}"
                axes.set_title(title, fontsize=13, color="gray" if is_given else "black")
            if column == 0:
                axes.set_ylabel(name, fontsize=14)
        if first and len(frames):  # The name of the model, below the given frames.
            axes = figure.add_subplot(grid[row, :first])
            axes.set_axis_off()
            axes.text(0.97, 0.5, name, ha="right", va="center", fontsize=18, color=colors[name])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)
