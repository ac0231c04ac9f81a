"""Moving MNIST: handwritten digits that drift over a black square and bounce off its sides."""

import pathlib

import keras
import numpy as np
import tensorflow as tf

from keras_frnn.checks import check_integer, check_positive_integer, check_positive_integers_by_name
from keras_frnn.datasets.mnist_5k import mnist_5k
from keras_frnn.datasets.stateless import mix, uniform
from keras_frnn.datasets.windows import SPLITS, check_split

_TEST_SEQUENCES = 10_000


def moving_mnist(
    split: str,
    digits: str | np.ndarray = "mnist",
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
    path: str | pathlib.Path | None = None,
) -> tf.data.Dataset:
    """Sequences of moving handwritten digits, generated on the fly.

    Every digit starts at a uniformly drawn place, moves on a line in a uniformly drawn direction, and bounces off the
    sides; digits are combined by maximum. Sequence n is a pure function of the seed, the split and n: the same in every
    run, for every batch size, on any number of workers.

    Args:
        split: `"train"` or `"test"`; they use different digits and different motion.
        digits: `"mnist"` (70,000, downloaded by Keras), `"mnist-5k"` (5,000 of them, inside this package), or an array
            of one's own, `(count, side, side)` in uint8, used for both splits.
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
        start: number of the first sequence; `start=k * batch_size` goes on after k batches.
        path: for `split="test"` and `digits="mnist"`: the public test array `mnist_test_seq.npy`, uint8
            `(20, 10000, 64, 64)`, time first. It is read instead of generating.

    Returns:
        tf.data.Dataset of `(context, future)`: float32 `(batch, context, size, size, 1)` and
        `(batch, horizon, size, size, 1)` in [-1, 1], black is -1.

    Raises:
        ValueError: an argument that is out of its range or no integer, or an array or file that is not as described.
        FileNotFoundError: there is nothing at `path`.
        ConnectionError: MNIST could not be downloaded.

    Reference: Srivastava et al., "Unsupervised Learning of Video Representations using LSTMs", ICML 2015.
    """
    check_split(split)
    batch_size, context, horizon, size, num_digits = check_positive_integers_by_name(
        batch_size=batch_size, context=context, horizon=horizon, size=size, num_digits=num_digits
    )
    if sequences is not None:
        sequences = check_positive_integer(sequences, "sequences")
    seed, start = check_integer(seed, "seed"), check_integer(start, "start", 0)
    if not 0 < speed <= 1:
        raise ValueError(f"`speed` is a fraction of the free range and must be in (0, 1]. Received: speed={speed!r}")
    if path is not None:
        if split != "test" or not (isinstance(digits, str) and digits == "mnist"):
            raise ValueError(
                "`path` is for the public test sequences: split='test' with digits='mnist'. "
                f"Received: split={split!r}, digits={digits!r}, path={str(path)!r}"
            )
        return _public_test_sequences(pathlib.Path(path), batch_size, context, horizon, size, sequences, start)

    images = _load_digits(digits, split)
    if digit_size is None:
        digit_size = round(size * 28 / 64) if isinstance(digits, str) else images.shape[1]
    digit_size = check_positive_integer(digit_size, "digit_size")
    if digit_size > size:
        raise ValueError(f"Digits of {digit_size} pixels do not fit frames of {size}. Pass a smaller `digit_size`.")
    if sequences is None and split == "test":
        sequences = _TEST_SEQUENCES
    # Row and column `digit_size` of the canvas are black: where a pixel of the frame lies outside the digit, it looks
    # there. So a frame is one gather, for all sequences, digits and times at once.
    canvas = np.pad(_resize(images, digit_size), ((0, 0), (0, 1), (0, 1))).reshape(len(images), -1)
    canvas = tf.constant(canvas)
    key = mix(seed) ^ mix(SPLITS.index(split))
    total = context + horizon

    def generate(index):
        digit, y, x = _trajectories(key, index, num_digits, len(images), total, speed)
        rows, columns = (_offsets(position, size, digit_size) for position in (y, x))
        pixels = rows[..., :, None] * (digit_size + 1) + columns[..., None, :]
        shape = tf.shape(pixels)
        flat = tf.reshape(pixels, (shape[0], num_digits, -1))
        frames = tf.gather(tf.gather(canvas, digit), flat, batch_dims=2)
        frames = tf.reduce_max(tf.reshape(frames, (-1, num_digits, total, size, size, 1)), axis=1)
        return _split(frames, context)

    index = tf.data.Dataset.range(start, np.iinfo("int64").max if sequences is None else start + sequences)
    dataset = index.batch(batch_size, drop_remainder=sequences is None)
    return dataset.map(generate, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def _split(frames, context: int):
    frames = tf.cast(frames, "float32") / 127.5 - 1
    return frames[:, :context], frames[:, context:]


def _trajectories(key: int, index, num_digits: int, count: int, steps: int, speed: float):
    """Digit numbers `(batch, digits)` and positions as fractions of the free range, `(batch, digits, steps)`."""
    u = uniform(key, index, num_digits * 4)
    u = tf.reshape(u, (-1, num_digits, 4))
    digit = tf.cast(u[..., 0] * count, "int32")
    position, angle = u[..., 1:3], 2 * np.pi * u[..., 3]
    velocity = speed * tf.stack([tf.sin(angle), tf.cos(angle)], axis=-1)
    positions = [position]
    for _ in range(steps - 1):
        # At a side a digit stops for this frame and turns, as in the code that made the public test sequences.
        position = tf.clip_by_value(position + velocity, 0, 1)
        velocity = tf.where((position <= 0) | (position >= 1), -velocity, velocity)
        positions.append(position)
    y, x = tf.unstack(tf.stack(positions, axis=2), axis=-1)
    return digit, y, x


def _offsets(position, size: int, digit_size: int):
    """For each pixel along one axis of the frame, the pixel of the digit it shows; `digit_size` where it shows none."""
    corner = tf.cast(position * (size - digit_size), "int32")
    offset = tf.range(size) - corner[..., None]
    return tf.where((offset >= 0) & (offset < digit_size), offset, digit_size)


def _load_digits(digits: str | np.ndarray, split: str) -> np.ndarray:
    """uint8 images `(count, side, side)`, 0 to 255."""
    if not isinstance(digits, str):
        images = np.asarray(digits)
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
    raise ValueError(f"`digits` must be 'mnist', 'mnist-5k' or an array of images. Received: digits={digits!r}")


def _resize(images: np.ndarray, side: int) -> np.ndarray:
    if images.shape[1] == side:
        return images
    resized = tf.image.resize(images[..., None], (side, side), method="bilinear", antialias=True)
    return np.clip(resized.numpy()[..., 0].round(), 0, 255).astype("uint8")


def _public_test_sequences(path, batch_size, context, horizon, size, sequences, start) -> tf.data.Dataset:
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
    time, count, height, width = array.shape
    if time > count:
        raise ValueError(f"{path} has shape {array.shape}, as if its first axis was not time. Expected {expected}.")
    if (height, width) != (size, size):
        raise ValueError(f"{path} holds frames of {height}x{width}. Received: size={size}")
    if context + horizon > time:
        raise ValueError(
            f"{path} has sequences of {time} frames. Received: context={context} and horizon={horizon}, "
            f"{context + horizon} together."
        )
    stop = count if sequences is None else start + sequences
    if start >= count or stop > count:
        raise ValueError(f"{path} has {count} sequences. Received: start={start}, sequences={sequences}")

    def batches():
        for first in range(start, stop, batch_size):
            yield array[: context + horizon, first : min(first + batch_size, stop)].swapaxes(0, 1)[..., None]

    signature = tf.TensorSpec((None, context + horizon, size, size, 1), "uint8")
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(-(-(stop - start) // batch_size)))
    return dataset.map(lambda frames: _split(frames, context)).prefetch(tf.data.AUTOTUNE)
