"""Real-world video files: frames are stored as FFmpeg shows them, and truncated files are reported."""

import contextlib
import logging
import os
import sys
from fractions import Fraction

import av
import cv2
import h5py
import numpy as np
import pytest
from clips import levels, pixel_aspect, write_video
from PIL import Image

from keras_frnn import datasets
from keras_frnn.command import video_source
from keras_frnn.datasets.video_files.prepare import summary

# Videos are decoded without Keras.
pytestmark = pytest.mark.once


@pytest.fixture
def prepared(tmp_path):
    """Prepares the folder `videos`; returns the bad videos, and frames and attributes by name."""

    def prepared(size=(48, 64), output="out", **arguments):
        options = dict(size=size, test_fraction=0, accept_bad_videos=True, workers=1, progress=False)
        bad = datasets.prepare_videos(tmp_path / "videos", tmp_path / output, **options | arguments)
        with h5py.File(tmp_path / output / "train.hdf5") as file:
            frames = {video.attrs["source"]: video[()] for video in file.values()}
            attributes = {video.attrs["source"]: dict(video.attrs) for video in file.values()}
        return bad, frames, attributes

    return prepared


def moving(count, size=(64, 48)):
    """A moving textured scene, RGB uint8; `size` is (width, height)."""
    generator = np.random.default_rng(0)
    width, height = size
    scene = cv2.GaussianBlur(generator.normal(0, 1, (height + count, width + 5 * count, 3)), (0, 0), 3)
    scene = cv2.normalize(scene, None, 20, 235, cv2.NORM_MINMAX).astype("uint8")
    return np.array([scene[t : t + height, 5 * t : 5 * t + width] for t in range(count)])


def filtered(frames, *filters, rate=25):
    """PyAV frames passed through a chain of FFmpeg filters."""
    graph = av.filter.Graph()
    first = frames[0]
    source = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=Fraction(1, rate))
    graph.link_nodes(source, *(graph.add(*one) for one in filters), graph.add("buffersink")).configure()
    made = []
    for i, frame in enumerate([*frames, None]):
        if frame is not None:
            frame.pts, frame.time_base = i, Fraction(1, rate)
        graph.push(frame)
        try:
            while True:
                made.append(graph.pull())
        except (BlockingIOError, EOFError):
            pass
    return made


def plain(path):
    with av.open(str(path)) as video:
        return list(video.decode(video=0))


def shades(frames):
    return frames.reshape(len(frames), -1).mean(1)


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("dvd.vob", "mpeg2video", {"flags": "+ilme+ildct"}),
        ("camera.mp4", "libx264", {"x264-params": "tff=1"}),
        ("tape.avi", "dvvideo", {}),
    ],
)
def test_interlaced_frames_are_deinterlaced(tmp_path, prepared, name, codec, options):
    size = (720, 480) if codec == "dvvideo" else (64, 48)
    form = "yuv411p" if codec == "dvvideo" else "yuv420p"
    woven = moving(12, size)
    woven = np.where(np.arange(size[1])[:, None, None] % 2, woven[1::2], woven[::2])
    woven = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in woven]
    woven = filtered(woven, ("format", form), ("setfield", "tff"))
    path = tmp_path / "videos" / name
    rate = Fraction(30000, 1001) if codec == "dvvideo" else 25
    write_video(path, woven, codec, options=options, rate=rate, form=form)
    frames = plain(path)
    assert all(frame.interlaced_frame for frame in frames)
    shown = filtered(frames, ("bwdif", "mode=send_frame:deint=interlaced"), ("format", "bgr24"))
    size = (round(size[0] * pixel_aspect(path)), size[1])
    bad, stored, _ = prepared(size[::-1])
    assert bad == {}
    expected = [
        Image.fromarray(frame.to_ndarray()[..., ::-1]).resize(size, Image.Resampling.BILINEAR) for frame in shown
    ]
    expected = np.array([np.asarray(frame) for frame in expected])
    assert stored[name].shape == expected.shape
    assert np.abs(stored[name].astype(int) - expected).mean() < 1


CUT = {
    "a.mkv": ("mpeg4", None),
    "a.webm": ("libvpx", None),
    "a.avi": ("mpeg4", None),
    "a.mp4": ("mpeg4", {"movflags": "faststart"}),
    "a.flv": ("flv", None),
}


@pytest.mark.parametrize("name", CUT)
def test_truncated_files_are_reported(tmp_path, prepared, name):
    codec, container = CUT[name]
    whole = write_video(tmp_path / "videos" / f"whole-{name}", moving(60), codec, container=container)
    data = whole.read_bytes()
    for percent in (30, 50, 65, 80, 90):
        (tmp_path / "videos" / f"{percent}-{name}").write_bytes(data[: len(data) * percent // 100])
    bad, stored, _ = prepared(16)
    assert set(bad) == {f"{percent}-{name}" for percent in (30, 50, 65, 80, 90)}
    assert all(
        "stops early" in reason or "frames that decode" in reason or "does not" in reason for reason in bad.values()
    )
    assert sum("stops early" in reason for reason in bad.values()) >= 3
    assert len(stored[f"whole-{name}"]) == 60


@pytest.mark.parametrize("name", ["a.mp4", "a.webm"])
def test_av1(tmp_path, prepared, name, monkeypatch):
    monkeypatch.setenv("SVT_LOG", "0")
    write_video(tmp_path / "videos" / name, levels(12), "libsvtav1", options={"preset": "12"})
    bad, stored, attributes = prepared()
    assert bad == {}
    np.testing.assert_allclose(shades(stored[name]), 20 + 4 * np.arange(12), atol=2)
    assert attributes[name]["frame_rate"] == 25


def test_files_that_ffmpeg_shows_without_an_error_are_good(tmp_path, prepared):
    videos, shown = tmp_path / "videos", {}
    for name in ("late.mkv", "late.mp4", "late.avi"):
        write_video(videos / name, levels(20), times=range(90, 110))
        shown[name] = range(20)
    # More than 4,096 packets of sound precede the first frame.
    write_video(videos / "sound.mkv", levels(20), times=range(25 * 100, 25 * 100 + 20), audio=5000)
    write_video(videos / "sound.avi", levels(20), audio=5000)
    shown |= {"sound.mkv": range(20), "sound.avi": range(20)}
    # Like a cut without reencoding: all packets from the keyframe on, and an edit list that hides the first ones.
    source = write_video(tmp_path / "source.mp4", levels(45), "libx264", options={"x264-params": "keyint=24"})
    with av.open(str(source)) as old, av.open(str(videos / "edit.mp4"), "w", options={"avoid_negative_ts": "0"}) as new:
        (stream,) = old.streams.video
        copy = new.add_stream_from_template(stream)
        for packet in old.demux(stream):
            if packet.dts is not None:
                packet.pts -= round(33 / 25 / stream.time_base)
                packet.dts -= round(33 / 25 / stream.time_base)
                packet.stream = copy
                new.mux(packet)
    shown["edit.mp4"] = range(33, 45)
    # In AVI, empty packets stand for the frames in between.
    write_video(videos / "dropped.avi", levels(20), times=range(0, 60, 3))
    shown["dropped.avi"] = range(20)
    bad, stored, attributes = prepared()
    assert bad == {}
    for name, numbers in shown.items():
        np.testing.assert_allclose(shades(stored[name]), 20 + 4 * np.array(numbers), atol=2, err_msg=name)
    assert attributes["edit.mp4"]["frame_rate"] == 25
    assert attributes["dropped.avi"]["frame_rate"] == pytest.approx(25 / 3)


def test_non_square_pixels(tmp_path, prepared):
    frames = moving(3, (96, 96))
    path = write_video(
        tmp_path / "videos" / "wide.mkv", frames, "libx264", options={"qp": "5"}, aspect=Fraction(64, 45)
    )
    write_video(
        tmp_path / "videos" / "turned.mp4", frames, "libx264", options={"qp": "5"}, aspect=Fraction(64, 45), turn=90
    )
    _, stored, _ = prepared(32)
    shown = np.array(Image.fromarray(frames[2]).resize((137, 96), Image.Resampling.BICUBIC))[:, 20:116]
    expected = np.array(Image.fromarray(shown).resize((32, 32), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(stored["wide.mkv"][2] - expected).mean() < 2.5
    assert np.abs(stored["turned.mp4"][2] - np.rot90(expected)).mean() < 2.5
    video = video_source.Video(str(path))
    assert video.size == (96, 137)
    np.testing.assert_allclose(video.read((32, 32, 3), 0, 3), stored["wide.mkv"] / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize("degrees", [90, 180, -90])
def test_rotated_videos_are_upright_as_in_opencv(tmp_path, prepared, degrees):
    path = write_video(tmp_path / "videos" / "phone.mp4", moving(3, (64, 48)), turn=degrees)
    upright = cv2.cvtColor(cv2.VideoCapture(str(path)).read()[1], cv2.COLOR_BGR2RGB)
    _, stored, _ = prepared(upright.shape[:2])
    assert np.abs(stored["phone.mp4"][0].astype(int) - upright).mean() < 1


@pytest.mark.parametrize("color", [dict(colorspace="bt709"), dict(color_range="pc"), dict(form="yuv420p10le")])
def test_colors_are_those_of_ffmpeg(tmp_path, prepared, color):
    options = {"qp": "4"} | {name: value for name, value in color.items() if name != "form"}
    path = write_video(tmp_path / "videos" / "a.mp4", moving(3), "libx264", options=options, form=color.get("form"))
    shown = filtered(plain(path), ("format", "bgr24"))
    _, stored, _ = prepared()
    assert np.abs(stored["a.mp4"].astype(int) - [frame.to_ndarray()[..., ::-1] for frame in shown]).mean() < 1


def test_variable_frame_rates(tmp_path, prepared, caplog):
    times = [0, 1, 2, 3, 40, 41, 80, 81, 100, 130]  # In 1/30 seconds.
    videos = tmp_path / "videos"
    write_video(videos / "vary.mkv", levels(10), times=times, rate=30)
    write_video(videos / "vary.mp4", levels(10), times=times, rate=30)
    write_video(videos / "even.mkv", levels(30), rate=30)
    with caplog.at_level(logging.WARNING, "absl"):
        _, stored, attributes = prepared()
    assert "The videos have 2.077 (2 videos), 30 (1 video) frames per second" in caplog.text
    for name in ("vary.mkv", "vary.mp4"):
        assert attributes[name]["frame_rate"] == pytest.approx(9 / (130 / 30), rel=1e-3)
        assert len(stored[name]) == 10
    assert attributes["even.mkv"]["frame_rate"] == 30
    caplog.clear()
    _, stored, attributes = prepared(output="ten", rate=10)
    assert "frames per second" not in caplog.text
    ticks = np.arange(0, 130 / 30 + 1e-3, 0.1)
    at = np.searchsorted(np.array(times) / 30, ticks + 1e-3, side="right") - 1
    for name in ("vary.mkv", "vary.mp4"):
        np.testing.assert_allclose(shades(stored[name]), 20 + 4 * at, atol=2, err_msg=name)
        assert attributes[name]["frame_rate"] == 10
    np.testing.assert_allclose(shades(stored["even.mkv"]), 20 + 4 * np.arange(0, 30, 3), atol=2)
    with pytest.raises(ValueError, match="was prepared with other settings"):
        prepared(output="ten")
    for rate in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`rate` must be a positive number"):
            prepared(rate=rate)


SUFFIXES = {
    ".ts": "mpeg2video",
    ".m2ts": "mpeg2video",
    ".MTS": "libx264",
    ".vob": "mpeg2video",
    ".asf": "msmpeg4v3",
    ".3g2": "mpeg4",
    ".divx": "mpeg4",
    ".ogg": "libvpx",
    ".gif": "gif",
}


def test_video_suffixes_and_skipped_files(tmp_path, prepared):
    videos = tmp_path / "videos"
    for suffix, codec in SUFFIXES.items():
        made = write_video(videos / f"a{'.avi' if suffix == '.divx' else suffix}", levels(12), codec)
        made.rename(videos / f"a{suffix}")
    for name in ("notes.txt", "b.TXT", "sub/c.jpg", ".hidden.txt"):
        (videos / name).parent.mkdir(exist_ok=True)
        (videos / name).write_text("no video")
    bad, stored, _ = prepared()
    assert bad == {}
    for suffix in SUFFIXES:
        np.testing.assert_allclose(shades(stored[f"a{suffix}"]), 20 + 4 * np.arange(12), atol=6, err_msg=suffix)
    text = summary(bad, videos, tmp_path / "out").splitlines()
    assert text[0] == "skipped, no video suffix: 2 .txt, 1 .jpg"
    assert text[2].startswith("train.hdf5: 9 videos, 0 windows of 20 frames, 25")


def test_names_with_a_colon_and_names_not_in_utf8(tmp_path, prepared, monkeypatch):
    names = ["2026-09-30T10:15:00.mp4", "concat:a|b.mp4"]
    if sys.platform == "linux":
        names.append("caf\udce9.mp4")
    for name in names:
        write_video(tmp_path / "videos" / name, levels(6))
    bad, stored, _ = prepared()
    assert bad == {}
    monkeypatch.chdir(tmp_path / "videos")
    for name in names:
        np.testing.assert_allclose(shades(stored[name]), 20 + 4 * np.arange(6), atol=2)
        frames = video_source.Video(name).read((48, 64, 3), 0, 6)
        np.testing.assert_allclose(frames, stored[name] / 127.5 - 1, atol=1e-6)


def test_a_list_of_other_files_is_not_a_video(tmp_path):
    write_video(tmp_path / "secret.mp4", levels(6))
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(OSError, match=r"list.mp4 does not decode: no video that FFmpeg knows"):
        video_source.Video(str(tmp_path / "list.mp4"))


def test_counts_and_a_single_bad_video(tmp_path, prepared):
    videos = tmp_path / "videos"
    for i, (count, rate) in enumerate([(24, 25), (30, 30), (12, 25)]):
        write_video(videos / f"{i}.mp4", levels(count), rate=rate)
    (videos / "bad.mp4").write_text("no video")
    with pytest.raises(ValueError, match="1 of 4 videos is bad; the other 3 are stored in"):
        prepared(np.int64(16), accept_bad_videos=False)  # A NumPy integer.
    bad, _, _ = prepared(16)
    lines = summary(bad, videos, tmp_path / "out").splitlines()
    assert lines[0].startswith("accepted: bad.mp4: does not decode")
    assert lines[2] == ("train.hdf5: 3 videos, 16 windows of 20 frames, 25 (2 videos), 30 (1 video) frames per second")
    assert lines[3] == f"Written to {tmp_path / 'out'}: test.hdf5, train.hdf5"
    for i in range(1, 3):
        (videos / f"{i}.mp4").unlink()
    prepared(16, output="one")
    assert "train.hdf5: 1 video, 5 windows of 20 frames" in summary({}, videos, tmp_path / "one")


def test_a_folder_of_an_earlier_version_is_continued(tmp_path, prepared):
    """The exact format of an earlier version, with stored frames that differ from those of the decoder."""
    path = write_video(tmp_path / "videos" / "a.mp4", levels(6))
    prepared()
    before = (
        '{"dataset": "video_folder", "protocol": "test_fraction=0, seed=0, by name", "height": 48, "width": 64, '
        '"channels": 3, "frame_size": null, "cut": "centre"}'
    )
    with h5py.File(tmp_path / "out" / "train.hdf5", "r+") as file:
        assert file.attrs["format"].decode() == before
        file["00000"][...] = 7
    write_video(path.with_name("b.mp4"), levels(6))
    bad, stored, _ = prepared()
    assert bad == {}
    assert (stored["a.mp4"] == 7).all()
    np.testing.assert_allclose(shades(stored["b.mp4"]), 20 + 4 * np.arange(6), atol=2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes need Linux or macOS")
def test_pipes_do_not_block(tmp_path, prepared):
    write_video(tmp_path / "videos" / "a.mp4", levels(6))
    os.mkfifo(tmp_path / "videos" / "pipe.mp4")
    assert list(prepared()[1]) == ["a.mp4"]
    with pytest.raises(FileNotFoundError, match="which is no file"):
        video_source.Video(str(tmp_path / "videos" / "pipe.mp4"))
    (tmp_path / "out" / "train.hdf5").unlink()
    os.mkfifo(tmp_path / "out" / "train.hdf5")
    with pytest.raises(ValueError, match="train.hdf5 is not a regular file. Choose another output folder"):
        prepared()


def test_damaged_stores_are_reported_and_kept(tmp_path, prepared):
    write_video(tmp_path / "videos" / "a.mp4", levels(6))
    prepared()
    path = tmp_path / "out" / "train.hdf5"
    good = path.read_bytes()

    def forged(change):
        path.write_bytes(good)
        with h5py.File(path, "r+") as file:
            change(file)
        return path.read_bytes()

    def other(name, value):
        def change(file):
            del file["00000"].attrs[name]
            if value is not None:
                file["00000"].attrs[name] = value

        return change

    damaged = [
        forged(change)
        for change in (
            *(other(name, None) for name in ("source", "source_bytes", "source_mtime_ns")),
            other("source", 3),
            other("source", [1, 2]),
            lambda file: file.attrs.__setitem__("format", 3),
            lambda file: file.attrs.__setitem__("format", "[" * 10000),
            lambda file: file.attrs.__delitem__("format"),
            lambda file: file.__delitem__("00000"),
            lambda file: file.create_group("00001"),
            lambda file: file.move("00000", "00001/00000"),
        )
    ]
    generator = np.random.default_rng(0)
    structure = [i for i in range(2048) if good[i]]
    for place in generator.choice(structure, 24, replace=False):
        flipped = bytearray(good)
        flipped[place] ^= 1 << generator.integers(8)
        damaged.append(bytes(flipped))
    damaged.append(good[: len(good) // 2])
    # Another video is added, so that the stored one is copied.
    write_video(tmp_path / "videos" / "b.mp4", levels(6))
    told = []
    for content in damaged:
        path.write_bytes(content)
        # Some flips have no effect.
        with contextlib.suppress(ValueError):
            prepared()
            continue
        told.append(content)
        assert path.read_bytes() == content
    assert set(damaged[:11]) <= set(told)
    path.write_bytes(damaged[0])
    with pytest.raises(ValueError, match=r"train.hdf5 .*Choose another output folder, or delete that file."):
        prepared()
