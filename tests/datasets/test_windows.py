"""Windows of stored videos: their number, order and contents."""

import itertools
import os

import h5py
import numpy as np
import pytest

from keras_frnn import datasets
from keras_frnn.datasets.stateless import permuted

pytestmark = pytest.mark.once

LENGTHS = (9, 3, 6, 12, 5)
# The first windows of two epochs of 1,000.
PINNED = [[471, 254, 424, 289], [992, 656, 91, 903]]
SMALL = dict(context=2, horizon=2, batch_size=5)


def video(number: int, frames: int, height=4, width=6, channels=3) -> np.ndarray:
    """Every pixel encodes its video, frame and column."""
    values = 40 * number + 3 * np.arange(frames)[:, None, None, None] + 0 * np.arange(height)[:, None, None]
    return (values + np.arange(width)[:, None] + np.zeros(channels)).astype("uint8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as the authors' scripts write it: string keys, no attributes."""
    folder = tmp_path_factory.mktemp("store")
    for split in ("train", "test"):
        with h5py.File(folder / f"{split}.hdf5", "w") as file:
            for number, frames in enumerate(LENGTHS):
                file[str(number)] = video(number, frames)
    return folder


def pixels(data, batches: int | None = None) -> np.ndarray:
    """The windows of some batches as uint8 `(windows, frames, height, width, channels)`."""
    joined = [np.concatenate([context, future], axis=1) for context, future in itertools.islice(data, batches)]
    return np.rint((np.concatenate(joined) + 1) * 127.5).astype("uint8")


def all_windows(step=1, frames=4, top=0, left=0, height=4, width=6) -> np.ndarray:
    span = (frames - 1) * step + 1
    windows = [
        video(number, length)[first : first + span : step, top : top + height, left : left + width]
        for number, length in enumerate(LENGTHS)
        for first in range(length - span + 1)
    ]
    return np.array(windows)


def epoch(folder, number, **options):
    count = len(all_windows())
    options = {**SMALL, "batch_size": 1, "start": number * count, **options}
    return pixels(datasets.video_folder(folder, "train", **options), count)


def as_set(windows):
    return {window.tobytes() for window in windows}


@pytest.mark.parametrize("step", [1, 2])
def test_testing_shows_every_window_once_in_order(folder, step):
    data = datasets.video_folder(folder, "test", frame_step=step, **SMALL)
    expected = all_windows(step)
    assert len(data) == -(-len(expected) // 5) == len(list(data))
    np.testing.assert_array_equal(pixels(data), expected)
    np.testing.assert_array_equal(
        pixels(datasets.video_folder(folder, "test", frame_step=step, start=7, **SMALL)), expected[7:]
    )


def test_values_are_in_minus_one_to_one(folder):
    context, future = next(iter(datasets.video_folder(folder, "test", **SMALL)))
    assert context.dtype == future.dtype == "float32"
    np.testing.assert_array_equal(context[0], video(0, 9)[:2] / np.float32(127.5) - 1)
    np.testing.assert_array_equal(future[0], video(0, 9)[2:4] / np.float32(127.5) - 1)


def test_numpy_integers_are_accepted(folder):
    options = dict(context=2, horizon=2, batch_size=2, seed=3, start=4, num_shards=3, shard_index=1, frame_step=2)
    expected = pixels(datasets.video_folder(folder, "train", **options), 2)
    for dtype in ("int64", "uint8"):
        theirs = {name: np.dtype(dtype).type(value) for name, value in options.items()}
        np.testing.assert_array_equal(pixels(datasets.video_folder(folder, "train", **theirs), 2), expected)


def test_windows_are_logged(folder, capsys, caplog):
    caplog.set_level("INFO", "absl")
    datasets.video_folder(folder, "test", **SMALL)
    count = len(all_windows())
    logged = f"all of {count} windows of 2 + 2 frames, frame step 1, 4x6x3, from 4 videos (1 too short, skipped)"
    assert logged in caplog.text
    assert not capsys.readouterr().out


def test_training_shows_every_window_once_an_epoch(folder):
    first, second = epoch(folder, 0), epoch(folder, 1)
    assert as_set(first) == as_set(second) == as_set(all_windows())
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, all_windows())
    np.testing.assert_array_equal(first, epoch(folder, 0))
    assert not np.array_equal(first, epoch(folder, 0, seed=1))


def test_training_resumes_at_any_step(folder):
    options = dict(**SMALL, crop=(2, 3), seed=3)
    whole = list(itertools.islice(datasets.video_folder(folder, "train", **options), 9))
    rest = list(itertools.islice(datasets.video_folder(folder, "train", start=4 * 5, **options), 5))
    for (context, future), (its_context, its_future) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(context, its_context)
        np.testing.assert_array_equal(future, its_future)


@pytest.mark.parametrize("split", ["train", "test"])
def test_workers_share_the_order(folder, split):
    options = dict(context=2, horizon=2, seed=2, crop=(2, 3))
    one = pixels(datasets.video_folder(folder, split, batch_size=6, **options), 7)
    shards = [
        pixels(
            datasets.video_folder(folder, split, batch_size=2, num_shards=3, shard_index=i, **options),
            7 if split == "train" else 99,
        )
        for i in range(3)
    ]
    together = np.empty_like(one)
    for i, shard in enumerate(shards):
        together[i::3] = shard
    np.testing.assert_array_equal(together, one)
    starting = pixels(
        datasets.video_folder(folder, split, batch_size=2, num_shards=3, shard_index=1, start=4, **options), 1
    )
    np.testing.assert_array_equal(starting, shards[1][4:6])


def test_mirroring_and_crops_are_drawn_for_each_window(folder):
    data = datasets.video_folder(folder, "train", context=2, horizon=2, batch_size=50, crop=(4, 4), mirror=True)
    windows = pixels(data, 40).astype(int)
    slopes = windows[:, 0, 0, 1, 0] - windows[:, 0, 0, 0, 0]
    assert set(slopes) == {1, -1}
    assert 0.45 < (slopes == -1).mean() < 0.55
    corners = windows[:, 0].min(axis=(1, 2, 3)) % 40 % 3  # Frames increase in steps of three.
    assert [(corners == corner).mean() > 0.25 for corner in range(3)] == [True] * 3
    # One crop and one direction for the whole window.
    steps = np.diff(windows, axis=1)
    assert (steps == 3).all()


def test_only_the_protocols_mirror(tmp_path):
    for name, shape in (("kth", (64, 80, 1)), ("ucf101", (64, 85, 3))):
        with h5py.File(tmp_path / f"{name}_train.hdf5", "w") as file:
            file["0"] = video(0, 40, *shape)
    options = dict(batch_size=30, horizon=2, context=2)
    for data, expected in (
        (datasets.kth(tmp_path, "train", **options), {1, -1}),
        (datasets.ucf101(tmp_path, "train", **options), {1, -1}),
        (datasets.video_folder(tmp_path / "kth_train.hdf5", "train", **options), {1}),
        (datasets.from_arrays(video(0, 40)[None], "train", **options), {1}),
    ):
        windows = pixels(data, 1).astype(int)
        assert set(windows[:, 0, 0, 1, 0] - windows[:, 0, 0, 0, 0]) == expected


def test_crops_are_central_in_testing(folder):
    data = datasets.video_folder(folder, "test", crop=(2, 2), **SMALL)
    np.testing.assert_array_equal(pixels(data), all_windows(top=1, left=2, height=2, width=2))


def test_sequences_for_testing_are_seeded(folder):
    some = pixels(datasets.video_folder(folder, "test", sequences=8, **SMALL))
    assert len(as_set(some)) == 8
    assert as_set(some) < as_set(all_windows())
    np.testing.assert_array_equal(some, pixels(datasets.video_folder(folder, "test", sequences=8, **SMALL)))
    others = pixels(datasets.video_folder(folder, "test", sequences=8, seed=1, **SMALL))
    assert as_set(some) != as_set(others)
    assert len(pixels(datasets.video_folder(folder, "test", sequences=10**6, **SMALL))) == len(all_windows())


@pytest.mark.parametrize("count", [1, 2, 3, 10, 1000])
def test_permutation(count):
    order = permuted(np.arange(3 * count), 7, count).reshape(3, count)
    assert (np.sort(order, axis=1) == np.arange(count)).all()
    if count == 1000:
        # Recorded, so that a training resumed under another version of NumPy continues in the same order.
        assert order[:2, :4].tolist() == PINNED
        assert abs(np.corrcoef(order[0], np.arange(count))[0, 1]) < 0.1
        assert abs(np.corrcoef(order[0], order[1])[0, 1]) < 0.1


def test_gray_videos_without_channels(tmp_path):
    with h5py.File(tmp_path / "some.h5", "w") as file:
        file["0"] = video(1, 6, channels=1)[..., 0]
    windows = pixels(datasets.video_folder(tmp_path / "some.h5", "test", **SMALL))
    np.testing.assert_array_equal(windows[1], video(1, 6, channels=1)[1:5])


def test_authors_files(tmp_path, caplog):
    caplog.set_level("INFO", "absl")
    generator = np.random.default_rng(0)
    for name, shape in (("kth_test", (25, 64, 80, 1)), ("ucf101_test", (45, 64, 85, 3))):
        with h5py.File(tmp_path / f"{name}.hdf5", "w") as file:
            for i in range(11):
                file[str(i)] = np.full(shape, i, "uint8") if i else generator.integers(0, 256, shape, dtype="uint8")
    kth = pixels(datasets.kth(tmp_path, "test"))
    assert kth.shape == (11 * 6, 20, 64, 80, 1)
    assert kth[::6, 0, 0, 0, 0].tolist()[1:] == [1, 10, 2, 3, 4, 5, 6, 7, 8, 9]
    ucf101 = pixels(datasets.ucf101(tmp_path, "test"))
    with h5py.File(tmp_path / "ucf101_test.hdf5") as file:
        np.testing.assert_array_equal(ucf101[4], file["0"][4:43:2, :, 2:82])
    assert ucf101.shape == (11 * 7, 20, 64, 80, 3)
    assert "KTH, protocol 'paper'\n" in caplog.text
    datasets.kth(tmp_path, "test", frame_step=2, horizon=3)
    assert "KTH, protocol 'paper', but frame_step=2, but horizon=3" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(split="val"), "`split` must be 'train' or 'test'. Received: split='val'"),
        (dict(batch_size=0), "`batch_size` must be a positive integer"),
        (dict(frame_step=1.5), "`frame_step` must be a positive integer"),
        (dict(sequences=3), "`sequences` is for testing"),
        (dict(split="test", sequences=0), "`sequences` must be a positive integer"),
        (dict(start=-1), "`start` must be an integer of 0 or more. Received: start=-1"),
        (dict(start=True), "`start` must be an integer of 0 or more. Received: start=True"),
        (dict(seed=1.5), "`seed` must be an integer. Received: seed=1.5"),
        (dict(num_shards=2, shard_index=2), "`shard_index` must be an integer from 0 to 1. Received: shard_index=2"),
        (dict(crop=(5, 6)), r"frames of 4x6 \(height x width\), too small for the crop. Received: crop=\(5, 6\)"),
        (dict(context=30), "no video of 32 frames.*the longest has 12. Pass a smaller `context`"),
        (dict(reader="pandas"), "`reader` must be one of"),
    ],
)
def test_arguments_are_checked(folder, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.video_folder(folder, **{"split": "train", **SMALL, **arguments})


def test_files_are_checked(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"train.hdf5 or .*kth_train.hdf5. Create it with .*prepare_kth"):
        datasets.kth(tmp_path, "train")
    with pytest.raises(FileNotFoundError, match=r"There is no file .*nowhere. .*prepare_videos"):
        datasets.video_folder(tmp_path / "nowhere", "train")
    path = tmp_path / "train.hdf5"
    path.write_text("not HDF5")
    with pytest.raises(ValueError, match="is not a readable HDF5 file"):
        datasets.video_folder(path, "train")
    for content, message in (
        ({"0": np.zeros((5, 4, 4, 3), "float32")}, r"'0' is float32 \(5, 4, 4, 3\). Expected a uint8 dataset"),
        ({"0": np.zeros((5, 4), "uint8")}, r"'0' is uint8 \(5, 4\)"),
        ({"a": np.zeros((9, 4, 4, 3), "uint8"), "b": np.zeros((9, 4, 5, 3), "uint8")}, "several frame sizes"),
        ({"group/0": np.zeros((5, 4, 4), "uint8")}, "'group' is a group"),
        ({}, "holds no video"),
    ):
        with h5py.File(path, "w") as file:
            for key, value in content.items():
                file[key] = value
        with pytest.raises(ValueError, match=message):
            datasets.video_folder(path, "train", **SMALL)
    with pytest.raises(ValueError, match=r"has frames \(4, 6, 3\). Expected KTH's: \(64, 80, 1\)"):
        datasets.kth(folder, "train")
    with pytest.raises(ValueError, match=r"KTH has the protocols paper. Received: protocol='mcnet'"):
        datasets.kth(folder, "train", protocol="mcnet")


def test_each_process_has_its_own_handle(folder):
    from keras_frnn.datasets.video_files.video_store import VideoStore

    store = VideoStore(folder / "test.hdf5")
    out = np.empty((4, 4, 6, 3), "uint8")
    store.read(3, slice(0, 4), slice(0, 4), slice(0, 6), out)
    first = store._open[os.getpid()]
    store.read(0, slice(0, 4), slice(0, 4), slice(0, 6), out)
    assert store._open == {os.getpid(): first}
    store._open = {-1: first}  # As after a fork.
    store.read(3, slice(2, 6), slice(0, 4), slice(0, 6), out)
    np.testing.assert_array_equal(out, video(3, 12)[2:6])
    assert store._open[os.getpid()] is not first


@pytest.mark.parametrize("layout", ["BTHWC", "TBHWC", "BTCHW", "CWHTB"])
def test_arrays_of_any_layout(layout):
    frames = np.stack([video(number, 7) for number in range(3)])
    expected = np.array([video(number, 7)[first : first + 4] for number in range(3) for first in range(4)])
    array = np.transpose(frames, ["BTHWC".index(letter) for letter in layout])
    np.testing.assert_array_equal(pixels(datasets.from_arrays(array, layout=layout, **SMALL)), expected)
    floats = array.astype("float32") / 127.5 - 1
    np.testing.assert_array_equal(pixels(datasets.from_arrays(floats, layout=layout, **SMALL)), expected)
    unit = array / 255
    np.testing.assert_array_equal(
        pixels(datasets.from_arrays(unit, layout=layout, value_range=(0, 1), **SMALL)), expected
    )
    train = pixels(datasets.from_arrays(array, "train", layout=layout, **SMALL), 12)
    assert as_set(train) == as_set(expected)


def test_one_gray_video():
    frames = video(0, 5, channels=1)[..., 0]
    windows = pixels(datasets.from_arrays(frames, layout="THW", **SMALL))
    np.testing.assert_array_equal(windows[..., 0], [frames[:4], frames[1:]])


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_videos_of_unequal_length_and_any_channels(dtype):
    rng = np.random.default_rng(0)
    videos = [rng.integers(0, 256, (length, 8, 8, 5)).astype("uint8") for length in (5, 3, 4, 9)]
    expected = np.array([video[first : first + 4] for video in videos for first in range(len(video) - 3)])
    assert len(expected) == 2 + 0 + 1 + 6
    given = videos if dtype == "uint8" else [video.astype("float32") / 127.5 - 1 for video in videos]
    np.testing.assert_array_equal(pixels(datasets.from_arrays(given, **SMALL)), expected)
    columns_first = [np.moveaxis(video, 2, 0) for video in given]
    np.testing.assert_array_equal(pixels(datasets.from_arrays(columns_first, layout="WTHC", **SMALL)), expected)
    mirrored = as_set(pixels(datasets.from_arrays(given, "train", mirror=True, **SMALL), 90))
    assert mirrored == as_set(expected) | as_set(expected[..., ::-1, :])


def test_nested_lists_are_an_array():
    frames = video(0, 5, channels=1)[..., 0]
    windows = pixels(datasets.from_arrays((frames / 127.5 - 1).tolist(), layout="THW", **SMALL))
    np.testing.assert_array_equal(windows[..., 0], [frames[:4], frames[1:]])


@pytest.mark.parametrize(
    ("frames", "arguments", "message"),
    [
        (np.zeros((2, 9, 4, 4), "uint8"), {}, "The rank is wrong: layout 'BTHWC' has 5 axes"),
        (np.zeros((2, 9, 3, 8, 8), "uint8"), {}, "The layout is wrong: in 'BTHWC', axis 4 is the channels, of which"),
        (np.zeros((2, 9, 4, 4, 1), "int64"), {}, "The dtype must be uint8 or floating. Received: frames.dtype=int64"),
        (np.ones((2, 9, 4, 4, 1), "float32"), {}, r"The range is wrong: float frames must be in \[-1, 1\]"),
        (np.full((2, 9, 4, 4, 1), -3.0), {}, r"The range is wrong: frames must be in \[-1, 1\]"),
        (np.full((2, 9, 4, 4, 1), np.nan), {}, "The range is wrong"),
        (np.ones((2, 9, 4, 4, 1), "uint8"), {}, "The range is wrong: white is 255 in uint8 frames"),
        (np.zeros((2, 9, 4, 4, 1)), dict(value_range=(1, 0)), "`value_range` must be .black, white., black < white"),
        (np.zeros((2, 9, 4, 4, 1)), dict(value_range=3), "`value_range` must be"),
        (np.zeros((2, 9, 4, 4, 1), "uint8"), dict(layout="BTHHC"), "`layout` must name each axis by one letter"),
        (np.zeros((2, 9, 4, 4), "uint8"), dict(layout="BTHC"), "`layout` must name each axis by one letter"),
        (np.zeros((0, 9, 4, 4, 1), "uint8"), {}, "The array is empty"),
        (np.zeros((2, 3, 4, 4, 1), "uint8"), {}, r"array \(2 videos\) has no video of 4 frames"),
        ([], {}, "Expected at least one video. Received: an empty list"),
        ([np.zeros((9, 4, 4, 1)), np.zeros((9, 4, 8, 1))], {}, "differ only in length.*4x4x1 float32, 4x8x1 float32"),
        ([np.zeros((9, 4, 4, 1)), np.zeros((9, 4, 4, 1), "uint8")], {}, "differ only in length"),
        ([np.zeros((9, 4, 4, 1)), np.full((9, 4, 4, 1), np.nan)], {}, "The range is wrong"),
        ([np.zeros((9, 4, 4, 1)), np.zeros((9, 4, 4))], {}, "The rank is wrong: layout 'THWC' has 4 axes"),
    ],
)
def test_arrays_are_checked(frames, arguments, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_arrays(frames, **{**SMALL, **arguments})


def test_tfio_reader_names_the_versions_that_work(folder):
    with pytest.raises(
        ImportError, match=r"tensorflow-io 0.37.1 with TensorFlow 2.16.*reader='h5py' reads the same files"
    ):
        datasets.video_folder(folder, "test", reader="tfio", **SMALL)


class TestHeldOut:
    """Training videos that are held out for validation."""

    def write(self, folder, lengths: dict[str, int]):
        folder.mkdir(exist_ok=True)
        for split in ("train", "test"):
            with h5py.File(folder / f"{split}.hdf5", "w") as file:
                for number, (name, length) in enumerate(lengths.items()):
                    frames = np.empty((length, 4, 4, 1), "uint8")
                    frames[...] = 10 * number + np.arange(length)[:, None, None, None]
                    file[name] = frames
        return folder

    def shades(self, folder, split, batches=40, **options) -> set[int]:
        """The gray levels of all frames."""
        data = datasets.video_folder(
            folder, split, batch_size=1, context=1, horizon=1, format="keras", **({"held_out": 0.2} | options)
        )
        frames = [np.concatenate(pair, 1) for pair in itertools.islice(data, batches)]
        return set(np.unique((np.concatenate(frames) + 1) * 127.5).round().astype(int).tolist())

    def test_videos_are_drawn_by_name(self, tmp_path):
        names = [f"video{number}" for number in range(10)]
        folder = self.write(tmp_path / "ten", dict.fromkeys(names, 3))
        train, validation = (self.shades(folder, split) for split in ("train", "validation"))
        assert not train & validation
        assert (len(train), len(validation)) == (24, 6)
        assert self.shades(folder, "train", seed=1) == train
        assert self.shades(folder, "test") == self.shades(folder, "train", held_out=0.0) == train | validation
        # In another order, and with other frames, the same videos are held out.
        other = self.write(tmp_path / "other", dict.fromkeys(names[::-1], 4))
        shades = self.shades(other, "validation")
        assert {9 - shade // 10 for shade in shades} == {shade // 10 for shade in validation}

    def test_neither_side_is_empty(self, tmp_path):
        folder = self.write(tmp_path / "two", {"a": 4, "b": 4, "short": 1})
        for fraction in (0.01, 0.99):
            parts = [self.shades(folder, split, held_out=fraction) for split in ("train", "validation")]
            assert sorted(map(len, parts)) == [4, 4]

    def test_of_one_video_the_last_frames_are_held_out(self, tmp_path):
        folder = self.write(tmp_path / "one", {"a": 10, "short": 1})
        assert self.shades(folder, "train") == set(range(8))
        assert self.shades(folder, "validation") == {8, 9}
        assert self.shades(folder, "train", held_out=0.99) == {0, 1}
        folder = self.write(tmp_path / "too_short", {"a": 3})
        for split in ("train", "validation"):
            with pytest.raises(ValueError, match="takes two videos of 2 frames, or one of 4, and its only video .* 3"):
                self.shades(folder, split)
        folder = self.write(tmp_path / "none", {"a": 1})
        with pytest.raises(ValueError, match="and it has no video with a window"):
            self.shades(folder, "train")

    def test_fractions(self, tmp_path):
        folder = self.write(tmp_path / "two", {"a": 4, "b": 4})
        for split, fraction in (("validation", 0.0), ("train", 1.0), ("train", -0.5)):
            with pytest.raises(ValueError, match=f"`held_out` must be a fraction .*held_out={fraction}"):
                datasets.video_folder(folder, split, held_out=fraction)
