"""Videos in an HDF5 file: one uint8 dataset `(frames, height, width[, channels])` per video."""

import hashlib
import os
import pathlib
from collections.abc import Callable

import h5py
import numpy as np

from keras_frnn.datasets.video_files.store_checks import check_attributes, check_chunks, damage_explained, open_video
from keras_frnn.datasets.windows import check_split
from keras_frnn.optional import tensorflow

_READERS = ("h5py", "tfio")


class VideoStore:
    """The videos of a file, for `window_dataset`. Every process reads through its own handle.

    Args:
        path: the HDF5 file.
        reader: `"h5py"` or `"tfio"`.

    Attributes:
        names: the path of each video in the source; its key if the file does not say.
        protocol: how the videos were split; None if the file does not say.
        format: the settings that the videos were prepared with, such as dataset and frame size; None if the file does
            not say.
        source_videos: number of videos in the source, in both splits together; None if the file does not say.

    Raises:
        ValueError: the file is not as described above, is damaged, holds fewer videos than were stored, refers to other
            files, or claims more bytes than it has (see `store_checks.py`).
        ImportError: the reader is tensorflow-io, which does not work here.
    """

    value_range = (0.0, 255.0)
    dtype = np.dtype("uint8")

    def __init__(self, path: pathlib.Path, reader: str = "h5py"):
        if reader not in _READERS:
            raise ValueError(f"`reader` must be one of {_READERS}. Received: reader={reader!r}")
        self.path, self.name = path, str(path)
        self._open: dict[int, Callable] = {}
        with (
            damage_explained(f"{path} is not a readable HDF5 file ({{error}}). Prepare it again."),
            h5py.File(path) as file,
        ):
            shapes = {key: open_video(file, key).shape for key in file}
            self.names = [str(file[key].attrs.get("source", key)) for key in file]
            lengths = {key: shape[0] for key, shape in shapes.items()}
            stated = check_attributes(file, lengths)
        if not shapes:
            raise ValueError(f"{path} holds no video: the source had none for this split.")
        sizes = {(*shape[1:], 1)[:3]: key for key, shape in shapes.items()}
        if len(sizes) > 1:
            examples = ", ".join(f"{key!r} {size}" for size, key in list(sizes.items())[:3])
            raise ValueError(f"{path} holds videos of several frame sizes: {examples}. Prepare it again with one size.")
        (self.frame_shape,) = sizes
        self.keys, self.shapes = list(shapes), list(shapes.values())
        self.lengths = np.array(list(lengths.values()), "int64")
        self.protocol, self.format = stated.get("protocol"), stated.get("format")
        self.source_videos = stated.get("source_videos")
        self._make = _h5py_videos if reader == "h5py" else _tfio_videos()

    def read(self, video: int, frames: slice, rows: slice, columns: slice, out: np.ndarray):
        """See `Videos`.

        Raises:
            ValueError: the file can no longer be read, or was replaced.
        """
        with damage_explained(
            f"{self.path}: {self.keys[video]!r} cannot be read ({{error}}), but could be when the file was opened. "
            "Restore the file or prepare it again, then restart."
        ):
            # A handle that was opened before a fork reads garbage.
            process = os.getpid()
            if process not in self._open:
                self._open[process] = self._make(self)
            self._open[process](video, frames, rows, columns, out)

    def identity(self) -> dict:
        """A fingerprint of the videos, independent of the path: how they were prepared, their lengths, some frames.

        Raises:
            ValueError: as in `read`.
        """
        digest = hashlib.sha256(self.lengths.tobytes())
        height, width, channels = self.frame_shape
        for video in np.unique(np.linspace(0, len(self.lengths) - 1, 16).astype(int)):
            if self.lengths[video]:
                frame = np.empty((1, height, width, channels), "uint8")
                self.read(int(video), slice(0, 1), slice(0, height), slice(0, width), frame)
                digest.update(frame.tobytes())
        return {
            "format": self.format,
            "source_videos": self.source_videos,
            "videos": len(self.lengths),
            "frames": int(self.lengths.sum()),
            "digest": digest.hexdigest()[:16],
        }

    def __getstate__(self):
        return {**self.__dict__, "_open": {}}


def _h5py_videos(store: VideoStore):
    file = h5py.File(store.path)
    datasets = [None] * len(store.keys)

    def read(video, frames, rows, columns, out):
        dataset = datasets[video]
        if dataset is None:
            # The file may have been replaced.
            dataset = open_video(file, store.keys[video])
            if dataset.shape != store.shapes[video]:
                raise ValueError(f"its shape was {store.shapes[video]} and is now {dataset.shape}")
            check_chunks(store.path, store.keys[video], dataset)
            datasets[video] = dataset
        dataset.read_direct(out if dataset.ndim == 4 else out[..., 0], (frames, rows, columns))

    return read


def _tfio_videos():
    try:
        tf = tensorflow("reader='tfio'", "reader='h5py' reads the same files.")
        if not tf.__version__.startswith("2.16."):
            raise ImportError(f"TensorFlow is {tf.__version__}")
        import tensorflow_io
    except ImportError as error:
        raise ImportError(
            "reader='tfio' needs tensorflow-io 0.37.1 with TensorFlow 2.16; install them with `pip install "
            f"keras-frnn[tfio]` in a new environment ({error}). reader='h5py' reads the same files."
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
    """The store at a path or in a folder. The authors' files have the name of the dataset as a `prefix`."""
    check_split(split)
    path = pathlib.Path(path)
    names = [f"{split}.hdf5"] + ([f"{prefix}_{split}.hdf5"] if prefix else [])
    candidates = [path / name for name in names] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return VideoStore(candidate, reader)
    command = {"kth": "prepare_kth", "ucf101": "prepare_ucf101"}.get(prefix or "", "prepare_videos")
    raise FileNotFoundError(
        f"There is no file {' or '.join(map(str, candidates))}. Create it with "
        f"keras_frnn.datasets.{command}(source, {str(path)!r})."
    )
