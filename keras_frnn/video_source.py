"""Frames of one video, from a file or a camera, as a command or a page takes them."""

import collections
import itertools
import os
import time
from collections.abc import Iterator

import cv2
import numpy as np

from keras_frnn.datasets.video_files.decode_worker import convert
from keras_frnn.models.frames import from_uint8


class Video:
    """The frames of a file or a camera, one after the other, as OpenCV reads them.

    Args:
        source: a path, or a camera's number.

    Attributes:
        size: (height, width) of its frames.
        rate: frames a second; 0 where it does not tell.

    Raises:
        OSError: there is no such file or camera, or no video in it.
    """

    def __init__(self, source: str):
        self.source = source
        self._is_camera = source.isdecimal() and not os.path.exists(source)
        self._capture = self._open()
        more, self._first = self._capture.read()
        if not more:
            raise OSError(f"{self._name()} has no frame that decodes.")
        self.size = self._first.shape[:2]
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else 0.0

    def _name(self) -> str:
        return f"Camera {self.source}" if self._is_camera else self.source

    def _open(self) -> cv2.VideoCapture:
        if not self._is_camera and not os.path.isfile(self.source):
            found = "is a folder" if os.path.isdir(self.source) else "does not exist"
            raise FileNotFoundError(f"Expected a video file. Received: {self.source!r}, which {found}.")
        capture = cv2.VideoCapture(int(self.source) if self._is_camera else self.source)
        if not capture.isOpened():
            reason = "does not open." if self._is_camera else "does not decode: no video that FFmpeg knows."
            raise OSError(f"{self._name()} {reason}")
        return capture

    def frames(self, follow: float | None = None) -> Iterator[np.ndarray]:
        """Its frames, BGR uint8 `(height, width, 3)`.

        Args:
            follow: how many seconds to wait at the end of a file that grows.
        """
        frame, seen, size = self._first, 0, 0 if self._is_camera else os.path.getsize(self.source)
        while True:
            last = None
            while frame is not None:
                if follow is None:
                    yield frame
                elif last is not None:
                    seen += 1
                    yield last
                last, frame = frame, self._capture.read()[1]
            if follow is None:
                return
            # Of the last frame, half may not be there yet: it comes when another does, or when the file has ended.
            if self._is_camera or not _grows(self.source, size, follow):
                if last is not None:
                    yield last
                return
            # OpenCV does not look at a file again whose end it has seen.
            self._capture, size = self._open(), os.path.getsize(self.source)
            if all(self._capture.grab() for _ in range(seen)):
                frame = self._capture.read()[1]

    def read(self, shape: tuple[int, int, int], start: int, count: int, step: int = 1) -> np.ndarray:
        """Some of its frames, cut at the centre to the shape's aspect and resized.

        Args:
            shape: (height, width, channels).
            start: number of the first; -3 is the third from the end.
            count: how many at most; fewer where it ends before.
            step: 2 takes every second.

        Returns:
            float32 `(time, height, width, channels)` in [-1, 1].

        Raises:
            ValueError: there are not so many frames.
        """
        length = itertools.count()
        counted = (frame for frame, _ in zip(self.frames(), length, strict=False))
        if start < 0:
            frames = list(collections.deque(counted, maxlen=-start))
            missing, frames = len(frames) < -start, frames[::step][:count]
        else:
            frames = list(itertools.islice(counted, start, start + count * step, step))
            missing = not frames
        if missing:
            raise ValueError(f"{self.source} has {next(length)} frames. Received: --start={start}")
        return from_uint8(np.stack([resize(frame, shape) for frame in frames]))


def _grows(path: str, size: int, seconds: float) -> bool:
    """Waits until a file has another size; returns whether it has within as many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.path.getsize(path) != size:
            return True
        time.sleep(min(0.1, seconds / 4))
    return False


def resize(frame: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """A frame as OpenCV reads it, uint8 of (height, width, channels): as `datasets.prepare_videos` stores it."""
    height, width, channels = shape
    request = {"height": height, "width": width, "channels": channels, "cut": "centre", "frame_size": None}
    return convert(frame, request).reshape(shape)
