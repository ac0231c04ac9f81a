"""The two formats of a dataset: `tf.data.Dataset` and `keras.utils.PyDataset`.

Both call the same NumPy function, which turns the positions of sequences into their frames. Batch b depends only on the
b-th run of positions.
"""

import concurrent.futures
import dataclasses
import operator
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import keras
import numpy as np

from keras_frnn.checks import check_integer, check_positive_integer, check_positive_integers_by_name
from keras_frnn.optional import tensorflow

if TYPE_CHECKING:
    import tensorflow as tf

Dataset: TypeAlias = "tf.data.Dataset | keras.utils.PyDataset"
Pair: TypeAlias = tuple[np.ndarray, np.ndarray]

FORMATS = ("tf", "keras")
_ENDLESS = np.iinfo("int64").max
_AHEAD, _THREADS = 4, 2


@dataclasses.dataclass(kw_only=True)
class Order:
    """The arguments that all datasets share: how many sequences they yield, in which order and in which batches.

    See `video_folder` for each of them.

    Raises:
        ValueError: an argument is out of range or not an integer.
    """

    batch_size: int = 12
    context: int = 10
    horizon: int = 10
    seed: int = 0
    sequences: int | None = None
    start: int = 0
    num_shards: int = 1
    shard_index: int = 0
    format: str | None = None

    def __post_init__(self):
        self.batch_size, self.context, self.horizon, self.num_shards = check_positive_integers_by_name(
            batch_size=self.batch_size, context=self.context, horizon=self.horizon, num_shards=self.num_shards
        )
        if self.sequences is not None:
            self.sequences = check_positive_integer(self.sequences, "sequences")
        self.seed, self.start = check_integer(self.seed, "seed"), check_integer(self.start, "start", 0)
        self.shard_index = check_integer(self.shard_index, "shard_index", 0, self.num_shards - 1)

    @property
    def first(self) -> int:
        """The position at which the workers start together."""
        return self.start * self.num_shards

    def dataset(
        self,
        make: Callable[[np.ndarray], Pair],
        frame_shape: tuple[int, ...],
        stop: int | None,
        shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None,
    ) -> Dataset:
        """Batches of the sequences of this worker, in the requested format.

        Args:
            make: turns int64 positions `(batch,)` into float32 context and future frames. Several threads call it at
                once.
            frame_shape: `(height, width, channels)`.
            stop: position after the last sequence of all workers; None for an endless dataset.
            shapes: of the two arrays that `make` returns for a position, if they are not context and future.

        Raises:
            ValueError: the format is unknown, or positions do not fit into int64.
            ImportError: the format is `"tf"` and TensorFlow is not installed.
        """
        format = self.format
        if format is None:
            # Loading TensorFlow beside another backend takes seconds and prints messages about missing GPUs.
            format = "tf" if keras.backend.backend() == "tensorflow" else "keras"
        if format not in FORMATS:
            raise ValueError(f"`format` must be 'tf', 'keras' or None. Received: format={format!r}")
        batches = VideoBatches(make, self._positions(stop), self.batch_size)
        shapes = shapes or ((self.context, *frame_shape), (self.horizon, *frame_shape))
        return batches if format == "keras" else _tf_dataset(batches, shapes)

    def _positions(self, stop: int | None) -> range:
        if (last := self.first + self.num_shards if stop is None else max(self.first, stop)) >= _ENDLESS:
            raise ValueError(
                f"Sequence numbers must be below {_ENDLESS:,}. Received: `start`, `sequences` and `num_shards` that "
                f"lead to {last:,}."
            )
        stop = _ENDLESS if stop is None else stop
        return range(min(self.first + self.shard_index, stop), stop, self.num_shards)


class VideoBatches(keras.utils.PyDataset):
    """Batches of `(context, future)` as arrays. `dataset[b]` is batch b and is always the same.

    When batches are requested one after the other, as `fit` and `for` do, threads prepare the next ones in the
    meantime. The dataset can be pickled and read in several processes, such as those of a
    `torch.utils.data.DataLoader`.

    Attributes:
        make: the function that turns positions of sequences into their frames.
        num_batches: None for an endless dataset; `fit` then needs `steps_per_epoch`.

    Raises:
        IndexError: from `dataset[b]`: there is no such batch.
        TypeError: from `len(dataset)`: the dataset is endless.
    """

    # Keras' own `workers` stay at 1: more would lose the first batch of an endless dataset. `fit` builds the loss and
    # metrics with it and then starts again, but the workers continue with the second.

    def __init__(self, make: Callable[[np.ndarray], Pair], positions: range, batch_size: int):
        super().__init__()
        self.make, self._positions, self._batch_size = make, positions, batch_size
        self._ahead: dict[int, _ReadAhead] = {}

    @property
    def num_batches(self) -> int | None:
        return None if self._positions.stop == _ENDLESS else len(self)

    @property
    def batch_size(self) -> int:
        """Sequences per batch; the last batch of a finite dataset may have fewer."""
        return self._batch_size

    def __len__(self) -> int:
        if self._positions.stop == _ENDLESS:
            raise TypeError("This dataset is endless and has no length. Pass `steps_per_epoch` to `fit`.")
        return self._count

    @property
    def _count(self) -> int:
        """Number of batches; for an endless dataset, of those whose positions fit into int64."""
        whole, rest = divmod(len(self._positions), self._batch_size)
        return whole + (rest > 0 and self._positions.stop != _ENDLESS)

    def __bool__(self) -> bool:
        return True  # Python would ask for the length, which an endless dataset does not have.

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
            raise IndexError(f"There is no batch {number}: the dataset has {count}, counted from 0{numbers}.")
        # Threads do not survive a fork.
        process = os.getpid()
        if process not in self._ahead:
            self._ahead = {process: _ReadAhead(self.batch, self._count)}
        return self._ahead[process](number)

    def __getstate__(self):
        return {**self.__dict__, "_ahead": {}}

    def batch(self, number: int) -> Pair:
        """Batch `number`, made in the calling thread."""
        first = int(number) * self._batch_size
        run = self._positions[first : first + self._batch_size]
        return self.make(np.arange(run.start, run.stop, run.step, dtype="int64"))


class _ReadAhead:
    """Batches by number. After two consecutive requests, threads prepare the batches that follow."""

    def __init__(self, make: Callable[[int], Pair], count: int):
        self._make, self._count = make, count
        self._lock, self._last = threading.Lock(), -2
        self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS)  # Threads start with the first work.
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
    """Frames `(batch, time, ...)` scaled to float32 in [-1, 1] and split after the first `context` frames."""
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
