"""Per-step scores of models on test sequences."""

import csv
import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Mapping

import keras
import numpy as np

from keras_frnn import metrics
from keras_frnn.evaluation.published import published_results
from keras_frnn.files import atomic_path
from keras_frnn.models.copy_last_frame import CopyLastFrame
from keras_frnn.models.frames import check_frames
from keras_frnn.models.video_predictor import VideoPredictor

METRICS = {
    "mse": "mean squared error over pixels and channels, frames in [0, 1]; sum: summed over a frame; lower is better",
    "psnr": "peak signal-to-noise ratio in dB, 10 log10(1 / mse); means exclude infinite values; higher is better",
    "dssim": "(1 - SSIM) / 2, SSIM with an 11x11 Gaussian window of sigma 1.5; lower is better",
}
COPY_LAST_FRAME, OPTICAL_FLOW = "copy_last_frame", "optical_flow"


@dataclasses.dataclass(frozen=True)
class Scores:
    """Per-step means over test sequences, by model and metric.

    >>> scores = Scores({"model": {"mse": np.array([0.1, 0.3])}}, sequences=5, infinite_psnr={"model": 0})
    >>> scores["model"]["mse"].mean().item()
    0.2

    Attributes:
        values: `{model: {metric: array (horizon,)}}`, metrics as in `METRICS`. The PSNR of a step is infinite if all of
            its frames were perfect.
        sequences: number of test sequences.
        infinite_psnr: by model, number of frames that were predicted perfectly and excluded from the PSNR means.
        frame_values: number of values in a frame, height x width x channels; None if frames differ in size. Other
            libraries report the squared error summed over a frame, which is the mean times this number.
    """

    values: dict[str, dict[str, np.ndarray]]
    sequences: int
    infinite_psnr: dict[str, int]
    frame_values: int | None = None

    def __getitem__(self, model: str) -> dict[str, np.ndarray]:
        return self.values[model]

    def table(self, published: str | None = None) -> str:
        """A text table: one block per metric, with one row per model and one column per time step.

        The MSE also has a column `sum`: the mean over frames of the error summed over a frame.

        Args:
            published: `"moving_mnist"`, `"kth"` or `"ucf101"`, to add the paper's rows for that dataset.
        """
        lines = [f"Per-step means over {self.sequences} test sequences"]
        for metric, header, rows in self._blocks(published):
            width = max(len(name) for name, _ in rows) + 2
            lines += ["", f"{metric}: {METRICS[metric]}", f"{'':{width}}" + "".join(f"{text:>8}" for text in header)]
            lines += [f"{name:{width}}" + "".join(f"{text:>8}" for text in row) for name, row in rows]
        return "\n".join(lines + self._notes(published))

    def markdown(self, published: str | None = None) -> str:
        """The same tables in Markdown."""
        plural = "" if self.sequences == 1 else "s"
        lines = [f"Per-step means over {self.sequences} test sequence{plural}."]
        for metric, header, rows in self._blocks(published):
            lines += ["", f"{metric}: {METRICS[metric]}", "", f"| | {' | '.join(header)} |"]
            lines.append("| --- |" + " ---: |" * len(header))
            lines += [f"| {name} | {' | '.join(row)} |" for name, row in rows]
        return "\n".join(lines + self._notes(published)) + "\n"

    def save_csv(self, path: str | os.PathLike):
        """Writes one row per model and time step, `model,step,mse,psnr,dssim`; step 1 is the first future frame."""
        with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["model", "step", *METRICS])
            for model, scores in self.values.items():
                for step, values in enumerate(zip(*(scores[metric] for metric in METRICS), strict=True), start=1):
                    writer.writerow([model, step, *(f"{value:.6g}" for value in values)])

    def to_dict(self) -> dict:
        """Plain numbers and strings. An infinite PSNR, of a step with only perfect frames, becomes None."""
        values = {
            model: {m: [float(v) if np.isfinite(v) else None for v in array] for m, array in of.items()}
            for model, of in self.values.items()
        }
        return {
            "sequences": self.sequences,
            "infinite_psnr": self.infinite_psnr,
            "frame_values": self.frame_values,
            "values": values,
        }

    def _blocks(self, published):
        """The name, the header and the rows of texts for each metric."""
        everything = dict(self.values)
        if published is not None:
            everything |= {f"{name} (published)": v for name, v in published_results(published)["models"].items()}
        horizon = max(len(values["mse"]) for values in everything.values())
        steps = [f"+{step}" for step in range(1, horizon + 1)]
        for metric in METRICS:
            digits = 2 if metric == "psnr" else 4
            has_sum = metric == "mse" and self.frame_values is not None
            rows = []
            for name, values in everything.items():
                numbers = np.asarray(values[metric], "float64")
                counted = numbers[numbers != np.inf] if metric == "psnr" else numbers
                mean = counted.mean() if counted.size else np.inf
                texts = [f"{number:.{digits}f}" for number in (mean, *numbers)]
                if has_sum:  # The published frames may have a different size.
                    texts.insert(1, f"{mean * self.frame_values:.1f}" if name in self.values else "")
                rows.append((name, texts + [""] * (horizon - len(numbers))))
            yield metric, ["mean", *["sum"] * has_sum, *steps], rows

    def _notes(self, published) -> list[str]:
        notes = [
            f"{model}: {count} frames with infinite PSNR excluded"
            for model, count in self.infinite_psnr.items()
            if count
        ]
        if published is not None:
            results = published_results(published)
            notes += [f"Published: {results['source']}", f"Caveat: {results['caveat']}"]
        return ["", *notes] if notes else []


def evaluate(model: VideoPredictor | Mapping[str, VideoPredictor], data: Iterable) -> Scores:
    """Scores one or several models, and copying the last context frame, on every sequence of a test set.

    Args:
        model: a model of this package, or any with the same `forecast`; or several by name, which see the same
            sequences.
        data: `tf.data.Dataset`, `keras.utils.PyDataset` or another finite iterable of `(context, future)` batches with
            frames in [-1, 1]: `(batch, context, height, width, channels)` and
            `(batch, horizon, height, width, channels)`. As many frames are predicted as `future` has.

    Returns:
        `Scores` of `"model"`, or of the models by name, and of `"copy_last_frame"`.

    Raises:
        ValueError: there are no models or no sequences, models differ in data format, the dataset is endless, batches
            differ in horizon, frames are not floating point in [-1, 1], or predictions have the wrong shape or NaNs.
    """
    models = dict(model) if isinstance(model, Mapping) else {"model": model}
    data_format = _check_models(models)
    models = {**models, COPY_LAST_FRAME: CopyLastFrame(horizon=1)}
    sums = {name: {metric: 0.0 for metric in METRICS} for name in models}
    perfect = {name: np.zeros(1, "int64") for name in models}
    sequences, horizon, frame_values = 0, None, set()
    for context, future in checked_batches(data):
        horizon = horizon or future.shape[1]
        if future.shape[1] != horizon:
            raise ValueError(f"All batches must have the same horizon. Received: {horizon} and {future.shape[1]}")
        sequences += len(future)
        frame_values.add(math.prod(future.shape[2:]))
        for name, predictor in models.items():
            frames = _forecast(name, predictor, context, future.shape)
            for metric in METRICS:
                values = getattr(metrics, metric)(future, frames, data_format=data_format)
                values = keras.ops.convert_to_numpy(values).astype("float64")
                if metric == "psnr":
                    perfect[name] = perfect[name] + (values == np.inf).sum(axis=0)
                    values = np.where(values == np.inf, 0, values)
                sums[name][metric] = sums[name][metric] + values.sum(axis=0)
    values = {}
    for name, of in sums.items():
        counted = sequences - perfect[name]
        values[name] = {metric: total / sequences for metric, total in of.items()}
        values[name]["psnr"] = np.where(counted > 0, of["psnr"] / np.maximum(counted, 1), np.inf)
    infinite_psnr = {name: int(count.sum()) for name, count in perfect.items()}
    return Scores(values, sequences, infinite_psnr, frame_values.pop() if len(frame_values) == 1 else None)


def checked_batches(data: Iterable) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The batches of a test set as float32 arrays, context and future.

    Raises:
        ValueError: there are no sequences, the dataset is endless, or batches are not two arrays of frames that fit
            together.
    """
    check_data_ends(data)
    if isinstance(data, keras.utils.PyDataset):
        # In Keras 3.5, iterating over a PyDataset never ends.
        data = map(data.__getitem__, range(data.num_batches))
    empty = True
    for batch in data:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            raise ValueError(
                "Expected batches of (context, future). "
                f"Received: {type(batch).__name__} of shape or length {getattr(batch, 'shape', None) or len(batch)}"
            )
        context, future = (check_frames(keras.ops.convert_to_numpy(frames)) for frames in batch)
        if (len(context), *context.shape[2:]) != (len(future), *future.shape[2:]):
            raise ValueError(
                "Context and future must have the same batch and frame size. "
                f"Received: context of shape {context.shape}, future of shape {future.shape}"
            )
        if len(context):
            empty = False
            yield context, future
    if empty:
        raise ValueError("The test data has no sequences.")


def check_data_ends(data: Iterable):
    """Raises an error if `data` is an endless dataset."""
    if isinstance(data, keras.utils.PyDataset):
        endless = data.num_batches is None
    else:  # TensorFlow marks it by a cardinality of -1.
        endless = hasattr(data, "cardinality") and int(data.cardinality()) == -1
    if endless:
        raise ValueError(
            "The test data is endless. Pass `sequences=` to the dataset, or `itertools.islice(data, batches)`."
        )


def _forecast(name: str, model: VideoPredictor, context: np.ndarray, shape: tuple) -> np.ndarray:
    frames = keras.ops.convert_to_numpy(model.forecast(context, shape[1], batch_size=len(context)))
    if frames.shape != shape:
        raise ValueError(f"Expected a forecast of shape {shape}. Received from model '{name}': shape={frames.shape}")
    if not np.isfinite(frames).all():
        raise ValueError(
            f"Model '{name}' predicts frames with NaNs or infinities, which have no score. Check its weights."
        )
    return frames


def _check_models(models: dict) -> str | None:
    """Raises an error if the models cannot be compared. Returns their `data_format`, or None if they have none."""
    if not models or COPY_LAST_FRAME in models:
        raise ValueError(
            f"Expected models by name; '{COPY_LAST_FRAME}' is always scored as well. Received: {list(models)}"
        )
    for name, model in models.items():
        if not callable(getattr(model, "forecast", None)):
            raise ValueError(f"Expected models with a method `forecast`. Received: '{name}' is {model!r}")
    formats = {name: getattr(model, "data_format", None) for name, model in models.items()}
    found = {data_format for data_format in formats.values() if data_format is not None}
    if len(found) > 1:
        raise ValueError(f"Models can be compared only with the same `data_format`. Received: {formats}")
    return next(iter(found), None)
