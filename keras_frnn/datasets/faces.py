"""The two faces of a dataset: `tf.data.Dataset` and `keras.utils.PyDataset`.

Behind them is one function in NumPy, from the positions of sequences to their frames. Batch b is that function of the
b-th run of positions, and of nothing else.
"""

import concurrent.futures
import operator
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import keras
import numpy as np

from keras_frnn.optional import tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

Dataset: TypeAlias = "tf.data.Dataset | keras.utils.PyDataset"
Pair: TypeAlias = tuple[np.ndarray, np.ndarray]

FORMATS = ("tf", "keras")
_ENDLESS = np.iinfo("int64").max
_AHEAD, _THREADS = 4, 2


def positions(first: int, stop: int | None, num_shards: int = 1, shard_index: int = 0) -> range:
    """The positions from `first` to before `stop` of one of several workers; without a `stop`, there is no end.

    Raises:
        ValueError: there is no position, or one that int64 does not hold.
    """
    if (last := first + num_shards if stop is None else max(first, stop)) >= _ENDLESS:
        raise ValueError(
            f"Sequences have numbers below {_ENDLESS:,}. Received: `start`, `sequences` and `num_shards` that lead to "
            f"{last:,}."
        )
    stop = _ENDLESS if stop is None else stop
    return range(min(first + shard_index, stop), stop, num_shards)


def dataset(
    make: Callable[[np.ndarray], Pair],
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
    positions: range,
    batch_size: int,
    format: str | None,
) -> Dataset:
    """Batches of sequences, as `format` says.

    Args:
        make: from int64 positions `(batch,)` to float32 context and future frames. Called in several threads at once.
        shapes: of context and future frames, without the batch axis.
        positions: of the sequences, by `positions`.
        batch_size: sequences a batch; the last batch of a dataset that ends may have fewer.
        format: `"tf"`, `"keras"`, or None for `"tf"` where TensorFlow is the backend and else `"keras"`.

    Raises:
        ValueError: another format.
        ImportError: `"tf"`, and TensorFlow is not installed.
    """
    if format is None:
        # Loading TensorFlow beside another backend takes seconds, in which it writes of what it did not find.
        format = "tf" if keras.backend.backend() == "tensorflow" else "keras"
    if format not in FORMATS:
        raise ValueError(f"`format` must be 'tf', 'keras' or None. Received: format={format!r}")
    batches = VideoBatches(make, positions, batch_size)
    return batches if format == "keras" else _tf_dataset(batches, shapes)


class VideoBatches(keras.utils.PyDataset):
    """Batches of `(context, future)` as arrays. `dataset[b]` is batch b, the same at every time.

    Where batches are asked for one after the other, as by `fit` and `for`, threads make the next ones meanwhile. It can
    be pickled and read in several processes, such as those of a `torch.utils.data.DataLoader`.

    Attributes:
        make: the function behind it, from positions of sequences to their frames.
        num_batches: None where there is no end; then `fit` needs `steps_per_epoch`.

    Raises:
        IndexError: from `dataset[b]`, there is no such batch.
        TypeError: from `len(dataset)`, there is no end.
    """

    # Keras' own `workers` stay at 1. They lose the first batch of a dataset without end: `fit` builds loss and metrics
    # on it, starts again, and they go on with the second.

    def __init__(self, make: Callable[[np.ndarray], Pair], positions: range, batch_size: int):
        super().__init__()
        self.make, self._positions, self._batch_size = make, positions, batch_size
        self._ahead: dict[int, _ReadAhead] = {}

    @property
    def num_batches(self) -> int | None:
        return None if self._positions.stop == _ENDLESS else len(self)

    @property
    def batch_size(self) -> int:
        """Sequences a batch; the last one of a dataset that ends may have fewer."""
        return self._batch_size

    def __len__(self) -> int:
        if self._positions.stop == _ENDLESS:
            raise TypeError("This dataset has no end, and so no length. Pass `steps_per_epoch` to `fit`.")
        return self._count

    @property
    def _count(self) -> int:
        """How many batches there are; where there is no end, those whose positions int64 holds."""
        whole, rest = divmod(len(self._positions), self._batch_size)
        return whole + (rest > 0 and self._positions.stop != _ENDLESS)

    def __bool__(self) -> bool:
        return True  # Not by the length, which there may be none of.

    def __iter__(self):
        number = 0
        while self.num_batches is None or number < self.num_batches:
            yield self[number]
            number += 1

    def __getitem__(self, number: int) -> Pair:
        number = operator.index(number)
        if not 0 <= number < self._count:
            is_endless = self.num_batches is None
            count = "endlessly many" if is_endless else self._count
            numbers = f", with numbers up to {self._count - 1:,}" if is_endless else ""
            raise IndexError(f"There is no batch {number}: the dataset has {count}, from 0 on{numbers}.")
        # Threads do not cross a fork.
        process = os.getpid()
        if process not in self._ahead:
            self._ahead = {process: _ReadAhead(self.batch, self._count)}
        return self._ahead[process](number)

    def __getstate__(self):
        return {**self.__dict__, "_ahead": {}}

    def batch(self, number: int) -> Pair:
        """Batch `number`, made here and now."""
        first = int(number) * self._batch_size
        run = self._positions[first : first + self._batch_size]
        return self.make(np.arange(run.start, run.stop, run.step, dtype="int64"))


class _ReadAhead:
    """Batches by their numbers; once two came in a row, threads make the ones that follow."""

    def __init__(self, make: Callable[[int], Pair], count: int):
        self._make, self._count = make, count
        self._lock, self._last = threading.Lock(), -2
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS)  # Starts no thread before there is work.
        self._made: dict[int, concurrent.futures.Future] = {}

    def __call__(self, number: int) -> Pair:
        with self._lock:
            in_a_row, self._last = number == self._last + 1, number
            this = self._made.pop(number, None)
            following = range(number + 1, min(number + 1 + _AHEAD, self._count)) if in_a_row else ()
            for other in set(self._made) - set(following):
                self._made.pop(other).cancel()
            for other in following:
                if other not in self._made:
                    self._made[other] = self._pool.submit(self._make, other)
        return self._make(number) if this is None else this.result()


def scaled(frames: np.ndarray, context: int, value_range: tuple[float, float] = (0, 255)) -> Pair:
    """Frames `(batch, time, ...)` of any range as float32 in [-1, 1]: the first `context` of them, and the others."""
    black, white = value_range

    def part(frames):
        frames = frames.astype("float32")
        frames /= (white - black) / 2
        frames -= (white + black) / (white - black)
        return frames

    return part(frames[:, :context]), part(frames[:, context:])


def _tf_dataset(batches: VideoBatches, shapes) -> "tf.data.Dataset":
    tf = tensorflow("format='tf'", "format='keras' is the same as a `keras.utils.PyDataset`.")
    num_batches = batches.num_batches
    batch_size = batches.batch_size if num_batches is None else None

    def batch(number):
        parts = tf.numpy_function(batches.batch, [number], [tf.float32, tf.float32], stateful=False)
        return tuple(tf.ensure_shape(part, (batch_size, *shape)) for part, shape in zip(parts, shapes, strict=True))

    numbers = tf.data.Dataset.range(_ENDLESS if num_batches is None else num_batches)
    return numbers.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
