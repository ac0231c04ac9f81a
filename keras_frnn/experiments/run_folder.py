"""The folder of a run: its settings (settings.json) and its networks.

Each file of a network (checkpoints/00000100.keras, and model.keras when training is done) holds a record beside what
Keras puts there: the run's settings, the iteration, the seconds of training. So each file tells which run it is from.
With validation, best.keras is the best network so far, and model.keras gets its weights.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import zipfile

import keras
import numpy as np
from absl import logging

from keras_frnn.experiments.experiment import (
    Experiment,
    MovingDigits,
    PublishedVideos,
    VideoWindows,
    flat,
    replace,
)
from keras_frnn.files import RECORD, atomic_path

_KEPT = 5
# These change nothing in what a run computes: it may go on on other devices, with its data in another folder.
_FREE = {"device", "devices", "data", "test_array", "checkpoint_every"}
# These may change if the learning rate does not fall and there are no phases.
_FREE_AT_ONE_RATE = {"iterations", "learning_rate"}
_WHERE_BEGUN = {"recipe", "preset", "seed", "machine", "revision"}
_TEST_DATA = {
    "test_sequences",
    *(field.name for part in (MovingDigits, PublishedVideos, VideoWindows) for field in dataclasses.fields(part)),
} - {"mirror", "turns"}


class RunError(ValueError):
    """Ends a run with a sentence for the user."""


class RunFolder:
    """A run's folder, and the settings of the run that goes on in it.

    Args:
        path: the folder.
        output: a file outside of the folder that gets the newest network whenever one is saved, in place of the
            folder's model.keras. A run without moving average can go on from it if the folder is lost.

    Attributes:
        path: the folder.
        model: the file of the trained network.
        settings: what defines the run: its experiment, the identity of its data, and where it was begun.
    """

    def __init__(self, path: pathlib.Path, output: pathlib.Path | None = None):
        self.path, self.output = path, output
        self.settings: dict = {}
        self.model = output or path / "model.keras"
        self.best = path / "best.keras"
        self.results = path / "results.json"
        self.samples = path / "samples.npz"

    def claim(self, settings: dict):
        """Begins the run in the folder, or goes on with it.

        Raises:
            RunError: the folder holds another run, or something else.
        """
        settings = as_json(settings)
        if self.begun is None:
            self.path.mkdir(parents=True, exist_ok=True)
            others = [path.name for path in self.path.iterdir() if not path.name.startswith(".")]
            if set(others) - {"checkpoints"}:
                raise RunError(
                    f"{self.path} is not empty and holds no run of an experiment, but {', '.join(sorted(others)[:3])}. "
                    "Choose another folder with --output."
                )
        elif changed := _differences(begun := identity(self.begun), _known_in(begun, identity(settings))):
            raise RunError(
                f"{self.path} holds a run with other settings or data:\n"
                + "\n".join(f"    {name}: {old!r} in the folder, {new!r} now" for name, old, new in changed)
                + "\nChoose another folder with --output, or delete this one."
            )
        self.settings = _gone_on(self.begun, settings) if self.begun else settings
        path = self.path / "settings.json"
        if self.settings != self.begun or not path.exists():
            write_json(path, self.settings)

    @functools.cached_property
    def begun(self) -> dict | None:
        """The settings of the run in the folder, from settings.json or, where that is lost, from its networks."""
        path = self.path / "settings.json"
        networks = [self.model, *self.checkpoints()]
        try:
            return _settings(read_json(path), path)
        except ValueError as error:
            reason = error
        for network in networks:
            with contextlib.suppress(ValueError):
                settings = _settings(record_of(network)["settings"], network)
                logging.warning("%s Going by what %s says.", reason, network)
                return settings
        if path.exists():
            logging.warning("%s", reason)
        return None

    def checkpoints(self) -> list[pathlib.Path]:
        """The newest first."""
        found = [path for path in (self.path / "checkpoints").glob("*.keras") if path.stem.isdecimal()]
        return sorted(found, key=lambda path: int(path.stem), reverse=True)

    def phases(self) -> list["RunFolder"]:
        """Of a run in phases: the folders of those that are begun."""
        found = [path for path in self.path.glob("phase-*") if path.name.removeprefix("phase-").isdecimal()]
        return [RunFolder(path) for path in sorted(found, key=lambda path: int(path.name.removeprefix("phase-")))]

    def newest(self, compile: bool = True) -> tuple[keras.Model, dict] | None:
        """The network of the newest good checkpoint, else of `output`, and its record; None if there is neither."""
        for path in self.checkpoints():
            try:
                return load(path, compile)
            except ValueError as error:
                logging.warning("%s It is skipped.", error)
        if self.output and self.output.exists():
            # If it is damaged, nothing is left to go on from: it is not overwritten.
            model, record = load(self.output, compile)
            return model, record | {"iteration": record.get("network_of", record["iteration"])}
        return None

    def trained(self) -> tuple[keras.Model, dict]:
        """The network to evaluate, and its record: the trained one, or the newest of an unfinished training.

        Raises:
            RunError: there is none.
        """
        if self.model.exists():
            try:
                return load(self.model, compile=False)
            except ValueError as error:
                logging.warning("%s It is skipped.", error)
        if found := self.newest(compile=False):
            logging.warning("Training is not finished: this is the network of iteration %s.", found[1]["iteration"])
            return found
        for part in reversed(self.phases()):
            with contextlib.suppress(RunError):
                return part.trained()
        raise RunError(f"There is no trained network in {self.path}. Run the stage train first.")

    def save_checkpoint(self, model: keras.Model, iteration: int, seconds: float, score: float | None = None):
        """Saves a checkpoint, and removes old ones, so that the newest five stay.

        Args:
            model: the network.
            iteration: its number of training steps.
            seconds: its time of training.
            score: its error in validation. The network with the least one is kept, and is what `output` gets.

        Raises:
            FloatingPointError: its weights are not finite.
            OSError: it cannot be written.
        """
        path = self.path / "checkpoints" / f"{iteration:08d}.keras"
        self._save(model, path, iteration, seconds)
        for old in self.checkpoints()[_KEPT:]:
            old.unlink()
        if score is not None:
            self.keep_if_best(model, iteration, seconds, score)
        if self.output:
            self._publish(path, iteration, seconds)

    def keep_if_best(self, model: keras.Model, iteration: int, seconds: float, score: float):
        """Saves a network as the best one, if no other has had a lower error in validation."""
        with contextlib.suppress(ValueError, KeyError):
            if record_of(self.best)["score"] <= score:
                return
        self._save(model, self.best, iteration, seconds, score=score)

    def save_trained(self, model: keras.Model, iteration: int, seconds: float):
        """Saves the network that training ended with, or the best one in validation."""
        if self.output:
            self.save_checkpoint(model, iteration, seconds)
        elif self.best.exists():
            self._publish(self.best, iteration, seconds)
        else:
            self._save(model, self.model, iteration, seconds)

    def _publish(self, path: pathlib.Path, iteration: int, seconds: float):
        """Copies a network, or the best one if there is one, to where users look for it.

        Its record says how long the training has gone on, and which iteration the network is of.
        """
        path = self.best if self.best.exists() else path
        record = self._record(iteration, seconds, network_of=record_of(path)["iteration"])
        with (
            atomic_path(self.model) as temporary,
            zipfile.ZipFile(path) as source,
            zipfile.ZipFile(temporary, "w") as target,
        ):
            for entry in source.infolist():
                target.writestr(entry, record if entry.filename == RECORD else source.read(entry))

    def _record(self, iteration: int, seconds: float, **more) -> str:
        return json.dumps({"settings": self.settings, "iteration": iteration, "seconds": round(seconds, 1), **more})

    def _save(self, model: keras.Model, path: pathlib.Path, iteration: int, seconds: float, **more):
        check_finite(model, f"iteration {iteration}")
        # Only this process writes here. It overwrites what a killed one left under this name.
        temporary = path.with_name("saving.keras")
        try:
            temporary.parent.mkdir(parents=True, exist_ok=True)
            model.save(temporary)
            with zipfile.ZipFile(temporary, "a") as archive:
                archive.writestr(RECORD, self._record(iteration, seconds, **more))
            os.replace(temporary, path)
        # A full disk shows in errors of the system, zipfile and h5py.
        except Exception as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise OSError(f"{path} cannot be written: {error}. What was saved before is still there.") from error


def load(path: pathlib.Path, compile: bool) -> tuple[keras.Model, dict]:
    """A network that a run saved, with its optimizer or without, and its record.

    Raises:
        ValueError: it is missing, damaged, or has weights that are not finite.
    """
    record = record_of(path)
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"wrong checksum of {damaged}")
        model = keras.saving.load_model(path, compile=compile)
        check_finite(model, f"iteration {record['iteration']}")
    # Damage shows in errors of zipfile, zlib, json, h5py and Keras.
    except Exception as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    return model, record


def record_of(path: pathlib.Path) -> dict:
    """What the file of a network says about its run.

    Raises:
        ValueError: it is missing or damaged, or was saved by something else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            record = json.loads(archive.read(RECORD))
        _settings(record["settings"], path)
        return {**record, "iteration": int(record["iteration"]), "seconds": float(record["seconds"])}
    # A damaged zip file shows in many ways.
    except Exception as error:
        raise ValueError(f"{path} is damaged or missing, or no network of a run: {error}.") from error


def check_finite(model: keras.Model, when: str):
    """Raises FloatingPointError if a weight, or a variable of the optimizer, is not finite."""
    variables = [*model.weights, *getattr(getattr(model, "optimizer", None), "variables", [])]
    broken = [v.path for v in variables if not np.isfinite(keras.ops.convert_to_numpy(v).astype("float64")).all()]
    if broken:
        raise FloatingPointError(f"In {when}, weights are NaN or infinite: {', '.join(broken[:3])}.")


def identity(settings: dict) -> dict:
    """What must be the same for a run to go on: the flags of its experiment and its data, but not their location."""
    stored = stored_flags(settings)
    falls = any(stored.get(name) for name in ("decay", "warm_up", "phases"))
    # The command says that a longer training has another fall of its rate.
    free = _FREE if falls and settings.get("command") != "train" else _FREE | _FREE_AT_ONE_RATE
    flags = {name: value for name, value in stored.items() if name not in free}
    return {"recipe": settings.get("recipe"), "preset": settings.get("preset"), **flags, "data": settings["data"]}


def tested_on(settings: dict) -> dict:
    """What must be the same for scores to be comparable: data, split, protocol and the choice of test sequences."""
    flags = {name: value for name, value in identity(settings).items() if name in _TEST_DATA}
    return flags | {"data": settings["data"]}


def stored_flags(settings: dict) -> dict:
    """The flags of a stored experiment. Its parts have had other names in older versions, its flags have not."""
    flags: dict = {}
    for name, value in settings["experiment"].items():
        flags |= value if isinstance(value, dict) else {name: value}
    return flags


def _gone_on(begun: dict, now: dict) -> dict:
    """The settings of a run that goes on, with the iterations and the learning rate of now."""
    flags = {name: value for name, value in stored_flags(now).items() if name in _FREE_AT_ONE_RATE}

    def changed(part: dict) -> dict:
        return {
            name: changed(value) if isinstance(value, dict) else flags.get(name, value) for name, value in part.items()
        }

    others = {name: value for name, value in now.items() if name not in {"experiment", "data", *_WHERE_BEGUN}}
    return begun | others | {"experiment": changed(begun["experiment"])}


def _known_in(before: dict, now: dict) -> dict:
    """What an older version could not store cannot have changed."""
    return {name: value for name, value in now.items() if name in before}


def _differences(old, new, name: str = "") -> list[tuple]:
    """`(name, old, new)` of each value that differs."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(name, old, new)]
    found = []
    for key in dict.fromkeys([*old, *new]):
        found += _differences(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return found


def _settings(content, path: pathlib.Path) -> dict:
    """Raises ValueError if this is not what a run wrote."""
    if not all(isinstance(content, dict) and isinstance(content.get(key), dict) for key in ("experiment", "data")):
        raise ValueError(f"{path} is not from a run of an experiment.")
    return content


def stored_experiment(settings: dict, experiment: Experiment) -> Experiment:
    """The experiment that a run was begun with; a flag that its settings lack is as in `experiment`."""
    stored = stored_flags(settings)
    return replace(experiment, **{name: stored[name] for name in flat(experiment).keys() & stored.keys()})


def as_json(content: dict) -> dict:
    """The same as it would be read from a file: with lists in place of tuples."""
    return json.loads(json.dumps(content))


def read_json(path: pathlib.Path) -> dict:
    """Raises ValueError where there is no JSON object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or missing: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object.")
    return content


def write_json(path: pathlib.Path, content: dict):
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
