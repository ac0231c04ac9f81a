"""Per-step scores of models on test sequences."""

import csv
import dataclasses
import json
import os
from collections.abc import Iterable, Mapping

import keras
import numpy as np

from keras_frnn import metrics
from keras_frnn.evaluation.published import published_results
from keras_frnn.files import atomic_path
from keras_frnn.models.copy_last_frame import CopyLastFrame
from keras_frnn.models.video_predictor import VideoPredictor, check_frames

METRICS = {
    "mse": "mean squared error over pixels and channels, frames in [0, 1]; less is better",
    "psnr": "peak signal-to-noise ratio in dB, 10 log10(1 / mse); infinite values left out of means; more is better",
    "dssim": "(1 - SSIM) / 2, SSIM with an 11x11 Gaussian window of sigma 1.5; less is better",
}
COPY_LAST_FRAME = "copy_last_frame"


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

    def table(self, published: str | None = None) -> str:
        """A text table: a block a metric, a row a model, a column a time step.

        Args:
            published: `"moving_mnist"`, `"kth"` or `"ucf101"`, to print the paper's rows on that dataset below.
        """
        lines = [f"Per-step means over {self.sequences} test sequences"]
        for metric, header, rows in self._blocks(published):
            width = max(len(name) for name, _ in rows) + 2
            lines += ["", f"{metric}: {METRICS[metric]}", f"{'':{width}}" + "".join(f"{text:>8}" for text in header)]
            lines += [f"{name:{width}}" + "".join(f"{text:>8}" for text in row) for name, row in rows]
        return "\n".join(lines + self._notes(published))

    def markdown(self, published: str | None = None) -> str:
        """The same as Markdown tables."""
        lines = [f"Per-step means over {self.sequences} test sequences."]
        for metric, header, rows in self._blocks(published):
            lines += ["", f"{metric}: {METRICS[metric]}", "", f"| | {' | '.join(header)} |"]
            lines.append("| --- |" + " ---: |" * len(header))
            lines += [f"| {name} | {' | '.join(row)} |" for name, row in rows]
        return "\n".join(lines + self._notes(published)) + "\n"

    def save_csv(self, path: str | os.PathLike):
        """Writes a row for each model and time step, `model,step,mse,psnr,dssim`; step 1 is the first future frame."""
        with atomic_path(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["model", "step", *METRICS])
            for model, scores in self.values.items():
                for step, values in enumerate(zip(*(scores[metric] for metric in METRICS), strict=True), start=1):
                    writer.writerow([model, step, *(f"{value:.6g}" for value in values)])

    def to_dict(self) -> dict:
        """Plain numbers and strings; NaN, where all frames of a step were perfect, becomes None."""
        values = {
            model: {m: [None if np.isnan(v) else float(v) for v in array] for m, array in of.items()}
            for model, of in self.values.items()
        }
        return {"sequences": self.sequences, "infinite_psnr": self.infinite_psnr, "values": values}

    def save_json(self, path: str | os.PathLike):
        """Writes `to_dict` as JSON."""
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=2) + "\n")

    def _blocks(self, published):
        """For each metric its name, the header, and the rows of texts."""
        everything = {name.replace("_", " "): values for name, values in self.values.items()}
        if published is not None:
            everything |= {f"{name} (published)": v for name, v in published_results(published)["models"].items()}
        horizon = max(len(values["mse"]) for values in everything.values())
        header = ["mean", *(f"+{step}" for step in range(1, horizon + 1))]
        for metric in METRICS:
            digits = 2 if metric == "psnr" else 4
            rows = []
            for name, values in everything.items():
                numbers = np.asarray(values[metric], "float64")
                mean = np.nanmean(numbers) if np.isfinite(numbers).any() else np.nan
                texts = [f"{number:.{digits}f}" for number in (mean, *numbers)]
                rows.append((name, texts + [""] * (horizon - len(numbers))))
            yield metric, header, rows

    def _notes(self, published) -> list[str]:
        notes = [
            f"{model.replace('_', ' ')}: {count} frames of infinite PSNR left out"
            for model, count in self.infinite_psnr.items()
            if count
        ]
        if published is not None:
            results = published_results(published)
            notes += [f"Published: {results['source']}", f"Caveat: {results['caveat']}"]
        return ["", *notes] if notes else []


def evaluate(model: VideoPredictor | Mapping[str, VideoPredictor], data: Iterable) -> Scores:
    """Scores a model, or several, and the copy of the last context frame, on every sequence of a test set.

    Args:
        model: any model of this package, or one with the same `forecast`; or several by name, which then see the same
            sequences.
        data: `tf.data.Dataset`, or other iterable, of `(context, future)` batches with frames in [-1, 1]:
            `(batch, context, height, width, channels)` and `(batch, horizon, height, width, channels)`. As many frames
            are predicted as `future` has. It must end.

    Returns:
        `Scores` of `"model"`, or of the models by their names, and of `"copy_last_frame"`.

    Raises:
        ValueError: no models, models of different horizons or data formats, no sequences, an endless dataset, batches
            of different horizons, or frames that are not floating point in [-1, 1].
    """
    models = dict(model) if isinstance(model, Mapping) else {"model": model}
    data_format = _common(models, "data_format")
    _common(models, "horizon")
    check_data_ends(data)
    models = {**models, COPY_LAST_FRAME: CopyLastFrame(horizon=1)}
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
            frames = predictor.forecast(context, horizon, batch_size=len(context))
            for metric in METRICS:
                values = getattr(metrics, metric)(future, frames, data_format=data_format)
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


def check_data_ends(data: Iterable):
    """Raises if `data` is a dataset without end."""
    # TensorFlow marks it by a cardinality of -1.
    if hasattr(data, "cardinality") and int(data.cardinality()) == -1:
        raise ValueError("The test data never ends. Pass `sequences=` to the dataset, or `data.take(batches)`.")


def _common(models: dict, attribute: str):
    """What all models must have in common to be compared."""
    if not models or COPY_LAST_FRAME in models:
        raise ValueError(
            f"Expected models by name; '{COPY_LAST_FRAME}' is always scored beside them. Received: {list(models)}"
        )
    values = {name: getattr(model, attribute, None) for name, model in models.items()}
    if len({value for value in values.values() if value is not None}) > 1:
        raise ValueError(f"Models can be compared only with the same `{attribute}`. Received: {values}")
    return next((value for value in values.values() if value is not None), None)
