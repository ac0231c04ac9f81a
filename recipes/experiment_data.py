"""The data of an experiment: its batches, and what they are, wherever they lie."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator

import keras
import numpy as np
from devices import Place
from run_folder import RunError
from stages import Experiment

from keras_frnn import datasets
from keras_frnn.datasets.formats import Dataset
from keras_frnn.datasets.video_files.video_store import open_store

_TEST_BATCH = 20


def train_data(experiment: Experiment, done: int, place: Place | None = None) -> Dataset:
    """The endless training batches from an iteration on, which are a function of it and the seed alone.

    Of several processes, each has its part of every batch.
    """
    place = place or Place()
    part = experiment.batch_size // place.processes
    arguments = dict(batch_size=experiment.batch_size if place.splits else part, start=done * part)
    if place.processes > 1:
        arguments |= dict(num_shards=place.processes, shard_index=place.process)
    data = _dataset(experiment, "train", seed=experiment.seed, **arguments, **experiment.augmentation)
    if place.splits:
        import tensorflow as tf

        options = tf.data.Options()  # It is sharded already, and batches of the size above are cut for the replicas.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        data = data.with_options(options)
    return data


def test_data(experiment: Experiment) -> Dataset:
    """The test sequences, once."""
    return _dataset(experiment, "test", batch_size=_TEST_BATCH, sequences=experiment.test_sequences)


def contexts(experiment: Experiment, count: int) -> Iterator[np.ndarray]:
    """The given frames of the first test sequences, `(1, context, height, width, channels)`; the rest is not read."""
    windows, rest = dict(experiment.windows), 0
    # A dataset has a future of one frame at least: the last of the given ones.
    if windows["context"] > 1:
        windows["context"], rest = windows["context"] - 1, 1
    windows["horizon"] = 1
    data = _dataset(dataclasses.replace(experiment, windows=windows), "test", batch_size=1, sequences=count)
    for context, future in data:
        yield np.concatenate([keras.ops.convert_to_numpy(frames) for frames in (context, future[:, :rest])], axis=1)


@contextlib.contextmanager
def fits(flag: str, experiment: Experiment) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        if isinstance(error, ValueError) and "keyword argument" not in str(error):
            raise
        value = getattr(experiment, flag)
        raise RunError(f"--{flag}={value} does not go with the other flags of this recipe: {error}") from error


def _dataset(experiment: Experiment, split: str, **arguments) -> Dataset:
    make, source, windows = getattr(datasets, experiment.dataset), dict(experiment.source), experiment.windows
    # TensorFlow is loaded where it is the backend, and nowhere else.
    with fits("dataset", experiment):
        if experiment.dataset == "moving_mnist":
            test_array = source.pop("test_array", None)
            return make(split, **source, **windows, **arguments, path=test_array if split == "test" else None)
        return make(source.pop("data", f"data/{experiment.dataset}"), split, **source, **windows, **arguments)


def identity_of_data(experiment: Experiment, first_steps: str) -> dict:
    """What the data are, wherever they lie."""
    try:
        test_data(experiment), train_data(experiment, 0)  # What is wrong with them shows before training.
        if experiment.dataset == "moving_mnist":
            return {"digits": experiment.source["digits"], "test": _test_array(experiment.source["test_array"])}
        prefix = None if experiment.dataset == "video_folder" else experiment.dataset
        stores = {split: open_store(experiment.source["data"], split, "h5py", prefix) for split in ("train", "test")}
    except FileNotFoundError as error:
        raise RunError(f"{error}\n\n{first_steps}".strip()) from error
    return {split: store.identity() for split, store in stores.items()}


def _test_array(path: str | None):
    if path is None:
        return "generated"
    array = np.load(path, mmap_mode="r")
    sequences = np.ascontiguousarray(array[:, :: max(1, array.shape[1] // 100)])
    return {"shape": list(array.shape), "digest": hashlib.sha256(sequences.tobytes()).hexdigest()[:16]}
