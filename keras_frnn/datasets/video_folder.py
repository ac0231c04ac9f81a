"""Any folder of videos, as a dataset."""

import fnmatch
import hashlib
import json
import os
import re
from collections.abc import Sequence

from keras_frnn.checks import check_positive_integers
from keras_frnn.datasets.faces import Dataset
from keras_frnn.datasets.video_files.clips import Clip, Format, find_videos, shown
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
    group: str | None = None,
    test: Sequence[str] | None = None,
    rate: float | None = None,
    accept_bad_videos: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Decodes the videos of a folder and its subfolders into `train.hdf5` and `test.hdf5`, for `video_folder`.

    Frames are stored as FFmpeg shows them: upright, deinterlaced, with square pixels, and without what an edit list
    cuts away. They are cut at the centre to the shape of `size`, shrunk with antialiasing, and stored as uint8: one
    dataset per video, `(frames, height, width, channels)`, with the attributes `source`, `label` (its subfolder),
    `frame_rate` (frames per second, the mean by their timestamps), `frames`, `source_bytes` and `source_mtime_ns`. An
    interrupted run goes on where it stopped when it is called again. A run needs twice the disk space of its result.
    Videos of several frame rates are named in the log (`absl.logging.warning`).

    Args:
        source: folder of the videos.
        output: folder to write to.
        size: (height, width) of the stored frames in pixels.
        color: store RGB; else grey.
        test_fraction: about what part of the videos is for testing, in [0, 1). Each video's side is drawn by `seed`
            and its path in the folder, so it stays there when other videos come or go. But no side is left empty:
            where the draw would do that, in a small folder, the video that came closest is taken, and it can go back
            when others come. With 0, or with a single video or group, the test file holds none.
        seed: any integer.
        group: regular expression which says what was cut from one recording: videos whose paths in the folder, with
            `/`, begin with the same match stay on one side. Of a match, its first pair of brackets counts where there
            is one. `r".*/"` keeps folders together, `r"(.*)_part\\d+"` what differs in the number of the part alone.
        test: patterns as of the shell, such as `["tuesday/*", "*_g0[1-7]_*"]`: videos whose paths in the folder fit one
            of them are for testing, all others for training, and nothing is drawn.
        rate: frames per second to store, for videos of several rates, or of varying ones. There is a tick every
            `1 / rate` seconds, from a video's first frame on until its last; at each, the frame is stored that is shown
            then. So frames are left out, or repeated, and never mixed. By default, all frames are stored as they come.
        accept_bad_videos: store what can be read of bad videos, and do not raise an error for them.
        workers: decoding processes; by default one a core.
        progress: draw a progress bar.

    Returns:
        The bad videos, name to reason; with `accept_bad_videos=False`, an empty dictionary.

    Raises:
        FileNotFoundError: no such folder, or no video in it.
        ValueError: some videos do not decode, have no frames, stop early or change their frame size midway; all others
            are stored nevertheless. Or the output folder holds other videos, an argument is out of its range, a video
            is in no group, a pattern of `test` fits none, or together they fit all.
        OSError: the output cannot be written: no permission, no space.
    """
    height, width = check_positive_integers(size, "size", 2)
    if rate is not None and not 0 < rate < float("inf"):
        raise ValueError(f"`rate` must be a positive number of frames per second. Received: rate={rate!r}")
    if not 0 <= test_fraction < 1:
        raise ValueError(f"`test_fraction` must be in [0, 1). Received: test_fraction={test_fraction!r}")
    if group is not None and test is not None:
        raise ValueError("Pass `group`, to draw groups, or `test`, to name videos; not both.")
    paths = find_videos(source)
    names = [path.relative_to(source).as_posix() for path in paths]
    if test is not None:
        test = _patterns(test)
        tested, protocol = _named(names, test), f"named, test={json.dumps(test)}"
    else:
        groups = {name: name for name in names} if group is None else _groups(names, group)
        by = "name" if group is None else f"group={group!r}"
        tested, protocol = _drawn(groups, test_fraction, seed), f"test_fraction={test_fraction}, seed={seed}, by {by}"
    clips = [
        Clip(path, "test" if name in tested else "train", {"label": path.parent.relative_to(source).as_posix()})
        for name, path in zip(names, paths, strict=True)
    ]
    format = Format(
        dataset="video_folder",
        protocol=protocol,
        height=height,
        width=width,
        channels=3 if color else 1,
        frame_size=None,
        cut="centre",
        rate=None if rate is None else float(rate),
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


def _drawn(group_of: dict[str, str], test_fraction: float, seed: int) -> set[str]:
    """The names that are for testing, by a number in [0, 1) for each group."""
    digests = {group: hashlib.sha256(os.fsencode(f"{seed}\0{group}")).digest() for group in group_of.values()}
    numbers = {group: int.from_bytes(digest[:8]) / 2**64 for group, digest in digests.items()}
    test = {group for group, number in numbers.items() if number < test_fraction}
    if test_fraction > 0:
        test.add(min(numbers, key=numbers.__getitem__))
    test.discard(max(numbers, key=numbers.__getitem__))
    return {name for name, group in group_of.items() if group in test}


def _groups(names: list[str], expression: str) -> dict[str, str]:
    """The group of each name."""
    try:
        pattern = re.compile(expression)
    except (re.error, TypeError) as error:
        raise ValueError(f"`group` must be a regular expression. Received: group={expression!r} ({error})") from None
    groups = {}
    for name in names:
        match = pattern.match(name)
        if match is None or (found := match[min(1, pattern.groups)]) is None:
            raise ValueError(
                f"`group` must fit all videos. Received: group={expression!r}, and no match at the beginning of "
                f"{shown(name)}"
            )
        groups[name] = found
    return groups


def _patterns(test) -> list[str]:
    patterns = [test] if isinstance(test, str) else test
    if not isinstance(patterns, Sequence) or not patterns or not all(isinstance(one, str) for one in patterns):
        raise ValueError(f'`test` must be patterns of names, such as ["tuesday/*"]. Received: test={test!r}')
    return list(patterns)


def _named(names: list[str], patterns: list[str]) -> set[str]:
    """The names that fit one of the patterns."""
    fitting = {pattern: set(fnmatch.filter(names, pattern)) for pattern in patterns}
    for pattern, found in fitting.items():
        if not found:
            raise ValueError(
                f"Each pattern of `test` must fit a video. Received: {pattern!r}, and videos such as {shown(names[0])}"
            )
    tested = set().union(*fitting.values())
    if len(tested) == len(names):
        raise ValueError(
            f"`test` must leave videos for training. Received: test={patterns!r}, which fit all {len(names)}"
        )
    return tested


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
            the same batches. By default `"tf"` where TensorFlow is the backend, else `"keras"`.
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
