"""Checks of HDF5 files before they are read as videos: they may come from an untrusted source, or be damaged.

A rejected file could show other files of this machine as frames, or fill its memory. One risk remains in HDF5 itself:
some damage in a file's structure, for example in the lengths of strings, makes it loop forever, which nothing in the
same process can stop.
"""

import contextlib
import itertools
import json
import math
import os
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np

# The exceptions that h5py raises for a damaged file.
_DAMAGE = (OSError, KeyError, RuntimeError, ValueError, TypeError, MemoryError, OverflowError, zlib.error)
_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF = (
    h5py.h5z.FILTER_DEFLATE,
    h5py.h5z.FILTER_SHUFFLE,
    h5py.h5z.FILTER_FLETCHER32,
    32000,
)
_LARGEST_CHUNK = 2**24  # Bytes. A chunk is decompressed completely for each window that touches it, by several threads.
_LARGEST_RATIO = 1032  # The largest compression ratio of gzip.
_EXPECTED = "Expected a uint8 dataset (frames, height, width) or (frames, height, width, channels), channels 1 or 3."


class BadStoreError(ValueError):
    """A file is not as expected; the message is a sentence for the user."""


@contextlib.contextmanager
def damage_explained(sentence: str) -> Iterator[None]:
    """Turns exceptions of h5py into a `BadStoreError`; `sentence` has the placeholder `{error}`."""
    try:
        yield
    except BadStoreError:
        raise
    except _DAMAGE as error:
        raise BadStoreError(sentence.replace("{error}", str(error) or type(error).__name__)) from error


def open_video(file: h5py.File, key: str) -> h5py.Dataset:
    """The video of a key, checked to lie completely in this file and to claim no more bytes than the file has.

    Raises:
        BadStoreError: the key holds anything else.
        Exception: for a damaged file, one of those that `damage_explained` handles.
    """
    path = pathlib.Path(file.filename)
    name = os.fsencode(key)  # h5py returns keys that are not UTF-8 as bytes.
    # This comes first, since opening a link opens the file that it refers to.
    if b"/" in name or file.id.links.get_info(name).type != h5py.h5l.TYPE_HARD:
        raise BadStoreError(f"{path}: {key!r} is a link, which may lead to other files. Store the video itself there.")
    item = h5py.h5o.open(file.id, name)
    if not isinstance(item, h5py.h5d.DatasetID):
        kind = "a group" if isinstance(item, h5py.h5g.GroupID) else "not a dataset"
        raise BadStoreError(f"{path}: {key!r} is {kind}. {_EXPECTED}")
    properties = item.get_create_plist()
    # This comes before the shape is read, since that may open the source files of a virtual dataset.
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise BadStoreError(
            f"{path}: {key!r} is a virtual dataset, which shows other files. Store the frames themselves."
        )
    if properties.get_external_count():
        raise BadStoreError(f"{path}: {key!r} keeps its frames in other files. Store the frames themselves.")
    video = h5py.Dataset(item)
    shape = video.shape or ()
    if video.dtype != np.uint8 or len(shape) not in (3, 4):
        raise BadStoreError(f"{path}: {key!r} is {video.dtype} {shape}. {_EXPECTED}")
    if 0 in shape[1:] or (*shape, 1)[3] not in (1, 3):
        raise BadStoreError(f"{path}: {key!r} has the shape {shape}. {_EXPECTED}")
    _check_size(path, key, video, properties)
    return video


def _check_size(path: pathlib.Path, key: str, video: h5py.Dataset, properties: h5py.h5p.PropDCID):
    """Compares a video's shape with the bytes that the file holds, without reading frames."""
    filters = _filters(properties)
    packing = [code for code in filters if code != _FLETCHER32]
    if packing[-1:] in ([_DEFLATE], [_LZF]):
        packing.pop()
    if packing not in ([], [_SHUFFLE]):
        raise BadStoreError(
            f"{path}: {key!r} is compressed with the filters {filters}. Use gzip, lzf or no compression."
        )
    claimed, file_bytes = math.prod(video.shape), path.stat().st_size
    possible = file_bytes * (_LARGEST_RATIO if filters else 1)
    if claimed <= possible and video.chunks is None:
        possible = min(video.id.get_storage_size(), file_bytes - (video.id.get_offset() or 0))
    if claimed > possible:
        raise BadStoreError(
            f"{path}: {key!r} has the shape {video.shape}, {claimed:,} bytes, but the file cannot hold more than "
            f"{max(possible, 0):,} of them. Prepare it again."
        )
    if video.chunks is None:
        return
    chunk_bytes = math.prod(video.chunks)
    if filters and chunk_bytes > _LARGEST_CHUNK:
        raise BadStoreError(
            f"{path}: {key!r} is compressed in chunks of {video.chunks}, {chunk_bytes:,} bytes. Use chunks of at most "
            f"{_LARGEST_CHUNK:,} bytes."
        )
    # Missing chunks would be read as zeros. HDF5 counts chunks one by one, so their number must be plausible.
    expected = math.prod(math.ceil(axis / step) for axis, step in zip(video.shape, video.chunks, strict=True))
    found = video.id.get_num_chunks() if expected <= file_bytes else 0
    if found != expected:
        raise BadStoreError(f"{path}: {key!r} has {found:,} of its {expected:,} chunks. Prepare it again.")


def _filters(properties: h5py.h5p.PropDCID) -> list[int]:
    return [properties.get_filter(i)[0] for i in range(properties.get_nfilters())]


def check_chunks(path: pathlib.Path, key: str, video: h5py.Dataset):
    """Checks that no chunk of a video decompresses to more bytes than it should.

    HDF5 has no such limit. This function decompresses every chunk, so it is called once per video, at the first read.
    For lzf it only checks the compressed sizes, which limits a chunk to 90 times `_LARGEST_CHUNK`.

    Raises:
        BadStoreError: a chunk is too large.
        Exception: as in `open_video`.
    """
    filters = _filters(video.id.get_create_plist())
    if not filters:
        return
    chunk_bytes = math.prod(video.chunks)
    limit = chunk_bytes + chunk_bytes // 1000 + 32  # Incompressible data grows a little, and there may be a checksum.
    grid = (range(0, axis, step) for axis, step in zip(video.shape, video.chunks, strict=True))
    for place in itertools.product(*grid):
        chunk = video.id.get_chunk_info_by_coord(place)
        size = chunk.size
        if size <= limit and _DEFLATE in filters and not chunk.filter_mask >> filters.index(_DEFLATE) & 1:
            size = len(zlib.decompressobj().decompress(video.id.read_direct_chunk(place)[1], limit + 1))
        if size > limit:
            raise BadStoreError(
                f"{path}: a chunk of {key!r}, at {place}, decompresses to more than the {chunk_bytes:,} bytes of a "
                "chunk of that video. Prepare it again."
            )


def check_attributes(file: h5py.File, lengths: dict[str, int]) -> dict:
    """What a prepared file says about itself; empty for files from elsewhere.

    Args:
        file: the file.
        lengths: number of frames of each video in it, by key.

    Returns:
        `protocol`: how the videos were split; `format`: all settings that they were prepared with; `source_videos`:
        number of videos in the source, in both splits together.

    Raises:
        BadStoreError: an attribute is missing or damaged, or videos are missing.
        Exception: as in `open_video`.
    """
    path, names = file.filename, ("format", "videos", "frames", "source_videos")
    missing = [name for name in names if name not in file.attrs]
    if len(missing) == len(names) and not any("source_mtime_ns" in file[key].attrs for key in list(lengths)[:1]):
        return {}
    if missing:
        raise BadStoreError(
            f"{path} has no attribute {missing[0]!r}. A prepared file has all of the attributes {', '.join(names)}; "
            "your own file must have none of them. Prepare it again."
        )
    text, *counts = (_attribute(file, name) for name in names)
    found = [len(lengths), sum(lengths.values())]
    if found != counts[:2]:
        raise BadStoreError(
            f"{path} holds {found[0]} videos and {found[1]} frames. When it was written, it had {counts[0]} and "
            f"{counts[1]}. Prepare it again."
        )
    try:
        format = json.loads(text)
        protocol = format["protocol"].split(",")[0]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadStoreError(
            f'{path} has the attribute format={text[:80]!r}. Expected JSON with a "protocol". Prepare it again.'
        ) from error
    return {"protocol": protocol, "format": format, "source_videos": counts[2]}


def _attribute(file: h5py.File, name: str) -> Any:
    kind, expected = (h5py.h5t.TypeStringID, "a string") if name == "format" else (h5py.h5t.TypeIntegerID, "an integer")
    attribute = file.attrs.get_id(name)
    # This comes before the value is read: an array may claim any size, and HDF5 may crash on a damaged type.
    if attribute.shape != () or not isinstance(attribute.get_type(), kind):
        raise BadStoreError(
            f"{file.filename} has the attribute {name} as {attribute.dtype} {attribute.shape}. Expected {expected}. "
            "Prepare it again."
        )
    return file.attrs[name] if name == "format" else int(file.attrs[name])
