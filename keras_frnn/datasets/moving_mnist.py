"""Moving MNIST: handwritten digits that drift over a black square and bounce off its sides."""

import pathlib

import keras
import numpy as np

from keras_frnn.checks import check_integer, check_positive_integer, check_positive_integers_by_name
from keras_frnn.datasets.faces import Dataset, Pair, dataset, positions, scaled
from keras_frnn.datasets.mnist_5k import mnist_5k
from keras_frnn.datasets.stateless import motion_key, uniform
from keras_frnn.datasets.windows import SPLITS, check_split

_TEST_SEQUENCES = 10_000


def moving_mnist(
    split: str,
    digits: str | np.ndarray | tuple[np.ndarray, np.ndarray] = "mnist",
    *,
    batch_size: int = 12,
    context: int = 10,
    horizon: int = 10,
    size: int = 64,
    num_digits: int = 2,
    digit_size: int | None = None,
    speed: float = 0.1,
    seed: int = 0,
    sequences: int | None = None,
    start: int = 0,
    num_shards: int = 1,
    shard_index: int = 0,
    format: str | None = None,
    path: str | pathlib.Path | None = None,
) -> Dataset:
    """Sequences of moving handwritten digits, generated on the fly.

    Every digit starts at a uniformly drawn place, moves on a line in a uniformly drawn direction, and bounces off the
    sides; digits are combined by maximum. Sequence n is a pure function of the seed, the split and n: the same in every
    run, for every batch size, on any number of workers.

    Args:
        split: `"train"` or `"test"`. Their motion differs for all seeds, and the named digits have training and test
            images that differ.
        digits: `"mnist"` (70,000, downloaded by Keras), `"mnist-5k"` (5,000 of them, inside this package), or images of
            your own, `(count, side, side)` in uint8: a pair of arrays, `(training, test)`, or a single array. **Both
            splits share the images of a single array: a network is then tested on images that it was trained on.**
        batch_size: sequences a batch.
        context: frames that are given.
        horizon: frames to be predicted.
        size: side of the square frames in pixels.
        num_digits: digits in a sequence.
        digit_size: side of a digit in pixels, to which digits are resized; by default 28/64 of `size` for the named
            digits, which keeps MNIST as it is in frames of 64, and the side of the array for one's own.
        speed: distance moved in one frame, as a fraction of the free range `size - digit_size`.
        seed: any integer.
        sequences: how many sequences; by default endless for training, 10,000 for test.
        start: number of the first sequence; `start=k * batch_size` goes on after k batches. With `num_shards`, how many
            this worker leaves out.
        num_shards: number of workers that share the sequences. Together they see what one with a batch of
            `num_shards * batch_size` would.
        shard_index: number of this worker, 0 to `num_shards - 1`.
        format: as in `video_folder`.
        path: for `split="test"` and `digits="mnist"`: the public test array `mnist_test_seq.npy`, uint8
            `(20, 10000, 64, 64)`, time first. It is read instead of generating.

    Returns:
        Dataset of `(context, future)`, as `format` says: float32 `(batch, context, size, size, 1)` and
        `(batch, horizon, size, size, 1)` in [-1, 1], black is -1.

    Raises:
        ValueError: an argument that is out of its range or no integer, or an array or file that is not as described.
        FileNotFoundError: there is nothing at `path`.
        ConnectionError: MNIST could not be downloaded.
        ImportError: `format="tf"`, and TensorFlow is not installed.

    Reference: Srivastava et al., "Unsupervised Learning of Video Representations using LSTMs", ICML 2015.
    """
    check_split(split)
    batch_size, context, horizon, size, num_digits, num_shards = check_positive_integers_by_name(
        batch_size=batch_size,
        context=context,
        horizon=horizon,
        size=size,
        num_digits=num_digits,
        num_shards=num_shards,
    )
    if sequences is not None:
        sequences = check_positive_integer(sequences, "sequences")
    seed, start = check_integer(seed, "seed"), check_integer(start, "start", 0)
    shard_index = check_integer(shard_index, "shard_index", 0, num_shards - 1)
    if not 0 < speed <= 1:
        raise ValueError(f"`speed` is a fraction of the free range and must be in (0, 1]. Received: speed={speed!r}")
    first = start * num_shards
    stop = None if sequences is None else first + sequences
    make: _PublicTestSequences | MovingDigits
    if path is not None:
        if split != "test" or not (isinstance(digits, str) and digits == "mnist"):
            raise ValueError(
                "`path` is for the public test sequences: split='test' with digits='mnist'. "
                f"Received: split={split!r}, digits={digits!r}, path={str(path)!r}"
            )
        make = _PublicTestSequences(pathlib.Path(path), context, horizon, size)
        stop = make.count if stop is None else stop
        if first >= make.count or stop > make.count:
            raise ValueError(f"{path} has {make.count} sequences. Received: start={start}, sequences={sequences}")
    else:
        images = _load_digits(digits, split)
        if digit_size is None:
            digit_size = round(size * 28 / 64) if isinstance(digits, str) else images.shape[1]
        digit_size = check_positive_integer(digit_size, "digit_size")
        if digit_size > size:
            raise ValueError(f"Digits of {digit_size} pixels do not fit frames of {size}. Pass a smaller `digit_size`.")
        make = MovingDigits(
            _resize(images, digit_size), motion_key(split, seed), context, horizon, size, num_digits, speed
        )
        if stop is None and split == "test":
            stop = first + _TEST_SEQUENCES
    shapes = (context, size, size, 1), (horizon, size, size, 1)
    return dataset(make, shapes, positions(first, stop, num_shards, shard_index), batch_size, format)


def moved(position: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and velocity a frame later, both as fractions of the free range."""
    # At a side a digit stops for this frame and turns, as in the code that made the public test sequences.
    position = np.clip(position + velocity, 0, 1)
    return position, np.where((position <= 0) | (position >= 1), -velocity, velocity)


def draw(frame: np.ndarray, digit: np.ndarray, corner):
    """Draws a digit into a frame, from the row and column of its first pixel on; the brighter one of both is seen."""
    (y, x), side = corner, len(digit)
    part = frame[y : y + side, x : x + side]
    np.maximum(part, digit, out=part)


class MovingDigits:
    """Sequences by their numbers.

    Args:
        digits: uint8 `(count, side, side)`.
        key: of the random numbers.
        others: as in `moving_mnist`.
    """

    def __init__(self, digits, key: int, context: int, horizon: int, size: int, num_digits: int, speed: float):
        self.digits, self.key, self.context, self.size = digits, key, context, size
        self.steps, self.num_digits, self.speed = context + horizon, num_digits, speed

    def __call__(self, number: np.ndarray) -> Pair:
        digit, places = self.trajectories(number)
        corners = self.corners(places).tolist()
        frames = np.zeros((len(number), self.steps, self.size, self.size), "uint8")
        for i, sequence in enumerate(frames):
            for which, path in zip(digit[i], corners[i], strict=True):
                for frame, corner in zip(sequence, path, strict=True):
                    draw(frame, self.digits[which], corner)
        return scaled(frames[..., None], self.context)

    def velocity(self, turn: np.ndarray) -> np.ndarray:
        """Of directions, as fractions of a full turn: rows and columns a frame, as fractions of the free range."""
        angle = 2 * np.pi * turn
        return self.speed * np.stack([np.sin(angle), np.cos(angle)], axis=-1)

    def corners(self, places: np.ndarray) -> np.ndarray:
        """Row and column of a digit's first pixel."""
        return (places * (self.size - self.digits.shape[1])).astype("int64")

    def trajectories(self, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Digits `(batch, digits)`, and row and column as fractions of the free range, `(batch, digits, steps, 2)`."""
        u = uniform(self.key, number, self.num_digits * 4).reshape(-1, self.num_digits, 4)
        position, velocity = u[..., 1:3], self.velocity(u[..., 3])
        positions = [position]
        for _ in range(self.steps - 1):
            position, velocity = moved(position, velocity)
            positions.append(position)
        return (u[..., 0] * len(self.digits)).astype("int64"), np.stack(positions, axis=2)


class _PublicTestSequences:
    """The published ones, by their numbers.

    Attributes:
        count: how many there are.
    """

    def __init__(self, path: pathlib.Path, context: int, horizon: int, size: int):
        expected = "the public test array: uint8 (20, 10000, 64, 64), time first"
        if not path.exists():
            raise FileNotFoundError(
                f"There is no file {path}. Expected {expected}, published as mnist_test_seq.npy at "
                "http://www.cs.toronto.edu/~nitish/unsupervised_video/"
            )
        try:
            array = np.load(path, mmap_mode="r")
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"{path} is not a readable .npy file ({error}). Expected {expected}.") from error
        if not isinstance(array, np.ndarray) or array.ndim != 4 or array.dtype != np.uint8:
            found = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ValueError(f"{path} holds {found}. Expected {expected}.")
        time, self.count, height, width = array.shape
        if time > self.count:
            raise ValueError(f"{path} has shape {array.shape}, as if its first axis was not time. Expected {expected}.")
        if (height, width) != (size, size):
            raise ValueError(f"{path} holds frames of {height}x{width}. Received: size={size}")
        if context + horizon > time:
            raise ValueError(
                f"{path} has sequences of {time} frames. Received: context={context} and horizon={horizon}, "
                f"{context + horizon} together."
            )
        self.context, self.array = context, array[: context + horizon]

    def __call__(self, number: np.ndarray) -> Pair:
        return scaled(self.array[:, number].swapaxes(0, 1)[..., None], self.context)


def _load_digits(digits, split: str) -> np.ndarray:
    """uint8 images `(count, side, side)`, 0 to 255."""
    if not isinstance(digits, str):
        # A list may be nested numbers; only a tuple is a pair.
        is_pair = isinstance(digits, tuple) and len(digits) == 2
        images = np.asarray(digits[SPLITS.index(split)] if is_pair else digits)
        if images.ndim != 3 or images.shape[1] != images.shape[2] or not len(images) or images.dtype != np.uint8:
            raise ValueError(
                "An array of digits must have shape (count, side, side) and dtype uint8, 0 black and 255 white. "
                f"Received: shape={images.shape}, dtype={images.dtype}"
            )
        return images
    if digits == "mnist-5k":
        return mnist_5k(split)[0]
    if digits == "mnist":
        try:
            training, test = keras.datasets.mnist.load_data()
        except Exception as error:  # Keras raises a bare Exception where there is no network.
            raise ConnectionError(
                f"MNIST could not be downloaded ({error}). Without network, use digits='mnist-5k', which comes with "
                "this package, or put mnist.npz into ~/.keras/datasets yourself."
            ) from error
        return (training if split == "train" else test)[0]
    raise ValueError(
        f"`digits` must be 'mnist', 'mnist-5k', an array of images, or a pair of arrays. Received: digits={digits!r}"
    )


def _resize(images: np.ndarray, side: int) -> np.ndarray:
    """Bilinear with antialiasing, to the bit as `tf.image.resize`: what networks were trained on stays as it was."""
    if images.shape[1] == side:
        return images
    weights = _triangles(images.shape[1], side)
    rows = np.zeros((len(images), side, images.shape[2]), "float32")
    resized = np.zeros((len(images), side, side), "float32")
    # One term after the other: a matrix product adds in another order, and so rounds some halves otherwise.
    for i in range(images.shape[1]):
        rows += weights[:, i, None] * images[:, i, None, :]
    for i in range(images.shape[2]):
        resized += weights[:, i] * rows[:, :, i, None]
    return np.clip(resized.round(), 0, 255).astype("uint8")


def _triangles(length: int, resized: int) -> np.ndarray:
    """Bilinear interpolation along an axis as a matrix: a triangle a pixel, as wide as two of the larger pixels."""
    one, half = np.float32(1), np.float32(0.5)
    scale = one / (np.float32(resized) / np.float32(length))
    centres = (np.arange(resized, dtype="float32")[:, None] + half) * scale
    distances = np.abs(np.arange(length, dtype="float32") + half - centres) * (one / max(scale, one))
    weights = np.maximum(one - distances, 0)
    return weights * (one / np.add.accumulate(weights, axis=1)[:, -1:])
