"""Any folder of videos as a dataset."""

import fnmatch
import hashlib
import json
import os
import re
from collections.abc import Sequence

from keras_frnn.checks import check_positive_integers, check_positive_integers_by_name
from keras_frnn.datasets.formats import Dataset
from keras_frnn.datasets.held_out import split_off
from keras_frnn.datasets.video_files.clips import Clip, Format, find_videos, shown
from keras_frnn.datasets.video_files.prepare import prepare
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.datasets.windows import Videos, window_dataset


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

    Frames are stored as FFmpeg shows them: upright, deinterlaced, with square pixels, and without the parts that an
    edit list removes. They are cropped at the center to the aspect ratio of `size`, shrunk with antialiasing, and
    stored as uint8: one dataset per video, `(frames, height, width, channels)`, with the attributes `source`, `label`
    (its subfolder), `frame_rate` (mean frames per second according to the timestamps), `frames`, `source_bytes` and
    `source_mtime_ns`. Calling the function again resumes an interrupted run. A run needs twice the disk space of its
    result. Mixed frame rates are logged (`absl.logging.warning`).

    Args:
        source: folder of the videos.
        output: folder to write to.
        size: (height, width) of the stored frames in pixels.
        color: store RGB frames; otherwise gray ones.
        test_fraction: approximate fraction of the videos that is for testing, in [0, 1). A video's split depends only
            on `seed` and its path in the folder, so it does not change when videos are added or removed. Neither split
            stays empty: if the draw leaves one empty, as may happen in a small folder, the video closest to the
            threshold moves there, and may move back when videos are added. With 0, or with a single video or group, the
            test file is empty.
        seed: any integer.
        group: regular expression that identifies a recording: videos whose paths in the folder, with `/`, start with
            the same match belong to the same split. If the expression has a group in parentheses, only the first one
            counts. `r".*/"` keeps folders together, `r"(.*)_part\\d+"` videos that differ only in the part number.
        test: shell patterns, such as `["tuesday/*", "*_g0[1-7]_*"]`: videos whose paths in the folder match one of them
            are for testing, all others for training; nothing is drawn.
        rate: frames per second to store, for videos with different or variable frame rates. Every `1 / rate` seconds,
            from a video's first frame to its last, the frame shown at that time is stored; so frames are skipped or
            repeated, and never blended. By default, every frame is stored once.
        accept_bad_videos: store the readable part of bad videos instead of raising an error.
        workers: number of decoding processes; by default one per core.
        progress: draw a progress bar.

    Returns:
        The reason for each bad video, by name; with `accept_bad_videos=False`, an empty dictionary.

    Raises:
        FileNotFoundError: the folder does not exist, or has no videos.
        ValueError: some videos do not decode, have no frames, stop early or change their frame size midway; all others
            are stored nevertheless. Or the output folder holds other videos, an argument is out of range, a video
            belongs to no group, or the patterns of `test` match all videos, or one of them matches none.
        OSError: the output cannot be written: no permission, no space.
    """
    height, width = check_positive_integers(size, "size", 2)
    if rate is not None and not 0 < rate < float("inf"):
        raise ValueError(f"`rate` must be a positive number of frames per second. Received: rate={rate!r}")
    if not 0 <= test_fraction < 1:
        raise ValueError(f"`test_fraction` must be in [0, 1). Received: test_fraction={test_fraction!r}")
    if group is not None and test is not None:
        raise ValueError("Pass either `group`, to draw groups, or `test`, to name the test videos; not both.")
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
        cut="centre",  # Spelled as in the files of earlier versions.
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
    """The names of the test videos, drawn with one number in [0, 1) per group."""
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
                f"`group` must fit all videos. Received: group={expression!r}, which does not match the beginning of "
                f"{shown(name)}"
            )
        groups[name] = found
    return groups


def _patterns(test) -> list[str]:
    patterns = [test] if isinstance(test, str) else test
    if not isinstance(patterns, Sequence) or not patterns or not all(isinstance(one, str) for one in patterns):
        raise ValueError(f'`test` must be a list of file patterns, such as ["tuesday/*"]. Received: test={test!r}')
    return list(patterns)


def _named(names: list[str], patterns: list[str]) -> set[str]:
    """The names that match one of the patterns."""
    matches = {pattern: set(fnmatch.filter(names, pattern)) for pattern in patterns}
    for pattern, found in matches.items():
        if not found:
            raise ValueError(
                f"Each pattern of `test` must match a video. Received: {pattern!r}, and videos such as "
                f"{shown(names[0])}"
            )
    tested = set().union(*matches.values())
    if len(tested) == len(names):
        raise ValueError(
            f"`test` must leave videos for training. Received: test={patterns!r}, which match all {len(names)}"
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
    held_out: float = 0.0,
    seed: int = 0,
    sequences: int | None = None,
    start: int = 0,
    num_shards: int = 1,
    shard_index: int = 0,
    format: str | None = None,
    reader: str = "h5py",
) -> Dataset:
    """Windows of the videos stored by `prepare_videos` or by the authors' scripts.

    Every run of `(context + horizon - 1) * frame_step + 1` consecutive frames of a video is a window. Training is
    endless and visits every window once per epoch. The order depends only on `seed` and the epoch, and crops and
    mirroring only on `seed` and the position in the order; so `start` resumes exactly at any step, and `num_shards`
    workers share the windows without overlap. Testing visits the windows once, in a fixed order.

    Args:
        path: folder with `train.hdf5` and `test.hdf5`, or an HDF5 file of uint8 datasets
            `(frames, height, width[, channels])`, 1 or 3 channels, all of the same frame size: contiguous or chunked.
            Chunks of up to 16 MiB may be compressed with gzip or lzf.
        split: `"train"`, `"validation"` or `"test"`. The videos for validation are those that `held_out` takes from the
            training videos. Their windows are visited as those for testing.
        batch_size: windows per batch.
        context: number of given frames.
        horizon: number of frames to predict.
        frame_step: distance between a window's frames, in frames of the video; 2 takes every second frame.
        crop: (height, width) of the crop: at a random position in training, at the center in testing.
        mirror: in training, mirror half of the windows left to right. Unsuitable for text, maps, traffic and anything
            else in which left and right differ.
        held_out: fraction of the training videos that is held out for validation, in [0, 1), rounded to a number of
            videos from one to all but one. The choice depends on their names. Of a single video, the last frames are
            held out.
        seed: any integer.
        sequences: for validation and testing: number of windows to select with `seed`; all by default.
        start: number of windows that each worker skips at the beginning; `start=k * batch_size` continues after k
            batches.
        num_shards: number of workers that share the windows. Together they see the same windows as one worker with a
            batch of `num_shards * batch_size`.
        shard_index: number of this worker, 0 to `num_shards - 1`.
        format: `"tf"`: a `tf.data.Dataset`; `"keras"`: a `keras.utils.PyDataset`, which does not need TensorFlow. Both
            have the same batches. By default `"tf"` if TensorFlow is the backend, otherwise `"keras"`.
        reader: `"h5py"`, or `"tfio"` for tensorflow-io 0.37.1 with TensorFlow 2.16 (extra `tfio`).

    Returns:
        Dataset of `(context, future)` in the requested format: float32 `(batch, context, height, width, channels)` and
        `(batch, horizon, height, width, channels)` in [-1, 1]. If the file disappears or turns out to be damaged while
        it is read, a ValueError is raised there, or a `tf.errors.OpError` with `format="tf"`.

    Raises:
        FileNotFoundError: the folder or file does not exist.
        ValueError: an argument is out of range, no video is long enough, there is nothing to hold out, or a file is not
            as described, is damaged, or refers to other files.
        ImportError: `format="tf"` or `reader="tfio"`, and TensorFlow or tensorflow-io does not work here.
    """
    if not 0 <= held_out < 1 or (split == "validation" and not held_out):
        raise ValueError(
            "`held_out` must be a fraction of the training videos, below 1, and above 0 for split='validation'. "
            f"Received: held_out={held_out!r} and split={split!r}"
        )
    is_validation = split == "validation"
    store = open_store(path, "train" if is_validation else split, reader)
    videos: Videos = store
    if held_out and split != "test":
        check_positive_integers_by_name(context=context, horizon=horizon, frame_step=frame_step)
        span = (context + horizon - 1) * frame_step + 1
        videos = split_off(store, store.names, held_out, span)[is_validation]
    return window_dataset(
        videos,
        "test" if is_validation else split,
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
