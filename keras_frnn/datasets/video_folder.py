"""Any folder of videos, as a dataset."""

import hashlib
import os

from keras_frnn.checks import check_positive_integers
from keras_frnn.datasets.faces import Dataset
from keras_frnn.datasets.video_files.clips import Clip, Format, find_videos
from keras_frnn.datasets.video_files.prepare import prepare
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.datasets.windows import window_dataset


def prepare_videos(
    source: str | os.PathLike,
    output: str | os.PathLike,
    size: tuple[int, int] = (64, 64),
    color: bool = True,
    *,
    test_fraction: float = 0.2,
    seed: int = 0,
    accept_bad_videos: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Decodes the videos of a folder and its subfolders into `train.hdf5` and `test.hdf5`, for `video_folder`.

    Frames are cut at the centre to the shape of `size`, shrunk with antialiasing, and stored as uint8: a dataset a
    video, `(frames, height, width, channels)`, with the attributes `source`, `label` (its subfolder), `frame_rate`
    (frames a second), `frames`, `source_bytes` and `source_mtime_ns`. An interrupted run goes on where it stopped when
    it is called again. A run needs twice the disk space of its result.

    Args:
        source: folder of the videos.
        output: folder to write to.
        size: (height, width) of the stored frames in pixels.
        color: store RGB; else grey.
        test_fraction: about what part of the videos is for testing, in [0, 1). Each video's side is drawn by `seed`
            and its path in the folder, so it stays there when other videos come or go. But no side is left empty:
            where the draw would do that, in a small folder, the video that came closest is taken, and it can go back
            when others come. With 0, or with a single video, the test file holds none.
        seed: any integer.
        accept_bad_videos: store what can be read of bad videos, and do not raise an error for them.
        workers: decoding processes; by default one a core.
        progress: draw a progress bar.

    Returns:
        The bad videos, name to reason; with `accept_bad_videos=False`, an empty dictionary.

    Raises:
        FileNotFoundError: no such folder, or no video in it.
        ValueError: some videos do not decode, have no frames, stop early or change their frame size midway; all others
            are stored nevertheless. Or the output folder holds other videos, or an argument is out of its range.
        OSError: the output cannot be written: no permission, no space.
    """
    if isinstance(size, int):
        size = (size, size)
    check_positive_integers(size, "size", 2)
    if not 0 <= test_fraction < 1:
        raise ValueError(f"`test_fraction` must be in [0, 1). Received: test_fraction={test_fraction!r}")
    paths = find_videos(source)
    test = _test_names([path.relative_to(source).as_posix() for path in paths], test_fraction, seed)
    clips = []
    for path in paths:
        split = "test" if path.relative_to(source).as_posix() in test else "train"
        clips.append(Clip(path, split, {"label": path.parent.relative_to(source).as_posix()}))
    format = Format(
        dataset="video_folder",
        protocol=f"test_fraction={test_fraction}, seed={seed}, by name",
        height=size[0],
        width=size[1],
        channels=3 if color else 1,
        frame_size=None,
        cut="centre",
    )
    return prepare(
        source,
        output,
        clips=clips,
        format=format,
        accept_bad_videos=accept_bad_videos,
        workers=workers,
        progress=progress,
    )


def _test_names(names: list[str], test_fraction: float, seed: int) -> set[str]:
    """The names that are for testing, each by a number in [0, 1) of its own."""
    digests = {name: hashlib.sha256(os.fsencode(f"{seed}\0{name}")).digest() for name in names}
    numbers = {name: int.from_bytes(digest[:8]) / 2**64 for name, digest in digests.items()}
    test = {name for name in names if numbers[name] < test_fraction}
    if test_fraction > 0:
        test.add(min(names, key=numbers.__getitem__))
    return test - {max(names, key=numbers.__getitem__)}


def video_folder(
    path: str | os.PathLike,
    split: str,
    *,
    batch_size: int = 12,
    context: int = 10,
    horizon: int = 10,
    frame_step: int = 1,
    crop: tuple[int, int] | None = None,
    mirror: bool = False,
    seed: int = 0,
    sequences: int | None = None,
    start: int = 0,
    num_shards: int = 1,
    shard_index: int = 0,
    format: str | None = None,
    reader: str = "h5py",
) -> Dataset:
    """Windows of the videos that `prepare_videos`, or the authors' scripts, stored.

    Every run of `(context + horizon - 1) * frame_step + 1` frames of every video is a window. Training goes through all
    of them once an epoch, endlessly, in an order that is a function of `seed` and the epoch alone; crops and mirroring
    are functions of `seed` and the position in that order. So any step can be resumed exactly, with `start`, and
    workers share the order without overlap, by `num_shards`. Testing goes through the windows in a fixed order, once.

    Args:
        path: folder with `train.hdf5` and `test.hdf5`, or an HDF5 file of uint8 datasets
            `(frames, height, width[, channels])`, 1 or 3 channels, all of one frame size: contiguous, or in chunks,
            which may be packed with gzip or lzf if they are of up to 16 MiB.
        split: `"train"` or `"test"`.
        batch_size: windows a batch.
        context: frames that are given.
        horizon: frames to be predicted.
        frame_step: distance of a window's frames in frames of the video: 2 is every second frame.
        crop: (height, width) to cut from the frames: anywhere in training, at the centre in testing.
        mirror: in training, mirror half of the windows left to right: not for text, maps, traffic and whatever else
            has a left and a right.
        seed: any integer.
        sequences: for testing, a choice of that many windows, drawn by `seed`; all by default, and where there are
            fewer.
        start: number of windows to leave out at the beginning; `start=k * batch_size` goes on after k batches. With
            `num_shards`, of this worker's windows.
        num_shards: number of workers that share the windows. Together they see what one with a batch of
            `num_shards * batch_size` would.
        shard_index: number of this worker, 0 to `num_shards - 1`.
        format: `"tf"`: a `tf.data.Dataset`; `"keras"`: a `keras.utils.PyDataset`, which needs no TensorFlow. Both have
            the same batches. By default `"tf"` where TensorFlow is installed, else `"keras"`.
        reader: `"h5py"`, or `"tfio"` for tensorflow-io 0.37.1 with TensorFlow 2.16 (extra `tfio`).

    Returns:
        Dataset of `(context, future)`, as `format` says: float32 `(batch, context, height, width, channels)` and
        `(batch, horizon, height, width, channels)` in [-1, 1]. A file that goes away, or turns out to be damaged, while
        it is read raises a ValueError there, or with TensorFlow its `tf.errors.OpError`.

    Raises:
        FileNotFoundError: there is no such folder or file.
        ValueError: an argument out of its range, no video long enough, or a file that is not as described, is damaged,
            or leads to other files.
        ImportError: `format="tf"` or `reader="tfio"`, and TensorFlow or tensorflow-io does not work here.
    """
    return window_dataset(
        open_store(path, split, reader),
        split,
        batch_size=batch_size,
        context=context,
        horizon=horizon,
        frame_step=frame_step,
        crop=crop,
        mirror=mirror,
        seed=seed,
        sequences=sequences,
        start=start,
        num_shards=num_shards,
        shard_index=shard_index,
        format=format,
    )
