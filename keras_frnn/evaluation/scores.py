"""Per-step scores of models on test sequences."""

import csv
import dataclasses
import os

import keras
import numpy as np

from keras_frnn import metrics
from keras_frnn.files import atomic_path
from keras_frnn.models.copy_last_frame import CopyLastFrame
from keras_frnn.models.video_predictor import VideoPredictor, check_frames

METRICS = {
    "mse": "mean squared error over pixels and channels, frames in [0, 1]; less is better",
    "psnr": "peak signal-to-noise ratio in dB, 10 log10(1 / mse); infinite values left out of means; more is better",
    "dssim": "(1 - SSIM) / 2, SSIM with an 11x11 Gaussian window of sigma 1.5; less is better",
}


@dataclasses.dataclass(frozen=True)
class Scores:
    """Per-step means over test sequences, by model and metric.

    >>> scores = Scores({"model": {"mse": np.array([0.1, 0.3])}}, sequences=5, infinite_psnr={"model": 0})
    >>> scores["model"]["mse"].mean().item()
    0.2

    Attributes:
        values: `{model: {metric: array (horizon,)}}`, metrics as in `METRICS`.
        sequences: number of test sequences.
        infinite_psnr: by model, how many frames were predicted without any error and left out of the PSNR means.
    """

    values: dict[str, dict[str, np.ndarray]]
    sequences: int
    infinite_psnr: dict[str, int]

    def __getitem__(self, model: str) -> dict[str, np.ndarray]:
        return self.values[model]

    def table(self) -> str:
        """A text table: one block a metric, a row a model, a column a time step."""
        width = max(len(name) for name in self.values) + 2
        lines = [f"Per-step means over {self.sequences} test sequences"]
        for metric, definition in METRICS.items():
            horizon = len(next(iter(self.values.values()))[metric])
            steps = "".join(f"{f'+{step}':>8}" for step in range(1, horizon + 1))
            lines += ["", f"{metric}: {definition}", f"{'':{width}}{'mean':>8}{steps}"]
            digits = 2 if metric == "psnr" else 4
            for model, scores in self.values.items():
                numbers = [np.nanmean(scores[metric]), *scores[metric]]
                lines.append(f"{model:{width}}" + "".join(f"{number:8.{digits}f}" for number in numbers))
        for model, count in self.infinite_psnr.items():
            if count:
                lines.append(f"{model}: {count} frames of infinite PSNR left out")
        return "\n".join(lines)

    def save_csv(self, path: str | os.PathLike):
        """Writes a row for each model and time step, `model,step,mse,psnr,dssim`; step 1 is the first future frame."""
        with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["model", "step", *METRICS])
            for model, scores in self.values.items():
                for step, values in enumerate(zip(*(scores[metric] for metric in METRICS), strict=True), start=1):
                    writer.writerow([model, step, *(f"{value:.6g}" for value in values)])


def evaluate(model: VideoPredictor, data) -> Scores:
    """Scores a model, and the copy of the last context frame, on every sequence of a test set.

    Args:
        model: any model of this package, or one with the same `forecast`.
        data: `tf.data.Dataset`, or other iterable, of `(context, future)` batches with frames in [-1, 1]:
            `(batch, context, height, width, channels)` and `(batch, horizon, height, width, channels)`. As many frames
            are predicted as `future` has. It must end.

    Returns:
        `Scores` of `"model"` and `"copy_last_frame"`.

    Raises:
        ValueError: no sequences, an endless dataset, batches of different horizons, or frames that are not floating
            point in [-1, 1].
    """
    # Keras and TensorFlow agree on -1 for a dataset without end.
    if hasattr(data, "cardinality") and int(data.cardinality()) == -1:
        raise ValueError("The test data never ends. Pass `sequences=` to the dataset, or `data.take(batches)`.")
    models = {"model": model, "copy_last_frame": CopyLastFrame(horizon=1)}
    sums = {name: {metric: 0.0 for metric in METRICS} for name in models}
    finite = {name: 0 for name in models}
    sequences, horizon = 0, None
    for context, future in data:
        context, future = (check_frames(keras.ops.convert_to_numpy(frames)) for frames in (context, future))
        horizon = horizon or future.shape[1]
        if future.shape[1] != horizon:
            raise ValueError(f"All batches must have the same horizon. Received: {horizon} and {future.shape[1]}")
        sequences += len(future)
        for name, predictor in models.items():
            frames = predictor.forecast(context, horizon)
            for metric in METRICS:
                function = getattr(metrics, metric)
                values = function(future, frames, data_format=getattr(model, "data_format", None))
                values = keras.ops.convert_to_numpy(values).astype("float64")
                if metric == "psnr":
                    finite[name] = finite[name] + np.isfinite(values).sum(axis=0)
                    values = np.where(np.isfinite(values), values, 0)
                sums[name][metric] = sums[name][metric] + values.sum(axis=0)
    if not sequences:
        raise ValueError("The test data has no sequences.")
    with np.errstate(invalid="ignore"):  # A step at which every frame was perfect has no mean PSNR: NaN.
        values = {
            name: {metric: total / (finite[name] if metric == "psnr" else sequences) for metric, total in of.items()}
            for name, of in sums.items()
        }
    infinite = {name: int(sequences * horizon - count.sum()) for name, count in finite.items()}
    return Scores(values, sequences, infinite)
