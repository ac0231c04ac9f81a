"""Videos in an HDF5 file: one uint8 dataset `(frames, height, width[, channels])` a video."""

import json
import os
import pathlib

import h5py
import numpy as np
import tensorflow as tf

from keras_frnn.datasets.windows import check_split

_READERS = ("h5py", "tfio")


class VideoStore:
    """The videos of a file, for `window_dataset`. Every process reads through a handle of its own.

    Args:
        path: the HDF5 file.
        reader: `"h5py"` or `"tfio"`.

    Raises:
        ValueError: the file is not as described above, or holds fewer videos than were stored.
        ImportError: tensorflow-io is to read, and does not work here.
    """

    value_range = (0, 255)
    dtype = np.dtype("uint8")

    def __init__(self, path: pathlib.Path, reader: str = "h5py"):
        if reader not in _READERS:
            raise ValueError(f"`reader` must be one of {_READERS}. Received: reader={reader!r}")
        self.path, self.name, self._open = path, str(path), {}
        try:
            with h5py.File(path) as file:
                self.attributes = dict(file.attrs)
                datasets = list(file.items())
                for key, dataset in datasets:
                    if not isinstance(dataset, h5py.Dataset) or dataset.dtype != np.uint8 or dataset.ndim not in (3, 4):
                        found = f"{dataset.dtype} {dataset.shape}" if isinstance(dataset, h5py.Dataset) else "a group"
                        raise ValueError(
                            f"{path}: {key!r} is {found}. Expected a uint8 dataset (frames, height, width) or (frames, "
                            "height, width, channels)."
                        )
                self.keys = [key for key, _ in datasets]
                self.lengths = np.array([len(dataset) for _, dataset in datasets], "int64")
                shapes = {(*dataset.shape[1:], 1)[:3]: key for key, dataset in datasets}
        except OSError as error:
            raise ValueError(f"{path} is not a readable HDF5 file ({error}). Prepare it again.") from error
        if not self.keys:
            raise ValueError(f"{path} holds no video: the source had none for this split.")
        found = (len(self.keys), int(self.lengths.sum()))
        expected = tuple(
            int(self.attributes.get(name, value)) for name, value in zip(("videos", "frames"), found, strict=True)
        )
        if found != expected:
            raise ValueError(
                f"{path} holds {found[0]} videos and {found[1]} frames. Expected, when it was written: {expected[0]} "
                f"and {expected[1]}. Prepare it again."
            )
        if len(shapes) > 1:
            examples = ", ".join(f"{key!r} {shape}" for shape, key in list(shapes.items())[:3])
            raise ValueError(
                f"{path} holds videos of several frame sizes: {examples}. Prepare it again, with one size."
            )
        (self.frame_shape,) = shapes
        self._make = _h5py_videos if reader == "h5py" else _tfio_videos()

    @property
    def protocol(self) -> str | None:
        """What the videos were split for; None if the file does not tell."""
        if "format" not in self.attributes:
            return None
        return json.loads(self.attributes["format"])["protocol"].split(",")[0]

    def read(self, video: int, frames: slice, rows: slice, columns: slice, out: np.ndarray):
        # A handle that crosses a fork reads garbage.
        process = os.getpid()
        if process not in self._open:
            self._open[process] = self._make(self)
        self._open[process](video, frames, rows, columns, out)


def _h5py_videos(store: VideoStore):
    file = h5py.File(store.path)
    datasets = [None] * len(store.keys)

    def read(video, frames, rows, columns, out):
        dataset = datasets[video]
        if dataset is None:
            dataset = datasets[video] = file[store.keys[video]]
        dataset.read_direct(out if dataset.ndim == 4 else out[..., 0], (frames, rows, columns))

    return read


def _tfio_videos():
    try:
        if not tf.__version__.startswith("2.16."):
            raise ImportError(f"TensorFlow is {tf.__version__}")
        import tensorflow_io
    except ImportError as error:
        raise ImportError(
            "reader='tfio' needs tensorflow-io 0.37.1 with TensorFlow 2.16, which `pip install keras-frnn[tfio]` puts "
            f"into a new environment ({error}). reader='h5py' reads the same files."
        ) from error

    def make(store):
        file = tensorflow_io.IOTensor.from_hdf5(str(store.path))
        datasets = [None] * len(store.keys)

        def read(video, frames, rows, columns, out):
            if datasets[video] is None:
                datasets[video] = file(f"/{store.keys[video]}")
            block = datasets[video][frames.start : frames.stop].numpy().reshape(-1, *store.frame_shape)
            out[...] = block[:: frames.step, rows, columns]

        return read

    return make


def open_store(path: str | os.PathLike, split: str, reader: str, prefix: str | None = None) -> VideoStore:
    """The store at a path, or in a folder, where the authors' scripts put the name of the dataset before the split."""
    check_split(split)
    path = pathlib.Path(path)
    names = [f"{split}.hdf5"] + ([f"{prefix}_{split}.hdf5"] if prefix else [])
    candidates = [path / name for name in names] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return VideoStore(candidate, reader)
    command = {"kth": "prepare_kth", "ucf101": "prepare_ucf101"}.get(prefix, "prepare_videos")
    raise FileNotFoundError(
        f"There is no file {' or '.join(map(str, candidates))}. Prepared videos are made by "
        f"keras_frnn.datasets.{command}(source, {str(path)!r})."
    )
