"""Preparing video files: stored contents, errors, and interruptions."""

import contextlib
import hashlib
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import av
import cv2
import h5py
import numpy as np
import pytest
from clips import decoded, pixel_aspect, real_clips, write_clip, write_joined, write_kth, write_ucf101
from PIL import Image

from keras_frnn import datasets
from keras_frnn.datasets.video_files import decode_worker, decoder_pool, prepare
from keras_frnn.datasets.video_folder import _drawn
from keras_frnn.files import held

# Decoding does not involve Keras.
pytestmark = pytest.mark.once

# Spelled like the published lists, including HandStandPushups.
LISTS = {
    "trainlist01.txt": """ApplyEyeMakeup/v_ApplyEyeMakeup_g02_c01.avi 1
HandStandPushups/v_HandStandPushups_g02_c01.avi 2
""",
    "testlist01.txt": """ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi

HandStandPushups/v_HandStandPushups_g01_c01.avi""",
}


def pillow(frame: np.ndarray, size) -> np.ndarray:
    return np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)).astype(int)


def contents(folder: pathlib.Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in pathlib.Path(folder).iterdir()}


def stored(path) -> dict[str, tuple[np.ndarray, dict]]:
    """Frames and attributes by source."""
    with h5py.File(path) as file:
        return {dataset.attrs["source"]: (dataset[()], dict(dataset.attrs)) for dataset in file.values()}


@pytest.fixture(scope="module")
def kth_videos(tmp_path_factory):
    return write_kth(tmp_path_factory.mktemp("kth"))


@pytest.fixture(scope="module")
def ucf101_videos(tmp_path_factory):
    folder = write_ucf101(tmp_path_factory.mktemp("ucf101"), frames=20)
    for name, text in LISTS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def real_frames():
    return [
        cv2.resize(frame, (320, 240), interpolation=cv2.INTER_AREA)
        for path in real_clips()
        for frame in decoded(path)[::40]
    ]


@pytest.mark.parametrize("size", [(85, 64), (80, 64), (64, 64), (40, 32), (200, 150), (320, 240)])
def test_shrinking_is_close_to_pillows_antialiased_bilinear(real_frames, size):
    frames = real_frames + [frame[..., 0] for frame in real_frames]
    ours, area = [], []
    for frame in frames:
        expected = pillow(frame, size)
        ours.append(np.abs(decode_worker.shrink(frame, size[1], size[0]) - expected).mean())
        area.append(np.abs(cv2.resize(frame, size, interpolation=cv2.INTER_AREA) - expected).mean())
    assert np.mean(ours) < 1.1  # Out of 255.
    assert np.mean(ours) < np.mean(area) or size == (320, 240)


def test_kth(kth_videos, tmp_path, capsys):
    assert datasets.prepare_kth(kth_videos, tmp_path / "out") == {}
    train, test = stored(tmp_path / "out" / "train.hdf5"), stored(tmp_path / "out" / "test.hdf5")
    assert {name.split("/")[1][:8] for name in train} == {"person01", "person16"}
    assert {name.split("/")[1][:8] for name in test} == {"person17", "person25"}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["test.hdf5", "train.hdf5"]
    assert "8/8" in capsys.readouterr().out
    for i, (name, (frames, attributes)) in enumerate({**train, **test}.items()):
        source = decoded(kth_videos / name)
        assert frames.shape == (len(source), 64, 80, 1)
        assert attributes["frames"] == len(source)
        assert attributes["frame_rate"] == 25
        assert (attributes["label"], attributes["scenario"]) == (name.split("/")[0], "d1")
        assert f"person{attributes['person']:02d}" in name
        for t in (0, len(source) - 1):
            expected = pillow(cv2.cvtColor(source[t], cv2.COLOR_BGR2GRAY)[:, 5:-5], (80, 64))
            assert np.abs(frames[t, ..., 0] - expected).max() <= 3, (i, t)
    with h5py.File(tmp_path / "out" / "train.hdf5") as file:
        assert list(file) == ["00000", "00001", "00002", "00003"]


def test_ucf101_official_split_and_colors(ucf101_videos, tmp_path):
    datasets.prepare_ucf101(ucf101_videos, tmp_path / "out", "official-1", progress=False)
    train, test = stored(tmp_path / "out" / "train.hdf5"), stored(tmp_path / "out" / "test.hdf5")
    assert {(a["label"], a["group"], a["clip"]) for _, a in train.values()} == {
        ("ApplyEyeMakeup", 2, 1),
        ("HandstandPushups", 2, 1),
    }
    assert {(a["label"], a["group"], a["clip"]) for _, a in test.values()} == {
        ("ApplyEyeMakeup", 1, 1),
        ("HandstandPushups", 1, 1),
    }
    for name, (frames, _) in test.items():
        source = decoded(ucf101_videos / name)[..., ::-1]
        assert frames.shape == (len(source), 64, 85, 3)
        assert np.abs(frames[3] - pillow(source[3], (85, 64))).max() <= 4


def test_ucf101_paper_split_is_seeded_and_three_to_one(tmp_path):
    from keras_frnn.datasets.ucf101 import _paper_split

    labels = {f"v_a_g{g:02d}_c{c:02d}": "a" for g in range(1, 26) for c in range(1, 5)} | {"v_b_g01_c01": "b"}
    sides = _paper_split(labels, 0)
    assert sum(sides[clip] == "train" for clip in labels if labels[clip] == "a") == 75
    assert sides["v_b_g01_c01"] == "train"
    assert sides == _paper_split(dict(reversed(labels.items())), 0) != _paper_split(labels, 1)


def test_ucf101_lists_are_required(tmp_path):
    write_clip(tmp_path / "videos" / "sub" / "v_Walk_g01_c01.avi", (320, 240), 3)
    with pytest.raises(FileNotFoundError, match="UCF101TrainTestSplits-RecognitionTask.zip"):
        datasets.prepare_ucf101(tmp_path / "videos" / "sub", tmp_path / "out", "official-2")
    with pytest.raises(ValueError, match="`split` must be one of"):
        datasets.prepare_ucf101(tmp_path / "videos", tmp_path / "out", "official-4")
    (tmp_path / "lists").mkdir()
    for side in ("train", "test"):
        (tmp_path / "lists" / f"{side}list02.txt").write_text(
            f"Walk/v_Walk_g{1 if side == 'train' else 2:02d}_c01.avi 1\r\n"
        )
    with pytest.raises(ValueError, match=r"v_walk_g02_c01: is in the official lists, but not among the videos"):
        datasets.prepare_ucf101(
            tmp_path / "videos", tmp_path / "out", "official-2", lists=tmp_path / "lists", progress=False
        )
    assert len(stored(tmp_path / "out" / "train.hdf5")) == 1


@pytest.mark.parametrize("color", [True, False])
def test_real_videos_equal_a_direct_decode(tmp_path, color):
    (tmp_path / "videos").mkdir()
    for path in real_clips():
        shutil.copy(path, tmp_path / "videos")
    datasets.prepare_videos(
        tmp_path / "videos", tmp_path / "out", (48, 64), color, test_fraction=0.2, seed=1, progress=False
    )
    train, test = stored(tmp_path / "out" / "train.hdf5"), stored(tmp_path / "out" / "test.hdf5")
    assert (len(train), len(test)) == (2, 1)
    for name, (frames, attributes) in {**train, **test}.items():
        source = decoded(tmp_path / "videos" / name)
        assert frames.shape == (len(source), 48, 64, 3 if color else 1)
        assert attributes["frames"] == len(source)
        height, width = source.shape[1:3]
        # The largest central part that has the displayed aspect ratio 48:64.
        aspect = 64 / 48 / pixel_aspect(tmp_path / "videos" / name)
        inner = (height, round(height * aspect)) if width > height * aspect else (round(width / aspect), width)
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        for t in (0, len(source) // 2, len(source) - 1):
            frame = source[t][top : top + inner[0], left : left + inner[1]]
            frame = frame[..., ::-1] if color else cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
            error = np.abs(frames[t].reshape(48, 64, -1) - pillow(frame, (64, 48)).reshape(48, 64, -1))
            assert error.mean() < 1.5
            assert error.max() < 16


def test_a_single_video_is_for_training(tmp_path):
    write_clip(tmp_path / "videos" / "only.avi", (64, 48), 30)
    datasets.prepare_videos(tmp_path / "videos", tmp_path / "out", 16, progress=False)
    assert len(stored(tmp_path / "out" / "train.hdf5")) == 1
    with pytest.raises(ValueError, match="test.hdf5 holds no video"):
        datasets.video_folder(tmp_path / "out", "test")


def drawn_names(names: list[str], test_fraction: float, seed: int) -> set[str]:
    return _drawn({name: name for name in names}, test_fraction, seed)


def test_videos_keep_their_split_when_others_are_added():
    names = [f"{i // 7}/{i}.mp4" for i in range(400)]
    test = drawn_names(names, 0.25, 0)
    assert 75 < len(test) < 125
    for count in (50, 51, 100):
        assert drawn_names(names[-count:], 0.25, 0) == test & set(names[-count:])
    assert test != drawn_names(names, 0.25, 1)
    assert drawn_names(names, 0.2, 0) < test
    assert drawn_names(names, 0, 0) == set()


def test_no_split_is_empty_and_as_few_videos_as_possible_move():
    names = [f"{i}.mp4" for i in range(12)]
    for seed in range(20):
        for fraction in (1e-9, 0.5, 1 - 1e-9):
            before = set()
            for count in range(1, 13):
                test = drawn_names(names[:count], fraction, seed)
                assert len(test) < count
                assert test or count == 1
                # Training videos have been seen. They stay there, unless the training split would be empty.
                seen = set(names[: count - 1]) - before
                assert not seen & test or len(seen) == 1 == count - len(test)
                before = test


@pytest.fixture
def bad_videos(tmp_path):
    folder = tmp_path / "videos"
    for i in range(3):
        write_clip(folder / f"person0{i + 1}_boxing_d1_uncomp.avi", (160, 120), 30, seed=i)
    good = folder / "person01_boxing_d1_uncomp.avi"
    (folder / "person04_boxing_d1.avi").write_bytes(b"")
    (folder / "person05_boxing_d1.avi").write_text("This is not a video. " * 200)
    data = good.read_bytes()
    (folder / "person06_boxing_d1.avi").write_bytes(data[: len(data) * 6 // 10])
    write_clip(folder / "person07_boxing_d1.avi", (80, 64), 12)
    write_clip(folder / "holiday.avi", (160, 120), 5)
    shutil.copy(good, folder / "Person01_boxing_d1.avi")
    write_clip(folder / "person08_boxing_d1.avi", (160, 120), 0)
    return folder


REASONS = {
    "person04_boxing_d1.avi": r"is empty \(0 bytes\)",
    "person05_boxing_d1.avi": "does not decode",
    "person06_boxing_d1.avi": r"stops early: \d+ of 30 frames decode",
    "person07_boxing_d1.avi": r"its frames are 64x80 \(height x width\), not 120x160",
    "person08_boxing_d1.avi": "does not decode|has no frames that decode",
    "holiday.avi": "is not named like KTH's videos",
    "person01_boxing_d1_uncomp.avi": "is a second copy of Person01_boxing_d1.avi",
}


def test_bad_files_are_listed_and_the_others_stored(bad_videos, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ValueError, match="7 of 10 videos are bad; the other 3 are stored") as error:
        datasets.prepare_kth(bad_videos, out, progress=False)
    for name, reason in REASONS.items():
        assert re.search(f"\n  {re.escape(name)}: ({reason})", str(error.value)), (name, str(error.value))
    assert len(stored(out / "train.hdf5")) == 3
    before = contents(out)
    with pytest.raises(ValueError, match="7 of 10 videos are bad"):
        datasets.prepare_kth(bad_videos, out, progress=False)
    assert contents(out) == before

    bad = datasets.prepare_kth(bad_videos, out, accept_bad_videos=True, progress=False)
    assert set(bad) == set(REASONS)
    kept = stored(out / "train.hdf5")
    assert len(kept) == 5  # Including the readable parts of the truncated file and of the one with another size.
    cut, attributes = kept["person06_boxing_d1.avi"]
    whole, _ = kept["Person01_boxing_d1.avi"]
    assert 0 < len(cut) < 30
    np.testing.assert_array_equal(cut[:-1], whole[: len(cut) - 1])  # The file has only a part of the last frame.
    assert attributes["damage"].startswith("stops early")
    assert kept["person07_boxing_d1.avi"][0].shape == (12, 64, 80, 1)
    assert "damage" not in kept["Person01_boxing_d1.avi"][1]

    with pytest.raises(ValueError, match="7 of 10 videos are bad"):
        datasets.prepare_kth(bad_videos, out, progress=False)
    assert contents(out) == before


@pytest.mark.parametrize("codec", ["MJPG", "mpg1", "mpg2", "XVID", "VP80", "VP90", "H264"])
def test_a_change_of_the_frame_size_is_bad(tmp_path, codec):
    suffix = {"VP80": "webm", "VP90": "webm"}.get(codec, "avi")
    if codec == "H264":  # OpenCV cannot write it.
        large, small = real_clips()[1:]
        same = [small, small.with_name("carphone_distorted.mp4")]
        sizes = ("272x640", "144x176")
    else:
        large = write_clip(tmp_path / f"large.{suffix}", (96, 64), 31, codec)
        small = write_clip(tmp_path / f"small.{suffix}", (64, 48), 9, codec)
        # The rate changes the header, but not the size.
        same = [small, write_clip(tmp_path / f"same.{suffix}", (64, 48), 9, codec, rate=30)]
        sizes = ("64x96", "48x64")
    (tmp_path / "videos").mkdir()
    changes = write_joined(tmp_path / "videos" / "changes.avi", [large, small], codec)
    joined = write_joined(tmp_path / "videos" / "same.avi", same, codec)
    bad = datasets.prepare_videos(
        tmp_path / "videos", tmp_path / "out", 16, test_fraction=0, accept_bad_videos=True, progress=False
    )
    with av.open(str(changes)) as video:
        # FFmpeg's MPEG-1 and MPEG-2 decoders lose a frame at the change.
        count = sum(f"{frame.height}x{frame.width}" == sizes[0] for frame in video.decode(video=0))
    assert len(decoded(large)) - count <= codec.startswith("mpg")
    reason = f"frame {count + 1} is {sizes[1]} (height x width), those before {sizes[0]}"
    assert bad == {"changes.avi": reason}
    train = stored(tmp_path / "out" / "train.hdf5")
    assert len(train["changes.avi"][0]) == count
    assert len(train["same.avi"][0]) == len(decoded(joined))
    assert not list(tmp_path.glob("out/.*"))


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8 need a file system that allows them")
def test_file_names_of_any_bytes(tmp_path, monkeypatch):
    good = write_clip(tmp_path / "videos" / "a.avi", (64, 48), 22)
    names = ["caf\udce9/caf\udce9.avi", "new\nline.avi", "日本.avi", "file:b%03d.avi"]
    for name in names:
        (tmp_path / "videos" / name).parent.mkdir(exist_ok=True)
        shutil.copy(good, tmp_path / "videos" / name)
    monkeypatch.chdir(tmp_path / "videos")
    datasets.prepare_videos(".", tmp_path / "out", 16, test_fraction=0, progress=False)
    train = stored(tmp_path / "out" / "train.hdf5")
    assert sorted(train) == sorted(["a.avi", *names])
    for name in names:
        np.testing.assert_array_equal(train[name][0], train["a.avi"][0])
    assert train[names[0]][1]["label"] == "caf\udce9"
    monkeypatch.setattr(prepare, "write_store", None)  # The stored videos are recognized.
    datasets.prepare_videos(".", tmp_path / "out", 16, test_fraction=0, progress=False)
    monkeypatch.undo()
    for name in ("bad\n\udce9.avi", "bad.avi"):
        (tmp_path / "videos" / name).write_text("no video")
    with pytest.raises(ValueError, match="\n  'bad\\\\n\\\\udce9.avi': does not decode.*\n  bad.avi: does not"):
        datasets.prepare_videos(tmp_path / "videos", tmp_path / "out", 16, test_fraction=0, progress=False)


def test_clips_of_one_recording_belong_to_one_split(tmp_path):
    names = [f"{day}/{walk}_part{part}.avi" for day in ("monday", "tuesday") for walk in "abc" for part in (1, 2, 3)]
    first = write_clip(tmp_path / "videos" / names[0], (32, 32), 3)
    for name in names[1:]:
        (tmp_path / "videos" / name).parent.mkdir(exist_ok=True)
        shutil.copy(first, tmp_path / "videos" / name)

    def prepared(name: str, **arguments) -> tuple[set[str], set[str]]:
        options = dict(size=16, test_fraction=0.4, workers=1, progress=False)
        datasets.prepare_videos(tmp_path / "videos", tmp_path / name, **options, **arguments)
        train, test = (set(stored(tmp_path / name / f"{split}.hdf5")) for split in ("train", "test"))
        assert train | test == set(names)
        assert not train & test
        assert train
        assert test
        return train, test

    train, test = prepared("by_recording", group=r"(.+)_part\d")
    assert not {name[:-10] for name in train} & {name[:-10] for name in test}
    train, test = prepared("by_folder", group=r".*/")
    assert not {name.split("/")[0] for name in train} & {name.split("/")[0] for name in test}
    _, test = prepared("by_name", test=["tuesday/*", "*/b_part2.avi"])
    assert test == {name for name in names if name.startswith("tuesday") or "b_part2" in name}
    with pytest.raises(ValueError, match="was prepared with other settings|other videos|Prepare"):
        datasets.prepare_videos(tmp_path / "videos", tmp_path / "by_name", 16, test="tuesday/*", progress=False)
    for arguments, message in [
        (dict(group="("), "`group` must be a regular expression. Received: group='\\('"),
        (dict(group="(x)?"), "`group` must fit all videos.*does not match the beginning of monday/a_part1.avi"),
        (dict(group="monday"), "does not match the beginning of tuesday/a_part1.avi"),
        (dict(test=3), r'must be a list of file patterns, such as \["tuesday/\*"\]. Received: test=3'),
        (dict(test=["wednesday/*"]), "must match a video. Received: 'wednesday/\\*'"),
        (dict(test=["*"]), "must leave videos for training"),
        (dict(test=["*b*"], group=".*/"), "not both"),
    ]:
        with pytest.raises(ValueError, match=message):
            datasets.prepare_videos(tmp_path / "videos", tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_source_and_output_are_checked(kth_videos, tmp_path):
    with pytest.raises(FileNotFoundError, match="must be a folder of videos.*does not exist"):
        datasets.prepare_kth(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("")
    with pytest.raises(FileNotFoundError, match="There is no video in"):
        datasets.prepare_videos(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="which is a file"):
        datasets.prepare_videos(tmp_path / "empty" / "notes.txt", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write the videos to .*file"):
        datasets.prepare_kth(kth_videos, tmp_path / "file", progress=False)
    assert not (tmp_path / "out").exists()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.mp4").write_text("text")
    with pytest.raises(ValueError, match="None of the 1 videos in .* can be used"):
        datasets.prepare_videos(tmp_path / "text", tmp_path / "out", progress=False)
    for arguments in (dict(size=0), dict(size=(8, 8, 8)), dict(test_fraction=1.0), dict(workers=0)):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            datasets.prepare_videos(kth_videos, tmp_path / "out", **arguments)


def test_other_files_are_not_overwritten(kth_videos, tmp_path):
    datasets.prepare_videos(kth_videos, tmp_path, 16, progress=False)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match=r"train.hdf5 was prepared with other settings.*Choose another output folder"):
        datasets.prepare_videos(kth_videos, tmp_path, 32, progress=False)
    assert contents(tmp_path) == before
    with h5py.File(tmp_path / "train.hdf5", "r+") as file:  # From a version whose split depended on the other videos.
        file.attrs["format"] = file.attrs["format"].decode().replace(", by name", "")
    with pytest.raises(ValueError, match=r"train.hdf5 was prepared with other settings"):
        datasets.prepare_videos(kth_videos, tmp_path, 16, progress=False)
    (tmp_path / "train.hdf5").write_text("mine")
    with pytest.raises(ValueError, match=r"train.hdf5 was not written by this library"):
        datasets.prepare_videos(kth_videos, tmp_path, 16, progress=False)
    assert (tmp_path / "train.hdf5").read_text() == "mine"


def test_a_full_disk_is_an_error_without_a_partial_file(kth_videos, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(OSError, match=r"train.hdf5 needs 0.5 MB, but 0.0 MB are free.*continues from there"):
            datasets.prepare_kth(kth_videos, tmp_path / "out", progress=False)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".partial"]
    with monkeypatch.context() as patch:
        # The worker's file is limited to a few frames.
        script = "import resource,runpy,signal,sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
        script += "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
        popen = subprocess.Popen
        patch.setattr(subprocess, "Popen", lambda command, **k: popen([command[0], "-c", script, command[-1]], **k))
        with pytest.raises(OSError, match="File too large.*kept"):
            datasets.prepare_kth(kth_videos, tmp_path / "other", progress=False)
    assert not list((tmp_path / "other").glob("*.hdf5"))
    datasets.prepare_kth(kth_videos, tmp_path / "out", progress=False)
    datasets.prepare_kth(kth_videos, tmp_path / "other", progress=False)
    assert contents(tmp_path / "out") == contents(tmp_path / "other")


def test_an_interrupted_run_is_resumed(kth_videos, tmp_path, monkeypatch):
    datasets.prepare_kth(kth_videos, tmp_path / "whole", progress=False)

    def interrupted(answers, total, draw):
        for i, answer in enumerate(answers):
            if i == 3:
                raise KeyboardInterrupt
            yield answer

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "_progress", interrupted)
        with pytest.raises(KeyboardInterrupt):
            datasets.prepare_kth(kth_videos, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.hdf5"))
    left = []
    original = prepare.decoded
    monkeypatch.setattr(prepare, "decoded", lambda videos, count: left.extend(videos) or original(videos, count))
    datasets.prepare_kth(kth_videos, tmp_path / "out", progress=False)
    assert len(left) == 8 - 3
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_only_new_and_changed_videos_are_decoded(tmp_path, monkeypatch):
    videos = write_kth(tmp_path / "videos", persons=(1, 17))
    datasets.prepare_kth(videos, tmp_path / "out", progress=False)
    write_clip(videos / "person02_running_d1.avi", frames=7)
    changed = write_clip(videos / "boxing" / "person01_boxing_d1_uncomp.avi", frames=9, seed=5)
    os.utime(changed, ns=(0, time.time_ns() + 10**9))
    names = []
    original = prepare.decoded
    monkeypatch.setattr(
        prepare, "decoded", lambda videos, count: names.extend(v.name for v in videos) or original(videos, count)
    )
    datasets.prepare_kth(videos, tmp_path / "out", progress=False)
    assert sorted(names) == ["boxing/person01_boxing_d1_uncomp.avi", "person02_running_d1.avi"]
    datasets.prepare_kth(videos, tmp_path / "fresh", progress=False)
    train, fresh = stored(tmp_path / "out" / "train.hdf5"), stored(tmp_path / "fresh" / "train.hdf5")
    assert list(train) == list(fresh)
    for name in train:
        np.testing.assert_array_equal(train[name][0], fresh[name][0])
        assert train[name][1] == fresh[name][1]


def test_only_one_run_at_a_time_in_a_folder(kth_videos, tmp_path):
    with (
        held(tmp_path / ".partial"),
        pytest.raises(ValueError, match="Another run is writing to"),
    ):
        datasets.prepare_kth(kth_videos, tmp_path, progress=False)
    datasets.prepare_kth(kth_videos, tmp_path, progress=False)


def test_a_video_that_crashes_the_decoder_is_reported(tmp_path, monkeypatch):
    for name in ("a", "b", "killer", "c"):
        write_clip(tmp_path / "videos" / f"{name}.avi", (32, 32), 5)
    worker = tmp_path / "worker.py"
    worker.write_text(
        f"import runpy, sys; sys.path.insert(0, {str(decoder_pool._WORKER.parent)!r}); import decode_worker, os, "
        "signal\ndecode = decode_worker.decode\n"
        "def fatal(request, alive):\n"
        "    if 'killer' in request['source']: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    return decode(request, alive)\n"
        "decode_worker.decode = fatal\n"
        "decode_worker.main()\n"
    )
    monkeypatch.setattr(decoder_pool, "_WORKER", worker)
    bad = datasets.prepare_videos(
        tmp_path / "videos", tmp_path / "out", 16, accept_bad_videos=True, progress=False, test_fraction=0
    )
    assert bad == {"killer.avi": "crashes the decoder (signal 11)"}
    assert list(stored(tmp_path / "out" / "train.hdf5")) == ["a.avi", "b.avi", "c.avi"]
    worker.write_text("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match="The decoding process does not run. Try it yourself"):
        datasets.prepare_videos(tmp_path / "videos", tmp_path / "other", 16, progress=False)


def test_an_error_of_opencv_during_a_video_removes_its_frames(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.avi", (32, 32), 5)
    frames = []

    def convert(frame, request, pixel_aspect, levels):
        frames.append(frame)
        if len(frames) == 3:
            raise cv2.error("out of\n  memory")
        return frame

    monkeypatch.setattr(decode_worker, "convert", convert)
    answer = decode_worker.decode(
        {"source": str(path), "target": str(tmp_path / "a.frames"), "frame_size": None, "channels": 3}
    )
    assert answer == {"frames": 0, "frame_rate": 25.0, "reason": "does not decode: out of memory"}
    assert [path.name for path in tmp_path.iterdir()] == ["a.avi"]


def test_corrupted_files_do_no_harm(tmp_path):
    generator = random.Random(0)
    videos = tmp_path / "videos"
    originals = [write_clip(videos / f"good-{codec}.avi", (64, 48), 12, codec) for codec in ("XVID", "MJPG")]
    originals.append(shutil.copy(real_clips()[2].with_name("carphone_distorted.mp4"), videos / "good-real.mp4"))
    for i in range(132):
        original = pathlib.Path(originals[i % 3])
        data = bytearray(original.read_bytes())
        if i % 2:
            del data[generator.randrange(len(data)) :]
        else:
            for _ in range(generator.choice((1, 8, 64))):
                data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        (videos / f"bad-{i:03d}{original.suffix}").write_bytes(data)
    bad = datasets.prepare_videos(videos, tmp_path / "all", 16, test_fraction=0, accept_bad_videos=True, progress=False)
    assert 50 < len(bad) < 132  # Some flips have no visible effect, and so have few truncations.
    with pytest.raises(ValueError, match=f"{len(bad)} of 135 videos are bad"):
        datasets.prepare_videos(videos, tmp_path / "whole", 16, test_fraction=0, progress=False)
    accepted, whole = stored(tmp_path / "all" / "train.hdf5"), stored(tmp_path / "whole" / "train.hdf5")
    assert set(whole) == {path.name for path in videos.iterdir()} - set(bad)
    assert set(whole) <= set(accepted)
    for name, (frames, _) in whole.items():
        np.testing.assert_array_equal(frames, accepted[name][0])
    for path in originals:
        source = decoded(path)
        frames = whole[pathlib.Path(path).name][0]
        assert len(frames) == len(source)
        height, width = source.shape[1:3]
        inner = round(height / pixel_aspect(path))
        left = (width - inner) // 2
        expected = pillow(source[5][:, left : left + inner, ::-1], (16, 16))
        assert np.abs(frames[5] - expected).mean() < 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes of Linux and macOS")
def test_killed_at_any_moment(tmp_path):
    videos = write_kth(tmp_path / "videos", persons=(1, 2, 3, 17))
    datasets.prepare_kth(videos, tmp_path / "reference", progress=False)
    reference = contents(tmp_path / "reference")
    # Importing takes seconds, so one process imports everything and forks for each run.
    script = (
        "import os, sys\nfrom keras_frnn import datasets\nprint('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        f"        datasets.prepare_kth({str(videos)!r}, line.strip(), progress=False)\n"
        "        os._exit(0)\n"
        "    print(child, flush=True)\n"
        "    print(os.waitpid(child, 0)[1], flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(output, seconds=None):
        process.stdin.write(f"{output}\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        begun = time.perf_counter()
        if seconds is not None:
            time.sleep(seconds)
            with contextlib.suppress(ProcessLookupError):  # The run was faster.
                os.kill(child, signal.SIGKILL)
        return int(process.stdout.readline()), time.perf_counter() - begun

    with process:
        assert process.stdout.readline() == "ready\n"
        status, duration = run(tmp_path / "timed")
        assert status == 0
        killed = 0
        generator = random.Random(0)
        for i in range(8):
            output = tmp_path / f"run-{i}"
            status, _ = run(output, generator.uniform(0, duration))
            killed += status == signal.SIGKILL
            if output.exists():
                # Files with their final names are complete.
                assert {name: digest for name, digest in contents_of_files(output).items()}.items() <= reference.items()
            assert run(output)[0] == 0
            assert contents(output) == reference
            shutil.rmtree(output)
        assert killed >= 4
        process.stdin.close()


def contents_of_files(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.hdf5")}
