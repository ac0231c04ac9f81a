"""Both formats of every dataset have the same batches: `tf.data.Dataset` and `keras.utils.PyDataset`."""

import importlib.util
import itertools
import pathlib
import pickle
import re
import shutil
import subprocess
import sys
import threading

import h5py
import keras
import numpy as np
import pytest

from keras_frnn import datasets, evaluation, models, reference
from keras_frnn.datasets import formats

HAS_TENSORFLOW = importlib.util.find_spec("tensorflow") is not None
needs_tensorflow = pytest.mark.skipif(not HAS_TENSORFLOW, reason="there is no TensorFlow to compare with")
DIGITS = dict(digits="mnist-5k", size=16, context=2, horizon=2, batch_size=3)
PICTURES = dict(size=16, context=2, horizon=2, batch_size=3)
KINDS = ["moving_mnist", "moving_pictures", "moving_pictures with flow", "from_arrays", "video_folder"]
VIDEOS = np.random.default_rng(0).integers(0, 256, (3, 9, 8, 12, 3), dtype="uint8")
WINDOWS = dict(context=2, horizon=2, batch_size=4, crop=(4, 8), mirror=True)


def first(data, batches: int) -> list:
    return [tuple(np.asarray(part) for part in batch) for batch in itertools.islice(data, batches)]


def assert_equal(one, other):
    assert len(one) == len(other) > 0
    for batch, its in zip(one, other, strict=True):
        for frames, theirs in zip(batch, its, strict=True):
            assert frames.dtype == theirs.dtype == "float32"
            np.testing.assert_array_equal(frames, theirs)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored") / "videos.hdf5"
    with h5py.File(path, "w") as file:
        for number, video in enumerate(VIDEOS):
            file[str(number)] = video
    return path


def make(kind, stored, split, **options):
    if kind == "moving_mnist":
        return datasets.moving_mnist(split, **DIGITS, **options)
    if kind.startswith("moving_pictures"):
        return datasets.moving_pictures(split, **PICTURES, flow=kind.endswith("flow"), **options)
    if kind == "from_arrays":
        return datasets.from_arrays(VIDEOS, split, **WINDOWS, **options)
    return datasets.video_folder(stored, split, **WINDOWS, **options)


@pytest.mark.once
@needs_tensorflow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, dict(start=3, seed=5, num_shards=3, shard_index=1)])
def test_both_formats_have_the_same_batches(kind, stored, options):
    for split, more in (("train", {}), ("test", dict(sequences=14))):
        as_tf, as_keras = (make(kind, stored, split, format=f, **options, **more) for f in ("tf", "keras"))
        assert_equal(first(as_tf, 9), first(as_keras, 9))
        count = as_keras.num_batches
        assert int(as_tf.cardinality()) == (-1 if split == "train" else count)
        context, future = (tuple(spec.shape) for spec in as_tf.element_spec)
        assert (context[1:], future[1:]) == tuple(part.shape[1:] for part in as_keras[0])
        assert context[0] == future[0] == (len(as_keras[0][0]) if split == "train" else None)


@pytest.mark.once
@pytest.mark.parametrize("split", ["train", "test"])
def test_workers_share_the_sequences(split):
    """Moving MNIST; see test_windows.py for videos."""

    def context(**options):
        sequences = 10 if split == "test" else None
        batches = first(datasets.moving_mnist(split, **DIGITS, sequences=sequences, format="keras", **options), 4)
        return np.concatenate([context for context, _ in batches])[:10]

    one = context()
    for i in range(3):
        theirs = context(num_shards=3, shard_index=i)
        np.testing.assert_array_equal(theirs[: len(one[i::3])], one[i::3])
        assert split == "train" or len(theirs) == len(one[i::3])
        np.testing.assert_array_equal(context(num_shards=3, shard_index=i, start=2)[0], context(start=6)[i])


@pytest.mark.once
def test_batches_by_number(stored):
    endless = datasets.moving_mnist("train", **DIGITS, format="keras")
    assert endless.num_batches is None
    with pytest.raises(TypeError, match="is endless and has no length. Pass `steps_per_epoch`"):
        len(endless)
    # In any order, including consecutive numbers, for which threads read ahead.
    numbers = [5, 0, 1, 2, 3, 4, 5, 2, 3, 4, 10**9, 0]
    for number, batch in zip(numbers, [endless[n] for n in numbers], strict=True):
        assert_equal([batch], first(datasets.moving_mnist("train", **DIGITS, start=3 * number, format="keras"), 1))
    ends = datasets.video_folder(stored, "test", **WINDOWS, format="keras")
    assert [len(context) for context, _ in ends] == [4, 4, 4, 4, 2]
    assert len(ends) == ends.num_batches == 5
    beyond = ((endless, number, "endlessly many") for number in (-1, 2**63 // 3, 2**63, 2**70))
    for data, number, count in ((ends, -1, 5), (ends, 5, 5), *beyond):
        with pytest.raises(IndexError, match=f"There is no batch {number}: the dataset has {count}, counted from 0"):
            data[number]
    assert first(datasets.video_folder(stored, "test", **WINDOWS, start=100, format="keras"), 1) == []


@pytest.mark.once
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_beyond_int64(kind, stored, split):
    for options in (dict(start=2**63), dict(start=2**62, num_shards=2)):
        with pytest.raises(
            ValueError, match="numbers must be below 9,223,372,036,854,775,807. Received: `start`.* lead to 9,2"
        ):
            make(kind, stored, split, **options)
    if split == "train":  # Smaller numbers work.
        data = make(kind, stored, split, start=2**63 - 9, format="keras")
        assert data[1][0].min() >= -1
        with pytest.raises(IndexError, match="with numbers up to 1"):
            data[2]


@pytest.mark.once
def test_threads_prepare_the_following_batches(monkeypatch):
    data, made = datasets.moving_mnist("train", **DIGITS, format="keras"), {}
    of_one = formats.VideoBatches.batch

    def batch(self, number):
        made[number] = threading.current_thread()
        return of_one(self, number)

    monkeypatch.setattr(formats.VideoBatches, "batch", batch)
    data[7]
    assert made == {7: threading.main_thread()}
    first(data, 6)
    assert threading.main_thread() not in [made[number] for number in range(2, 6)]


@pytest.mark.once
def test_datasets_can_be_pickled(stored):
    for kind in KINDS:
        data = make(kind, stored, "train", format="keras")
        expected = first(data, 3)
        assert_equal(first(pickle.loads(pickle.dumps(data)), 3), expected)


@pytest.mark.once
@needs_tensorflow
def test_errors_while_reading_pass_through_tensorflow(stored, tmp_path):
    import tensorflow as tf

    path = tmp_path / "some.hdf5"
    shutil.copy(stored, path)
    data = datasets.video_folder(path, "test", **WINDOWS, format="tf")
    path.unlink()
    with pytest.raises(
        tf.errors.InvalidArgumentError, match="'0' cannot be read .*but could be when the file was opened"
    ):
        next(iter(data))


@pytest.mark.once
def test_formats_are_checked():
    with pytest.raises(ValueError, match="`format` must be 'tf', 'keras' or None. Received: format='torch'"):
        datasets.moving_mnist("test", **DIGITS, format="torch")
    with pytest.raises(ValueError, match="Received: format=''"):
        datasets.from_arrays(VIDEOS, **WINDOWS, format="")


def test_the_default_format_depends_on_the_backend(stored):
    for kind in KINDS:
        is_of_keras = isinstance(make(kind, stored, "test"), keras.utils.PyDataset)
        assert is_of_keras == (keras.backend.backend() != "tensorflow")


@pytest.mark.skipif(keras.backend.backend() == "tensorflow", reason="TensorFlow is the backend")
def test_other_backends_do_not_load_tensorflow():
    script = (
        "import sys\n"
        "from keras_frnn import callbacks, datasets, evaluation, models\n"
        "data = datasets.moving_mnist('test', 'mnist-5k', size=16, context=2, horizon=2, batch_size=2, sequences=2)\n"
        "model = models.FoldedRNN.from_topology([('recurrent', 2, 3)], horizon=2)\n"
        "model.compile('sgd', 'mse')\n"
        "model.fit(data, verbose=0)\n"
        "evaluation.evaluate(model, data)\n"
        "sys.exit('tensorflow' in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.once
def test_errors_without_tensorflow(monkeypatch):
    model = network()  # First, since Keras itself may import TensorFlow for it.
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # As if it were not installed.
    with pytest.raises(ImportError, match=r"format='tf' needs TensorFlow.*`pip install tensorflow`. format='keras'"):
        datasets.moving_mnist("test", **DIGITS, format="tf")
    with pytest.raises(ImportError, match=r"authors' checkpoints needs TensorFlow.*Files that `model.save` wrote"):
        reference.load_checkpoint(model, "model-0")


def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = models.FoldedRNN.from_topology([("conv", 2, 3), ("recurrent", 2, 3)], horizon=2)
    model.build((None, 2, 16, 16, 1))  # Now, since every random draw depends on the seed.
    model.compile("sgd", "mse")
    return model


@needs_tensorflow
def test_networks_train_alike_on_both_formats():
    """Every batch is used once and in order, over several epochs, and in a test set."""
    weights, scores = [], []
    for format in ("tf", "keras"):
        model = network()
        train = datasets.moving_mnist("train", **DIGITS, format=format)
        test = datasets.moving_mnist("test", **DIGITS, sequences=7, format=format)
        model.fit(train, steps_per_epoch=2, epochs=3, validation_data=test, verbose=0)
        model.fit(test, verbose=0)
        weights.append(model.get_weights())
        scores.append((model.evaluate(test, verbose=0), evaluation.evaluate(model, test).to_dict()["values"]))
    # TensorFlow rounds differently if it knows the batch size. A different batch would change values by 1e-3.
    for one, other in zip(*(keras.tree.flatten(results) for results in zip(weights, scores, strict=True)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.once
def test_training_continues_where_it_stopped():
    whole, parts = network(), network()
    fit = dict(epochs=1, verbose=0)
    whole.fit(datasets.moving_mnist("train", **DIGITS, format="keras"), steps_per_epoch=4, **fit)
    for done, steps in ((0, 1), (1, 3)):
        data = datasets.moving_mnist("train", **DIGITS, start=done * DIGITS["batch_size"], format="keras")
        parts.fit(data, steps_per_epoch=steps, **fit)
    for one, other in zip(whole.get_weights(), parts.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_endless_and_empty_datasets():
    model = network()
    with pytest.raises(ValueError, match="The test data is endless. Pass `sequences=`"):
        evaluation.evaluate(model, datasets.moving_mnist("train", **DIGITS, format="keras"))
    nothing = datasets.from_arrays(VIDEOS, "test", **WINDOWS, start=100, format="keras")
    with pytest.raises(ValueError, match="The test data has no sequences"):
        evaluation.evaluate(model, nothing)
    with pytest.raises(ValueError, match="The data has no batch"):
        model.fit(nothing)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # On a single core.
@pytest.mark.skipif(keras.backend.backend() != "torch", reason="Keras accepts a DataLoader only on Torch")
def test_in_a_data_loader(stored):
    """The example of docs/data.md."""
    page = pathlib.Path(__file__).parent.parent.parent / "docs" / "data.md"
    examples = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    (example,) = (example for example in examples if "DataLoader" in example)
    data = datasets.video_folder(stored, "train", **WINDOWS, format="keras")
    exec(example, namespace := {})
    loader = namespace["loader"]
    assert (loader.dataset, list(loader.sampler), loader.num_workers) == (namespace["data"], list(range(1000)), 1)
    loader = type(loader)(data, batch_size=None, sampler=range(2, 6), num_workers=2)
    assert_equal(first(loader, 9), [data[number] for number in range(2, 6)])
    model = models.FoldedRNN.from_topology([("conv", 2, 3), ("recurrent", 2, 3)], horizon=2)
    model.compile("sgd", "mse")
    model.fit(loader, verbose=0)
    assert int(model.optimizer.iterations) == 4
