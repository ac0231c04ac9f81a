import itertools

import cv2
import numpy as np
import pytest

from keras_frnn import datasets
from keras_frnn.datasets.picture_folder import INCLUDED, load_pictures, picture_files

pytestmark = pytest.mark.once


def sequences(dataset, batches=1):
    """Context and future joined, `(sequences, time, height, width, channels)`."""
    return np.concatenate([np.concatenate(pair, axis=1) for pair in itertools.islice(dataset, batches)])


def small(split="train", **arguments):
    return datasets.moving_pictures(split, **{"batch_size": 6, "size": 16, "context": 3, "horizon": 2, **arguments})


@pytest.fixture(scope="module")
def smooth(tmp_path_factory):
    """A folder of pictures in which nothing changes faster than interpolation can follow."""
    folder = tmp_path_factory.mktemp("smooth")
    generator = np.random.default_rng(0)
    for index in range(6):
        picture = cv2.GaussianBlur(generator.normal(0, 1, (660, 700, 3)), (0, 0), 16)
        picture = (picture - picture.min()) / (picture.max() - picture.min()) * 255
        cv2.imwrite(str(folder / f"{index}.png"), picture.astype("uint8"))
    return folder


@pytest.mark.parametrize(("color", "channels"), [(True, 3), (False, 1)])
def test_shapes_and_values(color, channels):
    context, future = next(iter(small(color=color, batch_size=20)))
    assert context.shape == (20, 3, 16, 16, channels)
    assert future.shape == (20, 2, 16, 16, channels)
    frames = np.concatenate([context, future], axis=1)
    assert frames.dtype == "float32"
    assert -1 <= frames.min() < -0.5
    assert 0.5 < frames.max() <= 1


def test_a_sequence_depends_only_on_seed_split_and_number():
    first = sequences(small())
    np.testing.assert_array_equal(sequences(small(batch_size=2), 3), first)
    np.testing.assert_array_equal(sequences(small(batch_size=4, start=2)), first[2:])
    shards = [sequences(small(batch_size=3, num_shards=2, shard_index=index)) for index in range(2)]
    np.testing.assert_array_equal(np.stack(shards, axis=1).reshape(first.shape), first)
    for other in (small(seed=1), small("test"), small(start=6)):
        assert not np.array_equal(sequences(other), first)
    assert len(np.unique(first, axis=0)) == 6


def test_a_longer_sequence_begins_with_the_shorter_one():
    for short, long in ((2, 4), (2, 40)):
        one, other = (sequences(small(horizon=horizon, batch_size=20)) for horizon in (short, long))
        np.testing.assert_array_equal(one, other[:, : 3 + short])


def test_training_is_endless_and_the_test_split_is_not():
    with pytest.raises(TypeError):
        len(small(format="keras"))
    assert len(small("test", format="keras", batch_size=100)) == 100
    assert sum(len(context) for context, _ in small("test", sequences=10)) == 10


def test_included_pictures_are_small_split_and_described():
    train, test = (picture_files(split) for split in ("train", "test"))
    assert len(train) == 9
    assert len(test) == 4
    assert not {path.name for path in train} & {path.name for path in test}
    assert sum(path.stat().st_size for path in train + test) < 1.5e6
    described = INCLUDED.with_name("moving_pictures.md").read_text()
    for path in train + test:
        (row,) = (line for line in described.splitlines() if f"| {path.parent.name}/{path.stem} |" in line)
        assert row.split("|")[4].strip() in ("CC0", "CC BY 2.0", "public domain")


def test_sequences_show_the_pictures_of_their_split(tmp_path):
    """Single colors show which picture is where."""
    for split, color in (("train", (0, 0, 200)), ("test", (200, 0, 0))):
        (tmp_path / split).mkdir()
        cv2.imwrite(str(tmp_path / split / "one.png"), np.full((60, 60, 3), color, "uint8"))
    for split, shown in (("train", 0), ("test", 2)):
        frames = sequences(small(split, pictures=tmp_path, noise=0, batch_size=20))
        colored = frames[np.ptp(frames, axis=(1, 2, 3, 4)) > 0.5]  # Without the gray ones.
        assert len(colored) > 10
        assert (np.argmax(colored, axis=-1) == shown).all()


def test_a_folder_without_splits_is_split_by_name(tmp_path):
    (tmp_path / "more").mkdir()
    for index in range(10):
        folder = tmp_path / "more" if index % 2 else tmp_path
        cv2.imwrite(str(folder / f"{index}.png"), np.full((40, 50), 20 * index, "uint8"))
    (tmp_path / "notes.txt").write_text("no picture")
    train, test = (picture_files(split, tmp_path) for split in ("train", "test"))
    assert len(train) == 8
    assert len(test) == 2
    assert sorted(int(path.stem) for path in train + test) == list(range(10))


def test_sizes_show_the_same_motion(smooth):
    arguments = dict(pictures=smooth, noise=0, batch_size=12, context=5, horizon=5, format="keras")
    one, other = (datasets.moving_pictures("test", size=size, **arguments) for size in (32, 64))
    for number in range(12):
        for small, large in zip(one.make.planes(number), other.make.planes(number), strict=True):
            np.testing.assert_allclose(2 * (small.places + 0.5), large.places + 0.5)
            np.testing.assert_array_equal(small.turns, large.turns)
    shrunk = sequences(other).reshape(12, 10, 32, 2, 32, 2, 3).mean((3, 5))
    assert np.abs(shrunk - sequences(one)).mean() * 127.5 < 3


def test_cameras_and_pieces_move_as_described():
    data = datasets.moving_pictures("train", batch_size=1, format="keras")
    scenes = [data.make.planes(number) for number in range(600)]
    pieces = np.bincount([len(planes) - 1 for planes in scenes], minlength=4) / 600
    np.testing.assert_allclose(pieces, [0.3, 0.35, 0.25, 0.1], atol=0.06)
    cameras = np.array([planes[0].places for planes in scenes])
    still = (np.ptp(cameras, axis=1) == 0).all(axis=1)
    assert abs(still.mean() - 0.45) < 0.06
    speed = np.hypot(*np.diff(cameras[~still], axis=1).T).mean()
    assert 0.3 < speed < 1.5
    # Pieces cross the frame: nearly all of them are in it at some time.
    places = np.array([plane.places for planes in scenes for plane in planes[1:]])
    assert ((places > 0) & (places < 64)).all(axis=2).any(axis=1).mean() > 0.9


def test_noise_is_as_strong_as_asked():
    quiet, loud = (sequences(small(batch_size=100, noise=noise)) * 127.5 for noise in (0, 5))
    deviations = (loud - quiet).std(axis=(1, 2, 3, 4))
    assert abs((deviations > 0.5).mean() - 0.55) < 0.12  # Three in five have noise, some of them little.
    assert 4 < deviations.max() < 5.2


def test_true_flow_leads_to_the_next_frame(smooth):
    """Frame t + 1, warped back by the flow, is frame t where the same plane is in front."""
    data = datasets.moving_pictures("train", smooth, batch_size=30, noise=0, flow=True, format="keras")
    frames, flow = data[0]
    assert frames.shape == (30, 20, 64, 64, 3)
    assert flow.shape == (30, 19, 64, 64, 2)
    assert flow.dtype == "float32"
    levels = (frames + 1) * 127.5
    pixels = np.stack(np.meshgrid(np.arange(64), np.arange(64)), axis=-1).astype("float32")
    errors, changes = [], []
    for number in range(30):
        front = data.make.draw(data.make.planes(number), np.empty((20, 64, 64, 3), "uint8"))
        for t, moved in enumerate(pixels + flow[number]):
            back = cv2.remap(levels[number, t + 1], moved, None, cv2.INTER_LINEAR)
            # Soft edges mix planes, so pixels around are compared, too.
            around = [np.roll(front[t], shift, (0, 1)) for shift in itertools.product((-1, 0, 1), repeat=2)]
            for corner in itertools.product((-1, 0, 1, 2), repeat=2):
                places = np.floor(moved) + np.float32(corner)
                around.append(cv2.remap(front[t + 1], places, None, cv2.INTER_NEAREST, borderValue=9))
            seen = np.all([plane == front[t] for plane in around], axis=0)
            errors.append(np.abs(back - levels[number, t])[seen].max(axis=-1))
            changes.append(np.abs(levels[number, t + 1] - levels[number, t])[seen].max(axis=-1))
    errors, changes = np.concatenate(errors), np.concatenate(changes)
    assert len(errors) > 0.7 * 30 * 19 * 64**2
    assert np.mean(changes) > 1
    assert np.mean(errors) < 0.4
    assert np.quantile(errors, 0.999) < 3


def test_flow_of_a_camera_is_the_shift_of_the_picture(smooth):
    """First to the right, then down; of a camera that only moves, everywhere the same."""
    data = datasets.moving_pictures("train", smooth, batch_size=200, noise=0, flow=True, size=16, format="keras")
    _, flow = data[0]
    for number in range(200):
        (background, *pieces) = data.make.planes(number)
        if not pieces and np.ptp(background.turns, axis=0).max() == 0:
            shift = np.diff(background.places, axis=0)
            np.testing.assert_allclose(
                flow[number], np.broadcast_to(shift[:, None, None], flow[number].shape), atol=1e-5
            )
            if np.abs(shift).max() > 0.1:
                return
    pytest.fail("No camera only moves.")


class TestFaults:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"split": "validation"}, "'train' or 'test'. Received: split='validation'"),
            ({"batch_size": 0}, "`batch_size` must be a positive integer"),
            ({"size": 1.5}, "`size` must be a positive integer"),
            ({"noise": -1}, "`noise` must be 0 or more. Received: noise=-1"),
            ({"noise": None}, "`noise` must be a finite number"),
            ({"start": -1}, "`start` must be an integer of 0 or more"),
            ({"size": 200}, r"pictures of at least 385x385. Received: 300x451 .* pass a smaller `size`"),
        ],
    )
    def test_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            datasets.moving_pictures(**{"split": "train", **arguments})

    def test_no_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="must be a folder of pictures. Received: pictures='.*missing'"):
            datasets.moving_pictures("train", tmp_path / "missing")

    def test_too_few_pictures(self, tmp_path):
        with pytest.raises(
            ValueError, match=r"must hold at least 2 pictures \(.jpeg, .jpg, .png, .webp\). Received: 0"
        ):
            datasets.moving_pictures("train", tmp_path)
        for split in ("train", "test"):
            (tmp_path / split).mkdir()
        with pytest.raises(ValueError, match="test must hold at least 1 picture "):
            datasets.moving_pictures("test", tmp_path)

    @pytest.mark.parametrize("content", [b"", b"no picture"])
    def test_unreadable_picture(self, tmp_path, content):
        for name in ("a.jpg", "b.jpg"):
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=r"\.jpg is not a readable picture .*Replace or remove it."):
            datasets.moving_pictures("train", tmp_path)

    def test_truncated_picture(self, tmp_path):
        whole = (INCLUDED / "train" / "chelsea.jpg").read_bytes()
        (tmp_path / "a.jpg").write_bytes(whole[:20])
        with pytest.raises(ValueError, match="not a readable picture"):
            load_pictures([tmp_path / "a.jpg"], 16, True)
