import itertools

import keras
import numpy as np
import pytest

from keras_frnn import datasets
from keras_frnn.datasets import stateless

pytestmark = pytest.mark.once


def sequences(dataset, batches=1):
    """Context and future joined, `(sequences, time, height, width)`."""
    joined = [
        np.concatenate([context, future], axis=1)[..., 0] for context, future in itertools.islice(dataset, batches)
    ]
    return np.concatenate(joined)


def test_shapes_and_values():
    data = datasets.moving_mnist("train", "mnist-5k", batch_size=8, context=4, horizon=5, size=32)
    context, future = next(iter(data))
    assert context.shape == (8, 4, 32, 32, 1)
    assert future.shape == (8, 5, 32, 32, 1)
    assert context.dtype == future.dtype == "float32"
    frames = np.concatenate([context, future], axis=1)
    assert frames.min() == -1
    assert 0.9 < frames.max() <= 1
    assert 0.01 < (frames > 0).mean() < 0.3


def test_a_sequence_depends_only_on_seed_split_and_number():
    make = datasets.moving_mnist
    first = sequences(make("train", "mnist-5k", batch_size=6, size=32))
    np.testing.assert_array_equal(sequences(make("train", "mnist-5k", batch_size=2, size=32), 3), first)
    np.testing.assert_array_equal(sequences(make("train", "mnist-5k", batch_size=4, start=2, size=32)), first[2:])
    for other in (
        make("train", "mnist-5k", batch_size=6, size=32, seed=1),
        make("test", "mnist-5k", batch_size=6, size=32),
        make("train", "mnist-5k", batch_size=6, size=32, start=6),
    ):
        assert not np.array_equal(sequences(other), first)
    assert len(np.unique(first, axis=0)) == 6


def test_no_two_streams_meet():
    """A key is a position in SplitMix64's single sequence; the distance of two is a division modulo 2^64."""
    pixel = np.full((1, 1, 1), 255, "uint8")
    keys = []
    for seed in range(31):
        for split in ("train", "test"):
            keys.append(datasets.moving_mnist(split, pixel, size=8, seed=seed, format="keras").make.key)
        keys += [stateless.crop_key(seed), stateless.order_key(seed)]
    increments = pow(0x9E3779B97F4A7C15, -1, 2**64)
    for one, other in itertools.combinations(keys, 2):
        distance = (one - other) * increments % 2**64
        assert min(distance, 2**64 - distance) > 2**40  # More numbers than a year of training draws.


def test_training_never_replays_test_sequences():
    pixel = np.full((1, 1, 1), 255, "uint8")
    seen = {
        split: {
            sequence.tobytes()
            for seed in range(31)
            for shard in range(2)
            for sequence in sequences(
                datasets.moving_mnist(
                    split, pixel, size=32, num_digits=1, batch_size=8, seed=seed, num_shards=2, shard_index=shard
                )
            )
        }
        for split in ("train", "test")
    }
    # Shards and seeds do not share sequences, either: duplicates would reduce the count.
    assert len(seen["train"] | seen["test"]) == 2 * 31 * 2 * 8


def test_test_sequences_are_those_of_the_published_scores():
    """The motion of test sequence 0 of seed 0, as recorded with version 0.2.0."""
    pixel = np.full((1, 1, 1), 255, "uint8")
    frames = sequences(datasets.moving_mnist("test", pixel, size=64, num_digits=1, batch_size=1))[0]
    places = np.stack(np.unravel_index(frames.reshape(20, -1).argmax(axis=-1), (64, 64)), axis=-1)
    assert places[[0, 9, 19]].tolist() == [[60, 44], [27, 5], [13, 35]]


def test_a_pair_of_arrays_is_split():
    dark, bright = (np.full((1, 4, 4), value, "uint8") for value in (100, 200))
    for split, gray in (("train", 100), ("test", 200)):
        frames = sequences(datasets.moving_mnist(split, (dark, bright), size=16, batch_size=2))
        np.testing.assert_allclose(frames.max(), gray / 127.5 - 1, atol=1e-6)


def expected_path(position, velocity, steps):
    positions = [position.copy()]
    for _ in range(steps - 1):
        position = np.clip(position + velocity, 0, 1)
        velocity = np.where((position <= 0) | (position >= 1), -velocity, velocity)
        positions.append(position)
    return np.array(positions)


def test_digits_move_on_lines_and_bounce():
    # A digit of one white pixel shows its position.
    pixel = np.full((1, 1, 1), 255, "uint8")
    frames = sequences(
        datasets.moving_mnist("train", pixel, batch_size=50, size=101, num_digits=1, context=15, horizon=15, speed=0.2)
    )
    assert ((frames == 1).sum(axis=(2, 3)) == 1).all()
    places = np.stack(np.unravel_index(frames.reshape(50, 30, -1).argmax(axis=-1), (101, 101)), axis=-1)
    assert places.min() == 0
    assert places.max() == 100
    bounced = 0
    for path in places:
        steps = np.diff(path, axis=0)
        inside = ((path > 0) & (path < 100)).all(axis=1)
        free = np.flatnonzero(inside[:-1] & inside[1:])
        # Away from the sides, a step is 0.2 of the free range of 100 pixels, up to rounding to whole pixels.
        lengths = np.hypot(*steps[free].T)
        np.testing.assert_allclose(lengths, 20, atol=1.5)
        # The velocity only changes its sign at a side.
        for axis in range(2):
            turns = np.flatnonzero(np.diff(np.sign(steps[:, axis])) != 0)
            touching = [{0, 100} & set(path[t : t + 3, axis].tolist()) for t in turns if abs(steps[t, axis]) > 1]
            assert all(touching)
            bounced += len(touching)
    assert bounced > 50


def test_starts_and_directions_are_uniform():
    pixel = np.full((1, 1, 1), 255, "uint8")
    dataset = datasets.moving_mnist("train", pixel, batch_size=2000, size=64, num_digits=1, context=1, horizon=1)
    frames = sequences(dataset)
    places = np.stack(np.unravel_index(frames.reshape(2000, 2, -1).argmax(axis=-1), (64, 64)), axis=-1)
    for axis in range(2):
        counts, _ = np.histogram(places[:, 0, axis], bins=9, range=(0, 63))
        # 222 expected in each ninth, standard deviation 14.
        assert np.abs(counts - 2000 / 9).max() < 70
    steps = (places[:, 1] - places[:, 0])[((places[:, 1] > 0) & (places[:, 1] < 62)).all(axis=1)]
    quadrants = [(steps[:, 0] * a > 0) & (steps[:, 1] * b > 0) for a in (1, -1) for b in (1, -1)]
    shares = np.array([quadrant.sum() for quadrant in quadrants]) / len(steps)
    assert shares.min() > 0.15


def test_digits_are_combined_by_maximum():
    gray = np.full((1, 8, 8), 100, "uint8")
    frames = sequences(datasets.moving_mnist("train", gray, batch_size=20, size=16, num_digits=3))
    np.testing.assert_allclose(np.unique(frames), [-1, 100 / 127.5 - 1], atol=1e-6)
    # Three digits of 64 pixels overlap in a frame of 256, and each is completely visible.
    counts = (frames > -1).sum(axis=(2, 3))
    assert counts.min() >= 64
    assert counts.max() <= 3 * 64


def test_own_digits_appear_unchanged():
    digit = np.random.default_rng(0).integers(0, 256, (1, 9, 9)).astype("uint8")
    digit[:, [0, -1]] = digit[:, :, [0, -1]] = 255
    frames = sequences(datasets.moving_mnist("test", digit, batch_size=5, size=20, num_digits=1, sequences=5))
    for frame in np.round((frames + 1) * 127.5).astype("uint8").reshape(-1, 20, 20):
        rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
        np.testing.assert_array_equal(frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], digit[0])


def test_digits_included_in_the_package():
    (train, train_labels), (test, test_labels) = (datasets.mnist_5k(split) for split in ("train", "test"))
    assert train.shape == (4_000, 28, 28)
    assert test.shape == (1_000, 28, 28)
    assert train.dtype == test.dtype == "uint8"
    assert (np.bincount(train_labels) == 400).all()
    assert (np.bincount(test_labels) == 100).all()
    assert not {image.tobytes() for image in train} & {image.tobytes() for image in test}
    # Images belong to their labels: mean images of the classes classify most unseen digits correctly.
    means = np.stack([train[train_labels == label].mean(axis=0) for label in range(10)])
    distances = ((test[:, None] - means) ** 2).sum(axis=(2, 3))
    assert (distances.argmin(axis=1) == test_labels).mean() > 0.75
    with pytest.raises(ValueError, match="Received: split='validation'"):
        datasets.mnist_5k("validation")


@pytest.mark.parametrize("split", ["train", "test"])
def test_digits_of_the_split_move(split):
    digits = {image.tobytes() for image in datasets.mnist_5k(split)[0]}
    frames = sequences(datasets.moving_mnist(split, "mnist-5k", batch_size=8, num_digits=1, sequences=8))[:, 0]
    for frame in np.round((frames + 1) * 127.5).astype("uint8"):
        windows = np.lib.stride_tricks.sliding_window_view(frame, (28, 28)).reshape(-1, 28, 28)
        assert any(window.tobytes() in digits for window in windows)


def test_the_test_split_is_finite_and_training_is_endless():
    assert len(datasets.moving_mnist("test", "mnist-5k", sequences=10, batch_size=4)) == 3
    assert len(datasets.moving_mnist("test", "mnist-5k", batch_size=100)) == 100
    assert sum(len(c) for c, _ in datasets.moving_mnist("test", "mnist-5k", sequences=10, batch_size=4)) == 10
    with pytest.raises(TypeError):
        len(datasets.moving_mnist("train", "mnist-5k", batch_size=12))


class TestMnist:
    @pytest.fixture(autouse=True)
    def _mnist(self, monkeypatch):
        self.digits = np.zeros((2, 10, 28, 28), "uint8")
        self.digits[0, :, 10:20, 12:16] = 255
        self.digits[1, :, 12:16, 10:20] = 255
        labels = np.zeros(10, "uint8")
        monkeypatch.setattr(
            keras.datasets.mnist, "load_data", lambda: ((self.digits[0], labels), (self.digits[1], labels))
        )

    @pytest.mark.parametrize(("split", "size"), [("train", (10, 4)), ("test", (4, 10))])
    def test_reads_the_digits_of_the_split(self, split, size):
        frames = sequences(datasets.moving_mnist(split, batch_size=4, num_digits=1, sequences=4))
        assert frames.shape == (4, 20, 64, 64)
        for frame in frames.reshape(-1, 64, 64):
            assert ((frame > 0).any(axis=1).sum(), (frame > 0).any(axis=0).sum()) == size

    def test_smaller_frames_have_smaller_digits(self):
        frames = sequences(datasets.moving_mnist("train", batch_size=4, num_digits=1, sequences=4, size=32))
        assert ((frames > -1).any(axis=3).sum(axis=2) <= 7).all()

    def test_without_network(self, monkeypatch):
        def fail():
            raise Exception("URL fetch failure")

        monkeypatch.setattr(keras.datasets.mnist, "load_data", fail)
        with pytest.raises(ConnectionError, match=r"could not be downloaded \(URL fetch failure\).*digits='mnist-5k'"):
            datasets.moving_mnist("train")

    def public(self, tmp_path, array=None):
        if array is None:
            array = np.random.default_rng(0).integers(0, 256, (20, 30, 64, 64)).astype("uint8")
        np.save(tmp_path / "mnist_test_seq.npy", array)
        return tmp_path / "mnist_test_seq.npy", array

    def test_public_test_sequences(self, tmp_path):
        path, array = self.public(tmp_path)
        dataset = datasets.moving_mnist("test", path=path, batch_size=12)
        assert len(dataset) == 3
        frames = sequences(dataset, 3)
        np.testing.assert_allclose(frames, array.swapaxes(0, 1) / 127.5 - 1, atol=1e-6)
        some = sequences(datasets.moving_mnist("test", path=path, sequences=5, context=3, horizon=2, start=1))
        np.testing.assert_array_equal(some, frames[1:6, :5])

    @pytest.mark.parametrize(
        ("array", "kwargs", "message"),
        [
            (np.zeros((30, 20, 64, 64), "uint8"), {}, "its first axis is not time"),
            (np.zeros((20, 30, 64, 64), "float32"), {}, "holds float32 .* Expected the public test array"),
            (np.zeros((20, 30, 64), "uint8"), {}, r"holds uint8 \(20, 30, 64\)"),
            (np.zeros((20, 30, 32, 32), "uint8"), {}, "frames of 32x32. Received: size=64"),
            (np.zeros((20, 30, 64, 64), "uint8"), {"horizon": 11}, "sequences of 20 frames. .* 21 together"),
            (np.zeros((20, 30, 64, 64), "uint8"), {"sequences": 31}, "has 30 sequences. Received: start=0"),
        ],
    )
    def test_not_the_public_array(self, tmp_path, array, kwargs, message):
        path, _ = self.public(tmp_path, array)
        with pytest.raises(ValueError, match=message):
            datasets.moving_mnist("test", path=path, **kwargs)

    @pytest.mark.parametrize("content", [b"", b"not an array", b"\x93NUMPY\x01\x00"])
    def test_broken_file(self, tmp_path, content):
        path = tmp_path / "mnist_test_seq.npy"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"is not a readable \.npy file"):
            datasets.moving_mnist("test", path=path)

    def test_truncated_file(self, tmp_path):
        path, _ = self.public(tmp_path)
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(ValueError, match=r"is not a readable \.npy file"):
            datasets.moving_mnist("test", path=path)

    def test_no_file(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="Expected the public test array"):
            datasets.moving_mnist("test", path=tmp_path / "mnist_test_seq.npy")

    def test_path_is_for_the_test_split(self, tmp_path):
        path, _ = self.public(tmp_path)
        with pytest.raises(ValueError, match="split='test' with digits='mnist'"):
            datasets.moving_mnist("train", path=path)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"split": "validation"}, "'train' or 'test'. Received: split='validation'"),
        ({"digits": "emnist"}, "Received: digits='emnist'"),
        ({"digits": np.zeros((3, 8, 9), "uint8")}, r"shape \(count, side, side\) and dtype uint8"),
        ({"digits": np.zeros((3, 8, 8))}, "Received: .* dtype=float64"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"context": 1.5}, "`context` must be a positive integer"),
        ({"num_digits": 0}, "`num_digits` must be a positive integer"),
        ({"speed": 0}, "`speed` is a fraction"),
        ({"speed": 2}, "`speed` is a fraction"),
        ({"start": -1}, "`start` must be an integer of 0 or more"),
        ({"seed": "0"}, "`seed` must be an integer. Received: seed=.0."),
        ({"sequences": 0}, "`sequences` must be a positive integer"),
        ({"digit_size": 65}, "Digits of 65 pixels do not fit frames of 64"),
    ],
)
def test_errors(kwargs, message):
    with pytest.raises(ValueError, match=message):
        datasets.moving_mnist(**{"split": "train", "digits": "mnist-5k", **kwargs})
