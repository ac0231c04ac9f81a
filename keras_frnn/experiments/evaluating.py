"""The stages after training: evaluate, analyse, predict. Each needs nothing but files."""

import dataclasses
import pathlib
from typing import Any

import keras
import numpy as np
from absl import logging

from keras_frnn import evaluation, models
from keras_frnn.evaluation.display import window_pyplot
from keras_frnn.evaluation.scores import OPTICAL_FLOW
from keras_frnn.experiments.data import contexts, test_data
from keras_frnn.experiments.experiment import Experiment, MovingDigits
from keras_frnn.experiments.run_folder import (
    RunError,
    RunFolder,
    as_json,
    load,
    read_json,
    record_of,
    tested_on,
    write_json,
)
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine

_PICTURES = 10
_DATASET_VIDEOS = {"kth": 599, "ucf101": 13_320}


def evaluate(experiment: Experiment, folder: RunFolder, paper: Experiment):
    """Scores the network and those of finished runs beside it on the same data; keeps some predictions."""
    model, record = folder.trained()
    compared = {experiment.title: model} | _finished_beside(folder, experiment.title)
    print(f"\nScoring {', '.join(compared)} on the test sequences ...", flush=True)
    if not isinstance(experiment.source, MovingDigits) and min(model.context_shape[2:4]) >= models.OpticalFlow.smallest:
        compared[OPTICAL_FLOW] = models.OpticalFlow(1, "channels_last")
    watched: dict[str, Any] = {name: _Watched(network) for name, network in compared.items()}
    kept = _Kept(experiment.testing.samples)
    scores = evaluation.evaluate(watched, kept.watch(test_data(experiment), watched))
    published, reason = _published(experiment, folder.settings, paper)
    print(f"\n{scores.table(published)}\n{reason}")
    mse = {name: float(np.mean(values["mse"])) for name, values in scores.values.items()}
    mse["black_frame"] = kept.black_frame_mse
    ratio = mse[experiment.title] / min(mse["copy_last_frame"], mse["black_frame"])
    print("Test MSE: " + ", ".join(f"{name} {value:.4f}" for name, value in mse.items()))
    print(f"{experiment.title}'s is {ratio:.2f} of the better of copying the last frame and predicting black.\n")
    kept.save(folder.samples)
    scores.save_csv(folder.path / "scores.csv")
    with atomic_path(folder.path / "scores.md") as temporary:
        temporary.write_text(scores.markdown(published) + (f"\n{reason}" if reason else ""))
    write_json(
        folder.results,
        {
            "settings": folder.settings,
            "title": experiment.title,
            "iteration": record["iteration"],
            "weights": model.count_params(),
            "training_seconds": record["seconds"],
            "test_mse": mse,
            "ratio_to_better_baseline": ratio,
            "scores": scores.to_dict(),
            "machine": machine(),
        },
    )


class _Watched:
    """A network that remembers its last forecast."""

    def __init__(self, model):
        self.model, self.data_format = model, model.data_format

    def forecast(self, context, steps: int, batch_size: int):
        self.last = self.model.forecast(context, steps, batch_size=batch_size)
        return self.last


class _Kept:
    """A random choice of test sequences, made without knowing how many there are, with the predictions of them."""

    def __init__(self, count: int):
        self.count, self.black_frame_mse = count, 0.0
        self.sequences: dict[int, dict[str, np.ndarray]] = {}

    def watch(self, data, watched: dict[str, _Watched]):
        """Yields the batches of `data`. When the next one is asked for, the networks have predicted the last one."""
        first, order = 0, {}
        for context, future in data:
            context, future = (keras.ops.convert_to_numpy(frames) for frames in (context, future))
            yield context, future
            for i in range(len(context)):
                order[first + i] = np.random.default_rng((0, first + i)).random()
                forecasts = {name: network.last[i] for name, network in watched.items()}
                self.sequences[first + i] = {"context": context[i], "future": future[i], **forecasts}
                if len(self.sequences) > self.count:
                    del self.sequences[max(self.sequences, key=order.__getitem__)]
            black = np.square((future.astype("float64") + 1) / 2).mean()
            first += len(context)
            self.black_frame_mse += (float(black) - self.black_frame_mse) * len(context) / first

    def save(self, path: pathlib.Path):
        numbers = sorted(self.sequences)
        arrays: dict[str, Any] = {
            key: np.stack([self.sequences[n][key] for n in numbers]) for key in self.sequences[numbers[0]]
        }
        with atomic_path(path) as temporary:
            np.savez(temporary, numbers=np.array(numbers), **arrays)


def _finished_beside(folder: RunFolder, title: str) -> dict[str, keras.Model]:
    """The networks of finished runs in neighboring folders that are tested on the same data, by their titles."""
    found: dict[str, keras.Model] = {}
    own = folder.path.resolve()
    for path in sorted(own.parent.glob("*/model.keras")):
        if path.parent == own:
            continue
        try:
            settings = record_of(path)["settings"]
            if tested_on(settings) == tested_on(folder.settings):
                network, _ = load(path, compile=False)
                theirs = settings["experiment"]["title"]
                found[theirs if theirs not in (title, *found) else f"{theirs} ({path.parent.name})"] = network
        except (ValueError, KeyError) as error:
            logging.warning("%s Not compared with it.", error)
    return found


def _published(experiment: Experiment, settings: dict, paper: Experiment) -> tuple[str | None, str]:
    """The dataset whose published rows belong beside these scores, if they are of the same data; else why not."""
    if experiment.testing.published is None:
        return None, ""
    data = settings["data"]
    same = tested_on(settings) | {"test_sequences": None, "data": None}
    theirs = tested_on(settings | {"experiment": dataclasses.asdict(paper), "data": None}) | {"test_sequences": None}
    as_published = same == as_json(theirs)
    if isinstance(experiment.source, MovingDigits):
        as_published = as_published and data["test"] != "generated"
    else:
        stated = [split for split in (data["train"], data["test"]) if split["format"]]
        videos = _DATASET_VIDEOS[experiment.source.dataset]
        as_published = as_published and all(split["source_videos"] == videos for split in stated)
    if as_published:
        return experiment.testing.published, ""
    return None, "The published rows are on other data, or by another split or protocol, and are left out.\n"


def analyse(folder: RunFolder):
    """Draws the scores and predictions that evaluate kept, and scores the network with fewer layers."""
    try:
        results = read_json(folder.results)
        with np.load(folder.samples) as file:
            kept = dict(file)
        scores = _scores(results["scores"])
        numbers, context, future = (kept.pop(name) for name in ("numbers", "context", "future"))
        title = results["title"]
        predictions = {name: kept[name] for name in scores.values if name in kept}
        own, iteration = predictions[title], results["iteration"]
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        raise RunError(f"{folder.path} has no whole scores and samples ({error}). Run evaluate first.") from error
    model, record = folder.trained()
    if record["iteration"] != iteration:
        raise RunError(f"{folder.results} is of iteration {iteration}. Run evaluate again.")
    path = folder.path
    evaluation.plot_curves(scores, path / "curves.png")
    few = {name: frames[:4] for name, frames in predictions.items()}
    evaluation.plot_strip(context, future, predictions, path / "strip.png")
    evaluation.save_animation(context[:4], future[:4], few, path / "animation.gif")
    for i, number in enumerate(numbers[:_PICTURES]):
        one = {name: frames[i : i + 1] for name, frames in predictions.items()}
        picture = path / "samples" / f"sequence-{number:05d}.png"
        evaluation.plot_strip(context[i : i + 1], future[i : i + 1], one, picture)
    if isinstance(model, models.FoldedRNN):
        cuts: dict[str, Any] = {
            f"{depth} layers": _Watched(model.truncate(depth)) for depth in reversed(model.depths[:-1])
        }
        whole: dict[str, Any] = {f"{model.depths[-1]} layers": _Known(own, model.data_format)}
        removal = evaluation.evaluate(whole | cuts, [(context, future)])
        removal.save_csv(path / "layer_removal.csv")
        forecasts = {name: network.last for name, network in (whole | cuts).items()}
        evaluation.plot_strip(context, future, forecasts, path / "layer_removal.png")
    print(f"Written to {path}/: {', '.join(sorted(p.name for p in path.iterdir() if not p.name.startswith('.')))}")


class _Known:
    """A stand-in for a network whose forecast is known already."""

    def __init__(self, frames: np.ndarray, data_format: str):
        self.last, self.data_format = frames, data_format

    def forecast(self, context, steps: int, batch_size: int):
        return self.last


def _scores(content: dict) -> evaluation.Scores:
    """From what `Scores.to_dict` returned."""
    values = {
        name: {m: np.array([np.inf if v is None else v for v in curve]) for m, curve in of.items()}
        for name, of in content["values"].items()
    }
    return evaluation.Scores(values, content["sequences"], content["infinite_psnr"], content.get("frame_values"))


def predict(experiment: Experiment, folder: RunFolder, count: int, show: bool):
    """Predicts test sequences one by one, and writes each to predictions/ as an array and a picture at once."""
    window = _window() if show else None
    model, _ = folder.trained()
    output = folder.path / "predictions"
    for number, context in enumerate(contexts(experiment, count)):
        frames = model.forecast(context)
        path = output / f"sequence-{number:05d}.png"
        evaluation.plot_strip(context, None, {experiment.title: frames}, path)
        with atomic_path(path.with_suffix(".npy")) as temporary:
            np.save(temporary, frames[0])
        print(f"{path}", flush=True)
        if window:
            window.clf()
            window.imshow(window.imread(path))
            window.axis("off")
            window.pause(1)


def _window():
    if (pyplot := window_pyplot()) is None:
        raise RunError("There is no window to show pictures in. Leave --show out: they are saved anyway.")
    return pyplot
