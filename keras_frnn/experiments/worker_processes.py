"""Training batches from several processes: in one, Python's lock leaves most of a GPU's machine idle."""

import concurrent.futures
import contextlib
import multiprocessing
import signal
from collections.abc import Iterator

import keras
import numpy as np

from keras_frnn.datasets.formats import Pair, VideoBatches, scaled

_batches: VideoBatches  # Of a worker process.
_AHEAD = 2  # Batches per process that are being made or wait.


class WorkerProcesses(keras.utils.PyDataset):
    """The batches of an endless dataset whose frames have 256 levels, made by other processes ahead of time.

    Args:
        batches: the dataset.
        count: number of processes. Each of them loads Keras first.
    """

    def __init__(self, batches: VideoBatches, count: int):
        super().__init__()
        context = multiprocessing.get_context("spawn")  # A fork of a process with threads may hang.
        self._pool = concurrent.futures.ProcessPoolExecutor(count, context, _start, (batches,))
        self._count = count
        self._made: dict[int, concurrent.futures.Future] = {}

    num_batches = None

    def __getitem__(self, number: int) -> Pair:
        following = range(number, number + _AHEAD * self._count)
        for other in set(self._made) - set(following):
            self._made.pop(other).cancel()
        for other in following:
            if other not in self._made:
                self._made[other] = self._pool.submit(_levels, other)
        context, future = self._made.pop(number).result()
        return scaled(np.concatenate([context, future], axis=1), context.shape[1])

    def close(self):
        self._pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def in_processes(data, count: int | None) -> Iterator:
    """The same dataset, read in several processes until the end of the block, if `count` is given."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(contextlib.closing(WorkerProcesses(data, count))) if count else data


def _start(batches: VideoBatches):
    global _batches
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches all processes; the first one ends them.
    _batches = batches


def _levels(number: int) -> tuple[np.ndarray, ...]:
    """A batch as bytes, a quarter of the size."""
    return tuple(np.rint((frames + 1) * 127.5).astype("uint8") for frames in _batches.batch(number))
