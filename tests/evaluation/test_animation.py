"""Files written by `save_animation` and `live`, read with FFmpeg and Pillow."""

import contextlib
import fractions
import pathlib
import resource
import signal
import struct
import threading

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from keras_frnn import evaluation
from keras_frnn.evaluation import animation
from keras_frnn.evaluation.animation import mp4_writer

pytestmark = pytest.mark.once

COLORS = np.array([(255, 176, 0), (31, 119, 180), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255,) * 3, (0,) * 3], "uint8")


def pages(count=7, size=(35, 45)) -> np.ndarray:
    """Flat pages, each with a different color."""
    return np.broadcast_to(COLORS[np.arange(count) % len(COLORS)][:, None, None], (count, *size, 3))


def write(path, pages, frame_rate=25):
    with mp4_writer(path, frame_rate) as add:
        for page in pages:
            add(page)


def read(path) -> np.ndarray:
    with av.open(f"file:{path}") as video:
        return np.array([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def boxes(content: bytes) -> list[bytes]:
    """Names of the outer boxes of an MP4; each box consists of a length, a name and its contents."""
    names, place = [], 0
    while place < len(content):
        length, name = struct.unpack(">I4s", content[place : place + 8])
        names.append(name)
        place += length
    return names


@pytest.mark.parametrize(
    ("rate", "expected"),
    [(5, 5), (30000 / 1001, fractions.Fraction(30000, 1001)), (12.5, fractions.Fraction(25, 2)), (0.2, 0.2)],
)
def test_browsers_can_play_the_mp4(tmp_path, monkeypatch, rate, expected):
    monkeypatch.chdir(tmp_path)
    path = pathlib.Path("2026-09-30T10:15:00 \udce9.mp4")  # A colon, and a name that is not UTF-8.
    write(path, pages(), rate)
    with av.open(f"file:{path}") as video:
        stream = video.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.frames, float(stream.average_rate)) == (7, float(expected))
        assert float(stream.duration * stream.time_base) == pytest.approx(7 / rate)
    names = boxes(path.read_bytes())
    assert names.index(b"moov") < names.index(b"mdat")
    frames = read(path)
    assert frames.shape == (7, 36, 46, 3)
    np.testing.assert_allclose(frames, pages(size=(36, 46)).astype(int), atol=4)


def test_pages_that_cannot_become_an_mp4(tmp_path):
    path = tmp_path / "a.mp4"
    with pytest.raises(OSError, match="a.mp4 is not written: there was no frame"):
        write(path, [])
    with pytest.raises(ValueError, match=r"pages of one size. Received: shape=\(16, 18, 3\) after \(16, 16, 3\)"):
        write(path, [*pages(2, (16, 16)), *pages(1, (16, 18))])
    with pytest.raises(ValueError, match="up to 16384 pixels per side. Received: 2x16386"):
        write(path, pages(1, (2, 16386)))
    assert not list(tmp_path.iterdir())
    path.mkdir()
    with pytest.raises(IsADirectoryError, match=r"name of a video to write. Received: .*a.mp4', a folder"):
        write(path, pages())
    assert [found.name for found in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("size", [(8, 8), (256, 256)])  # The error comes at the end, or while writing.
def test_no_space_for_an_mp4(tmp_path, size):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"of an earlier run")
    noise = np.random.default_rng(0).integers(0, 256, (40, *size, 3), "uint8")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match="a.mp4 cannot be written: File too large"):
            write(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"of an earlier run"
    assert list(tmp_path.iterdir()) == [path]


def test_interrupted_while_writing(tmp_path, monkeypatch):
    """The page that is being written is completed."""
    real = animation._Mp4.add

    def interrupted(self, page):
        if self.pages == 2:
            # To the main thread, which is waiting; from another thread it would only be scheduled.
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        real(self, page)

    monkeypatch.setattr(animation._Mp4, "add", interrupted)
    # Python ignores Ctrl-C if it was started in the background of a shell.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with mp4_writer(tmp_path / "a.mp4", 25) as add, contextlib.suppress(KeyboardInterrupt):
        for page in pages():
            add(page)
    signal.signal(signal.SIGINT, before)
    np.testing.assert_allclose(read(tmp_path / "a.mp4"), pages(3, (36, 46)).astype(int), atol=4)


@pytest.mark.parametrize("rate", [5, 24, 30000 / 1001, 50, 60, 120, 240])
def test_time_in_a_gif(tmp_path, rate):
    """Each page is shown at the right time, and none for less time than browsers support."""
    frames = np.broadcast_to(np.arange(60, dtype="uint8").reshape(2, 1, 30, 1, 1, 1) * 4, (2, 1, 30, 32, 32, 1))
    evaluation.save_animation(*frames, {}, tmp_path / "a.gif", rate, height=32)
    with Image.open(tmp_path / "a.gif") as gif:
        shown = [
            (page.info["duration"], page.convert("L").getpixel((20, 70)) / 4) for page in ImageSequence.Iterator(gif)
        ]
    durations, numbers = zip(*shown, strict=True)
    assert min(durations) >= 20
    assert (numbers[-1], durations[-1]) == (59, 1000)
    begins = np.cumsum([0, *durations[:-1]])
    expected = np.array(numbers) * 1000 / rate
    # Times are whole hundredths of a second, relative to the first page.
    np.testing.assert_allclose(begins, expected - expected[0], atol=10)
    assert len(shown) >= min(60, 60 * 30 / rate)
