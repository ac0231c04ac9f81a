"""Damaged or malicious stored videos raise clear errors."""

import json
import pathlib
import zlib

import h5py
import numpy as np
import pytest

from keras_frnn import datasets
from keras_frnn.datasets.video_files.store_checks import BadStoreError
from keras_frnn.datasets.video_files.video_store import VideoStore

pytestmark = pytest.mark.once
SHAPE = (7, 4, 6, 1)
FRAMES = np.arange(7 * 4 * 6, dtype="uint8").reshape(SHAPE)
ATTRIBUTES = {"format": json.dumps({"protocol": "paper, seed=0"}), "videos": 1, "frames": 7, "source_videos": 3}


def stored(path: pathlib.Path, attributes: dict | None = None, **options) -> pathlib.Path:
    with h5py.File(path, "w") as file:
        file.create_dataset("0", **{"data": FRAMES, **options})
        file.attrs.update(attributes or {})
    return path


def windows(path):
    return datasets.video_folder(path, "test", context=2, horizon=2, format="keras")


def _link(file, secret):
    file["0"] = h5py.ExternalLink(secret, "0")


def _soft_link(file, secret):
    file["0"] = h5py.SoftLink("/1")
    file["1"] = FRAMES


def _virtual(file, secret):
    layout = h5py.VirtualLayout(SHAPE, "uint8")
    layout[...] = h5py.VirtualSource(secret, "0", SHAPE)
    file.create_virtual_dataset("0", layout)


def _external(file, secret):
    file.create_dataset("0", SHAPE, "uint8", external=[(secret, 0, h5py.h5f.UNLIMITED)])


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (_link, "'0' is a link, which may lead to other files"),
        (_soft_link, "'0' is a link"),
        (_virtual, "'0' is a virtual dataset, which shows other files"),
        (_external, "'0' keeps its frames in other files"),
    ],
)
def test_stores_do_not_refer_to_other_files(tmp_path, put, message):
    secret = stored(tmp_path / "secret.hdf5")
    with h5py.File(tmp_path / "some.hdf5", "w") as file:
        put(file, str(secret))
    with pytest.raises(ValueError, match=message):
        windows(tmp_path / "some.hdf5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(shape=(9, 4, 0, 3)), r"'0' has the shape \(9, 4, 0, 3\). Expected .* channels 1 or 3"),
        (dict(shape=(9, 0, 4)), r"'0' has the shape \(9, 0, 4\)"),
        (dict(shape=(9, 4, 6, 0)), r"'0' has the shape \(9, 4, 6, 0\)"),
        (dict(shape=(9, 4, 6, 2)), r"'0' has the shape \(9, 4, 6, 2\)"),
        (
            dict(shape=(2**40, 4, 6, 1)),
            r"'0' has .* 26,388,279,066,624 bytes, but the file cannot hold more than",
        ),
        (dict(shape=SHAPE), "the file cannot hold more than 0"),  # No data was ever written.
        (dict(shape=(2**62, 4, 6, 1), chunks=(1, 4, 6, 1)), "the file cannot hold more than"),
        (dict(shape=(2**62, 4, 6, 1), chunks=(1, 4, 6, 1), compression="gzip"), "the file cannot hold more than"),
        (dict(shape=SHAPE, chunks=(1, 4, 6, 1)), "'0' has 0 of its 7 chunks"),
        (dict(shape=(31, 4, 6, 1), chunks=(31, 4, 6, 1), compression="gzip"), "'0' has 0 of its 1 chunks"),
        (
            dict(shape=(31, 4, 6, 1), chunks=(31, 4000, 4000, 1), maxshape=(31, 4000, 4000, 1), compression="lzf"),
            r"'0' is compressed in chunks of \(31, 4000, 4000, 1\), 496,000,000 bytes. "
            "Use chunks of at most 16,777,216",
        ),
        (dict(data=FRAMES, scaleoffset=0), r"'0' is compressed with the filters \[6\]. Use gzip, lzf or no"),
    ],
)
def test_a_video_is_no_larger_than_its_file(tmp_path, options, message):
    path = stored(tmp_path / "some.hdf5", **{"dtype": "uint8", "data": None, **options})
    with pytest.raises(ValueError, match=message):
        windows(path)


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(chunks=(2, 4, 6, 1)),
        dict(compression="gzip"),
        dict(compression="gzip", shuffle=True, fletcher32=True, chunks=(2, 3, 6, 1)),
        dict(compression="lzf", shuffle=True, fletcher32=True, chunks=(2, 3, 6, 1)),
        dict(compression="gzip", chunks=(500, 64, 80, 1), maxshape=(None, 64, 80, 1)),
    ],
)
def test_compressed_videos_are_read(tmp_path, options):
    for name, frames in (("some", FRAMES), ("black", 0 * FRAMES)):
        store = VideoStore(stored(tmp_path / f"{name}.hdf5", **{**options, "data": frames}))
        out = np.empty((3, 4, 6, 1), "uint8")
        store.read(0, slice(1, 7, 2), slice(0, 4), slice(0, 6), out)
        np.testing.assert_array_equal(out, frames[1:7:2])


def test_a_chunk_decompresses_to_no_more_than_it_should(tmp_path):
    path = stored(tmp_path / "some.hdf5", compression="gzip", chunks=SHAPE)
    with h5py.File(path, "r+") as file:
        file["0"].id.write_direct_chunk((0, 0, 0, 0), zlib.compress(bytes(10_000)))
    with pytest.raises(BadStoreError, match="a chunk of '0'.* decompresses to more than the 168 bytes"):
        next(iter(windows(path)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            dict(format=None),
            "has no attribute 'format'. A prepared file has all of the attributes format, videos, frames, sou",
        ),
        (dict(videos=None), "has no attribute 'videos'"),
        (dict(source_videos=None), "has no attribute 'source_videos'"),
        (dict(videos="one"), "has the attribute videos as object .*. Expected an integer"),
        (dict(frames=[7, 7]), r"has the attribute frames as int64 \(2,\). Expected an integer"),
        (dict(frames=7.0), r"has the attribute frames as float64 \(\). Expected an integer"),
        (dict(frames=h5py.Empty("int64")), "has the attribute frames as int64 None. Expected an integer"),
        (dict(format=3), "has the attribute format as int64 .*. Expected a string"),
        (dict(format="junk"), "has the attribute format=.junk.. Expected JSON with a .protocol"),
        (dict(format="[" * 100_000), r"Expected JSON with a .protocol"),
        (dict(format='["protocol"]'), "Expected JSON with a .protocol"),
        (dict(format='{"protocol": 3}'), "Expected JSON with a .protocol"),
        (dict(format="{}"), "Expected JSON with a .protocol"),
        (dict(videos=2, frames=9), "holds 1 videos and 7 frames. When it was written, it had 2 and 9. Prepare it"),
    ],
)
def test_attributes_are_checked(tmp_path, changed, message):
    attributes = {name: value for name, value in {**ATTRIBUTES, **changed}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        windows(stored(tmp_path / "some.hdf5", attributes))


def test_a_prepared_file_without_attributes_is_rejected(tmp_path):
    path = stored(tmp_path / "some.hdf5")
    with h5py.File(path, "r+") as file:
        file["0"].attrs["source_mtime_ns"] = 1
    with pytest.raises(ValueError, match="has no attribute 'format'"):
        windows(path)


def test_a_store_that_disappears(tmp_path):
    for i, (happens, message) in enumerate(
        (
            (
                lambda path: stored(path, data=FRAMES[:6]),
                r"'0' cannot be read .its shape was \(7, 4, 6, 1\) and is now \(6, 4, 6",
            ),
            (lambda path: path.write_bytes(b"junk"), "'0' cannot be read .*but could be when the file was opened"),
            (
                pathlib.Path.unlink,
                "'0' cannot be read .*No such file.*, but could be when the file was opened. Restore the file",
            ),
        )
    ):
        path = stored(tmp_path / f"{i}.hdf5")
        data = windows(path)
        happens(path)
        with pytest.raises(BadStoreError, match=message):
            next(iter(data))


def error_of(path) -> str:
    try:
        store = VideoStore(path)
        for video, (frames, height, width, *_) in enumerate(store.shapes):
            out = np.empty((min(frames, 100), *store.frame_shape), "uint8")
            store.read(video, slice(0, len(out)), slice(0, height), slice(0, width), out)
    except BadStoreError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("options", [dict(), dict(compression="gzip", chunks=(2, 4, 6, 1))])
def test_damage_anywhere_raises_a_clear_error(tmp_path, options):
    whole = stored(tmp_path / "whole.hdf5", ATTRIBUTES, **options).read_bytes()
    # HDF5 1.14 itself loops forever if the lengths of strings, which are stored here, are damaged.
    strings = range(whole.index(b"GCOL"), whole.index(b"GCOL") + 4096)
    generator = np.random.default_rng(0)
    errors = []
    for place in range(0, len(whole), 7):
        if any(whole[place - 4 : place + 4]) and place not in strings:
            damaged = bytearray(whole)
            damaged[place] ^= generator.integers(1, 256)
            path = tmp_path / f"{place}.hdf5"
            path.write_bytes(damaged)
            errors.append(error_of(path))
    assert sum(".hdf5" in error for error in errors) > 20
