"""The data of an experiment: its batches, and an identity that stays the same when the files move."""

import contextlib
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_frnn import datasets
from keras_frnn.datasets.formats import Dataset, Order, Pair
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.experiments.devices import Place
from keras_frnn.experiments.experiment import Experiment, MovingDigits, flat, replace
from keras_frnn.experiments.run_folder import RunError

_TEST_BATCH = 20


def train_data(experiment: Experiment, done: int, place: Place | None = None) -> Dataset:
    """The endless training batches from an iteration on. They depend on it and on the seed alone.

    If there are several processes, each gets its part of every batch.
    """
    place = place or Place()
    batch_size = experiment.training.batch_size
    part = batch_size // place.processes
    arguments: dict[str, Any] = dict(start=done * part, seed=experiment.training.seed)
    arguments["batch_size"] = batch_size if place.splits else part
    if place.processes > 1:
        arguments |= dict(num_shards=place.processes, shard_index=place.process)
    if experiment.training.validation is not None:
        arguments["held_out"] = _held_out(experiment)
    if isinstance(experiment.source, MovingDigits) and experiment.source.turns:
        data = _in_turns(experiment, experiment.source, arguments)
    else:
        data = _dataset(experiment, "train", **arguments)
    if place.splits:
        import tensorflow as tf

        options = tf.data.Options()  # It is sharded already: `fit` cuts batches of the size above for the replicas.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        data = data.with_options(options)
    return data


def _in_turns(experiment: Experiment, source: MovingDigits, arguments: dict) -> Dataset:
    """Batches of several kinds of moving digits that take turns; kind k has its own motion, by the seed plus k."""
    makes = []
    for number, kind in enumerate(source.turns):
        seed = arguments["seed"] + number
        part = _dataset(replace(experiment, **kind), "train", **arguments | {"seed": seed, "format": "keras"})
        makes.append(part.make)
    order = Order(**arguments, **flat(experiment.windows))
    return order.dataset(_Turns(makes, experiment.training.batch_size), (source.size, source.size, 1), None)


class _Turns:
    """Sequences by number; the number of their batch decides of which kind they are."""

    def __init__(self, makes: list[Callable[[np.ndarray], Pair]], batch_size: int):
        self.makes, self.batch_size = makes, batch_size

    def __call__(self, number: np.ndarray) -> Pair:
        turn, kind = divmod(int(number[0]) // self.batch_size, len(self.makes))
        return self.makes[kind](turn * self.batch_size + number % self.batch_size)


def test_data(experiment: Experiment) -> Dataset:
    """The test sequences, once."""
    return data_of_another_seed(experiment, 0)


def data_of_another_seed(experiment: Experiment, seed: int) -> Dataset:
    """As many test sequences; those of moving digits have other motion."""
    sequences = experiment.testing.test_sequences
    return _dataset(experiment, "test", batch_size=_TEST_BATCH, sequences=sequences, seed=seed)


def validation_data(experiment: Experiment) -> Dataset:
    """The sequences of held-out training videos, once."""
    arguments = dict(batch_size=_TEST_BATCH, held_out=_held_out(experiment), sequences=experiment.training.validation)
    return _dataset(experiment, "validation", **arguments)


def _held_out(experiment: Experiment) -> float:
    """The part of the training videos that is for validation."""
    if (dataset := experiment.source.dataset) != "video_folder":
        raise RunError(f"Videos are held out for validation in the dataset video_folder, not in {dataset}. Omit it.")
    return 0.2


def contexts(experiment: Experiment, count: int) -> Iterator[np.ndarray]:
    """The given frames of the first test sequences, `(1, context, height, width, channels)`; no others are read."""
    context = experiment.windows.context
    # A dataset has a future of at least one frame: the last of the given ones.
    rest = 1 if context > 1 else 0
    data = _dataset(replace(experiment, context=context - rest, horizon=1), "test", batch_size=1, sequences=count)
    for given, future in data:
        yield np.concatenate([keras.ops.convert_to_numpy(frames) for frames in (given, future[:, :rest])], axis=1)


@contextlib.contextmanager
def fits(flag: str, experiment: Experiment) -> Iterator[None]:
    """Turns an argument that a class or function does not have into a sentence about the flag that names it."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if isinstance(error, ValueError) and "keyword argument" not in str(error):
            raise
        value = flat(experiment)[flag]
        raise RunError(f"--{flag}={value} does not go with the other flags of this experiment: {error}") from error


def _dataset(experiment: Experiment, split: str, **arguments) -> Dataset:
    source = flat(experiment.source)
    make = getattr(datasets, source.pop("dataset"))
    arguments |= flat(experiment.windows)
    # TensorFlow is loaded only where it is the backend.
    with fits("dataset", experiment):
        if isinstance(experiment.source, MovingDigits):
            del source["turns"]
            test_array = source.pop("test_array")
            return make(split, **source, **arguments, path=test_array if split == "test" else None)
        mirror = source.pop("mirror")
        return make(
            source.pop("data"), split, **source, **arguments, **(dict(mirror=mirror) if split == "train" else {})
        )


def identity_of_data(experiment: Experiment, first_steps: str = "") -> dict:
    """What tells the data from others, wherever they are.

    Args:
        experiment: which.
        first_steps: what to do if there are no data.

    Raises:
        RunError: there are none.
    """
    source = experiment.source
    try:
        test_data(experiment), train_data(experiment, 0)  # Faults in them show before training.
        if isinstance(source, MovingDigits):
            return {"digits": source.digits, "test": _test_array(source.test_array)}
        prefix = None if source.dataset == "video_folder" else source.dataset
        stores = {split: open_store(source.data, split, "h5py", prefix) for split in ("train", "test")}
    except FileNotFoundError as error:
        raise RunError(f"{error}\n\n{first_steps}".strip()) from error
    return {split: store.identity() for split, store in stores.items()}


def _test_array(path: str | None):
    if path is None:
        return "generated"
    array = np.load(path, mmap_mode="r")
    sequences = np.ascontiguousarray(array[:, :: max(1, array.shape[1] // 100)])
    return {"shape": list(array.shape), "digest": hashlib.sha256(sequences.tobytes()).hexdigest()[:16]}
