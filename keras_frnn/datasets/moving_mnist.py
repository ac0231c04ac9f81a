"""Moving MNIST: handwritten digits that move over a black square and bounce off its sides."""

import pathlib

import keras
import numpy as np

from keras_frnn.checks import check_positive_integer
from keras_frnn.datasets.formats import Dataset, Order, Pair, scaled
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

    Every digit starts at a random place, moves in a straight line in a random direction, and bounces off the sides;
    digits are combined by maximum. Sequence n is a pure function of the seed, the split and n: it is the same in every
    run, for every batch size, and for any number of workers.

    Args:
        split: `"train"` or `"test"`. Their motion differs for all seeds; with the named digits, their images differ
            too.
        digits: `"mnist"` (70,000, downloaded by Keras), `"mnist-5k"` (5,000 of them, included in this package), or your
            own images, uint8 `(count, side, side)`: a pair of arrays, `(training, test)`, or a single array. **Both
            splits share the images of a single array: a network is then tested on images that it was trained on.**
        batch_size: sequences per batch.
        context: number of given frames.
        horizon: number of frames to predict.
        size: side of the square frames in pixels.
        num_digits: digits per sequence.
        digit_size: side in pixels to which digits are resized. By default, named digits get 28/64 of `size`, so MNIST
            keeps its size in frames of 64, and your own keep theirs.
        speed: distance moved per frame, as a fraction of the free range `size - digit_size`.
        seed: any integer.
        sequences: number of sequences; by default endless for training, 10,000 for testing.
        start: number of the first sequence; `start=k * batch_size` continues after k batches. With `num_shards`, the
            number of sequences that each worker skips.
        num_shards: number of workers that share the sequences. Together they see the same sequences as one worker with
            a batch of `num_shards * batch_size`.
        shard_index: number of this worker, 0 to `num_shards - 1`.
        format: as in `video_folder`.
        path: for `split="test"` and `digits="mnist"`: the public test array `mnist_test_seq.npy`, uint8
            `(20, 10000, 64, 64)`, time first. Its sequences replace the generated ones.

    Returns:
        Dataset of `(context, future)` in the requested format: float32 `(batch, context, size, size, 1)` and
        `(batch, horizon, size, size, 1)` in [-1, 1]; black is -1.

    Raises:
        ValueError: an argument is out of range or not an integer, or an array or file is not as described.
        FileNotFoundError: there is no file at `path`.
        ConnectionError: MNIST could not be downloaded.
        ImportError: `format="tf"` and TensorFlow is not installed.

    Reference: Srivastava et al., "Unsupervised Learning of Video Representations using LSTMs", ICML 2015.
    """
    check_split(split)
    order = Order(
        batch_size=batch_size,
        context=context,
        horizon=horizon,
        seed=seed,
        sequences=sequences,
        start=start,
        num_shards=num_shards,
        shard_index=shard_index,
        format=format,
    )
    size, num_digits = check_positive_integer(size, "size"), check_positive_integer(num_digits, "num_digits")
    if not 0 < speed <= 1:
        raise ValueError(f"`speed` is a fraction of the free range and must be in (0, 1]. Received: speed={speed!r}")
    context, horizon = order.context, order.horizon
    stop = None if order.sequences is None else order.first + order.sequences
    make: _PublicTestSequences | MovingDigits
    if path is not None:
        if split != "test" or not (isinstance(digits, str) and digits == "mnist"):
            raise ValueError(
                "`path` is for the public test sequences: split='test' with digits='mnist'. "
                f"Received: split={split!r}, digits={digits!r}, path={str(path)!r}"
            )
        make = _PublicTestSequences(pathlib.Path(path), context, horizon, size)
        stop = make.count if stop is None else stop
        if order.first >= make.count or stop > make.count:
            raise ValueError(f"{path} has {make.count} sequences. Received: start={start}, sequences={sequences}")
    else:
        images = _load_digits(digits, split)
        if digit_size is None:
            digit_size = round(size * 28 / 64) if isinstance(digits, str) else images.shape[1]
        digit_size = check_positive_integer(digit_size, "digit_size")
        if digit_size > size:
            raise ValueError(f"Digits of {digit_size} pixels do not fit frames of {size}. Pass a smaller `digit_size`.")
        make = MovingDigits(
            _resize(images, digit_size), motion_key(split, order.seed), context, horizon, size, num_digits, speed
        )
        if stop is None and split == "test":
            stop = order.first + _TEST_SEQUENCES
    return order.dataset(make, (size, size, 1), stop)


def moved(position: np.ndarray, velocity: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and velocity in the next frame, both as fractions of the free range."""
    # At a side, a digit stops for one frame and turns, as in the code that made the public test sequences.
    position = np.clip(position + velocity, 0, 1)
    return position, np.where((position <= 0) | (position >= 1), -velocity, velocity)


def draw(frame: np.ndarray, digit: np.ndarray, corner):
    """Draws a digit into a frame with its first pixel at `corner` (row, column); brighter pixels cover darker ones."""
    (y, x), side = corner, len(digit)
    part = frame[y : y + side, x : x + side]
    np.maximum(part, digit, out=part)


class MovingDigits:
    """Sequences by number.

    Args:
        digits: uint8 `(count, side, side)`.
        key: key of the random numbers.
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
        """Rows and columns moved per frame, in fractions of the free range; directions are fractions of a full turn."""
        angle = 2 * np.pi * turn
        return self.speed * np.stack([np.sin(angle), np.cos(angle)], axis=-1)

    def corners(self, places: np.ndarray) -> np.ndarray:
        """Row and column of a digit's first pixel."""
        return (places * (self.size - self.digits.shape[1])).astype("int64")

    def trajectories(self, number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Digits `(batch, digits)`; rows and columns in fractions of the free range, `(batch, digits, steps, 2)`."""
        u = uniform(self.key, number, self.num_digits * 4).reshape(-1, self.num_digits, 4)
        position, velocity = u[..., 1:3], self.velocity(u[..., 3])
        positions = [position]
        for _ in range(self.steps - 1):
            position, velocity = moved(position, velocity)
            positions.append(position)
        return (u[..., 0] * len(self.digits)).astype("int64"), np.stack(positions, axis=2)


class _PublicTestSequences:
    """The published test sequences, by number.

    Attributes:
        count: number of sequences.
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
            raise ValueError(f"{path} has shape {array.shape}: its first axis is not time. Expected {expected}.")
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
        # A list may hold nested numbers, so only a tuple is a pair.
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
        except Exception as error:  # Without a network, Keras raises a bare Exception.
            raise ConnectionError(
                f"MNIST could not be downloaded ({error}). Without a network, use digits='mnist-5k', which is included "
                "in this package, or put mnist.npz into ~/.keras/datasets yourself."
            ) from error
        return (training if split == "train" else test)[0]
    raise ValueError(
        f"`digits` must be 'mnist', 'mnist-5k', an array of images, or a pair of arrays. Received: digits={digits!r}"
    )


def _resize(images: np.ndarray, side: int) -> np.ndarray:
    """Antialiased bilinear resizing, bit for bit that of `tf.image.resize`, so that training data never changes."""
    if images.shape[1] == side:
        return images
    weights = _triangles(images.shape[1], side)
    rows = np.zeros((len(images), side, images.shape[2]), "float32")
    resized = np.zeros((len(images), side, side), "float32")
    # Term by term: a matrix product adds in another order and rounds some halves differently.
    for i in range(images.shape[1]):
        rows += weights[:, i, None] * images[:, i, None, :]
    for i in range(images.shape[2]):
        resized += weights[:, i] * rows[:, :, i, None]
    return np.clip(resized.round(), 0, 255).astype("uint8")


def _triangles(length: int, resized: int) -> np.ndarray:
    """Bilinear interpolation along an axis as a matrix: one triangle per pixel, as wide as two of the larger pixels."""
    one, half = np.float32(1), np.float32(0.5)
    scale = one / (np.float32(resized) / np.float32(length))
    centers = (np.arange(resized, dtype="float32")[:, None] + half) * scale
    distances = np.abs(np.arange(length, dtype="float32") + half - centers) * (one / max(scale, one))
    weights = np.maximum(one - distances, 0)
    return weights * (one / np.add.accumulate(weights, axis=1)[:, -1:])
