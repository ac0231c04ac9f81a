"""Writes videos to an HDF5 file: one uint8 dataset `(frames, height, width, channels)` per video."""

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable

import h5py
import numpy as np

from keras_frnn.datasets.video_files.clips import Format
from keras_frnn.datasets.video_files.partial_video import PartialVideo
from keras_frnn.datasets.video_files.store_checks import (
    BadStoreError,
    check_attributes,
    damage_explained,
    open_video,
)

_REMEDY = "Choose another output folder, or delete that file."
_BLOCK = 1 << 20  # Bytes copied at a time.


def stored_videos(path: pathlib.Path, format: Format) -> dict[tuple, dict]:
    """The videos in the file of an earlier run, in order: `key`, `frames` and `reason` by identity.

    Raises:
        ValueError: the file was prepared with other settings, was not written by this library, or is damaged.
    """
    if not path.exists():
        return {}
    if not path.is_file():  # Reading a pipe would block.
        raise ValueError(f"{path} is not a regular file. {_REMEDY}")
    try:
        with (
            damage_explained(f"{path} was not written by this library, or is damaged: {{error}}."),
            h5py.File(path) as file,
        ):
            return _videos(file, format)
    except BadStoreError as error:
        raise ValueError(f"{error} {_REMEDY}") from error


def _videos(file: h5py.File, format: Format) -> dict[tuple, dict]:
    shapes = {key: open_video(file, key).shape for key in file}
    found = check_attributes(file, {key: shape[0] for key, shape in shapes.items()}).get("format")
    if found is None:
        raise BadStoreError(f"{file.filename} was not written by this library.")
    if found != json.loads(format.text):
        raise BadStoreError(
            f"{file.filename} was prepared with other settings. Expected: {format.text}. Found: {json.dumps(found)}."
        )
    videos: dict[tuple, dict] = {}
    for key, shape in shapes.items():
        attributes = dict(file[key].attrs)
        identity = tuple(attributes[name] for name in ("source", "source_bytes", "source_mtime_ns"))
        reason = attributes.get("damage")
        texts = [*attributes, identity[0], reason or ""]
        if shape[1:] != format.frame_shape or not all(isinstance(text, str) for text in texts):
            raise BadStoreError(f"{file.filename}: {key!r} was not written by this library.")
        videos[identity] = {"key": key, "frames": shape[0], "reason": reason}
    return videos


def write_store(
    path: pathlib.Path,
    videos: list[PartialVideo],
    format: Format,
    earlier: pathlib.Path,
    stored: dict[tuple, dict],
    source_videos: int,
):
    """Writes videos to a new file.

    Args:
        path: the file.
        videos: the videos, in this order.
        format: format of the frames.
        earlier: file of an earlier run; the videos that it has are copied from it.
        stored: the videos in that file, see `stored_videos`.
        source_videos: number of video files in the source.

    Raises:
        OSError: the file cannot be written.
    """
    needed = sum(video.answer["frames"] for video in videos) * format.frame_bytes
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise OSError(f"{path.name} needs {needed / 1e6:,.1f} MB, but {free / 1e6:,.1f} MB are free")
    digits = max(5, len(str(len(videos))))
    with h5py.File(path, "w") as file, contextlib.ExitStack() as stack:
        old = stack.enter_context(h5py.File(earlier)) if stored else {}
        for i, video in enumerate(videos):
            key = f"{i:0{digits}d}"
            if video.identity in stored:
                _copy_video(file, key, old[stored[video.identity]["key"]], format)
            else:
                _write_video(file, key, video)
        # A string of fixed length, since some damage in HDF5's heap of variable strings makes it loop forever.
        file.attrs["format"] = np.bytes_(format.text)
        file.attrs["videos"] = len(file)
        file.attrs["frames"] = sum(len(dataset) for dataset in file.values())
        file.attrs["source_videos"] = source_videos
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def _write_video(file: h5py.File, key: str, video: PartialVideo):
    frames = video.answer["frames"]
    attributes = dict(zip(("source", "source_bytes", "source_mtime_ns"), video.identity, strict=True))
    attributes |= {**video.clip.attributes, "frame_rate": video.answer["frame_rate"], "frames": frames}
    if video.answer["reason"]:
        attributes["damage"] = video.answer["reason"]
    with open(video.frames_path, "rb") as source:
        _add(file, key, frames, video.format, attributes, lambda block, _: source.readinto(block))


def _copy_video(file: h5py.File, key: str, video: h5py.Dataset, format: Format):
    # HDF5's own copy function would produce other bytes than a newly written video.
    def read(block, first):
        with damage_explained(f"{video.file.filename} is damaged: {video.name} ({{error}}). {_REMEDY}"):
            video.read_direct(block, np.s_[first : first + len(block)])

    _add(file, key, len(video), format, dict(video.attrs), read)


def _add(file: h5py.File, key: str, frames: int, format: Format, attributes: dict, read: Callable):
    """Adds a video in blocks; `read(block, first)` fills a block with the frames from number `first` on."""
    # Contiguous, so that reading a window is a single read.
    dataset = file.create_dataset(key, (frames, *format.frame_shape), "uint8")
    buffer = np.empty((max(_BLOCK // format.frame_bytes, 1), *format.frame_shape), "uint8")
    for first in range(0, frames, len(buffer)):
        block = buffer[: frames - first]
        read(block, first)
        dataset.write_direct(block, dest_sel=np.s_[first : first + len(block)])
    # Sorted, so that the same videos give the same file, byte for byte.
    for name, value in sorted(attributes.items()):
        if isinstance(value, str):  # File names may not be UTF-8. Reading returns the same string.
            dataset.attrs.create(name, value.encode("utf-8", "surrogateescape"), dtype=h5py.string_dtype())
        else:
            dataset.attrs[name] = value
