"""The frames of one video, read from a file or a camera."""

import collections
import itertools
import os
import time
from collections.abc import Iterator

import av
import cv2
import numpy as np

from keras_frnn.command.before_keras import check_file
from keras_frnn.datasets.video_files.clips import shown
from keras_frnn.datasets.video_files.decode_worker import convert
from keras_frnn.datasets.video_files.video_reader import VideoReader
from keras_frnn.models.frames import from_uint8


class Video:
    """Reads the frames of a file with PyAV, or of a camera with OpenCV, one after the other.

    Args:
        source: a path, or the number of a camera.

    Attributes:
        size: (height, width) of its frames when shown with square pixels.
        pixel_aspect: width of a pixel of `frames`, divided by its height.
        rate: frames per second; 0 if unknown.

    Raises:
        OSError: there is no such file or camera, or it has no video.
    """

    def __init__(self, source: str):
        self.source = source
        self._is_camera = source.isdecimal() and not os.path.exists(source)
        self.pixel_aspect = 1.0
        if self._is_camera:
            self._camera = cv2.VideoCapture(int(source))
            if not self._camera.isOpened():
                raise OSError(f"Camera {source} does not open.")
            rate = self._camera.get(cv2.CAP_PROP_FPS)
            first = next(self._camera_frames(), None)
        else:
            check_file(source)
            reader = self._reader()
            first = next(self._file_frames(reader), None)
            rate, self.pixel_aspect = float(reader.header_rate), reader.pixel_aspect
        if first is None:
            raise OSError(f"{self._name()} has no frame that decodes.")
        if self._is_camera:
            self._live = itertools.chain([first], self._camera_frames())
        height, width = first.shape[:2]
        self.size = height, max(round(width * self.pixel_aspect), 1)
        self.rate = rate if 0 < rate < 1000 else 0.0

    def _name(self) -> str:
        return f"Camera {self.source}" if self._is_camera else shown(self.source)

    def _reader(self) -> VideoReader:
        try:
            return VideoReader(self.source)
        except ValueError as error:
            raise OSError(f"{self._name()} does not decode: {error}.") from error

    def _camera_frames(self) -> Iterator[np.ndarray]:
        while (frame := self._camera.read()[1]) is not None:
            yield frame

    def _file_frames(self, reader: VideoReader) -> Iterator[np.ndarray]:
        try:
            yield from (frame for frame, _ in reader.frames())
        except (av.FFmpegError, cv2.error) as error:
            raise OSError(f"{self._name()} does not decode: {error}.") from error
        finally:
            reader.close()

    def frames(self, follow: float | None = None) -> Iterator[np.ndarray]:
        """Its frames, BGR uint8 `(height, width, 3)`. Those of a file start with the first one at each call.

        Args:
            follow: how many seconds to wait for more at the end of a file.
        """
        if self._is_camera:
            yield from self._live
        elif follow is None:
            yield from self._file_frames(self._reader())
        else:
            yield from self._growing(follow)

    def _growing(self, follow: float) -> Iterator[np.ndarray]:
        seen = 0
        while True:
            size, last = os.path.getsize(self.source), None
            # FFmpeg reads no further once it has seen the end of a file, so it is opened again.
            for frame in itertools.islice(self._file_frames(self._reader()), seen, None):
                if last is not None:
                    seen += 1
                    yield last
                last = frame
            # The last frame may be incomplete: it is yielded when another one follows, or when the file has ended.
            if not _grows(self.source, size, follow):
                if last is not None:
                    yield last
                return

    def read(self, shape: tuple[int, int, int], start: int, count: int, step: int = 1) -> np.ndarray:
        """Some of its frames, cropped at the center to the aspect of the shape and resized.

        Args:
            shape: (height, width, channels).
            start: number of the first frame; -3 is the third from the end.
            count: how many at most; fewer if the video ends before.
            step: 2 takes every second frame.

        Returns:
            float32 `(time, height, width, channels)` in [-1, 1].

        Raises:
            ValueError: the video has no frame `start`.
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
            raise ValueError(f"{self._name()} has {next(length)} frames. Received: --start={start}")
        return from_uint8(np.stack([resize(frame, shape, self.pixel_aspect) for frame in frames]))


def _grows(path: str, size: int, seconds: float) -> bool:
    """Waits for a file to change its size; returns whether it does within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.path.getsize(path) != size:
            return True
        time.sleep(min(0.1, seconds / 4))
    return False


def resize(frame: np.ndarray, shape: tuple[int, int, int], pixel_aspect: float = 1.0) -> np.ndarray:
    """Crops and resizes a frame as `datasets.prepare_videos` does.

    Args:
        frame: BGR uint8 `(H, W, 3)`.
        shape: (height, width, channels).
        pixel_aspect: width of the frame's pixels, divided by their height.

    Returns:
        uint8 of the shape; RGB or gray.
    """
    height, width, channels = shape
    request = {"height": height, "width": width, "channels": channels, "cut": "centre", "frame_size": None}
    return convert(frame, request, pixel_aspect).reshape(shape)


def enlarge(frames: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Frames at the size of the video that they come from. What `resize` cropped is black.

    Args:
        frames: uint8 `(time, height, width, channels)`.
        size: (height, width) of the video's frames when shown with square pixels.

    Returns:
        uint8 `(time, *size, channels)`.
    """
    (height, width), (_, rows, columns, channels) = size, frames.shape
    inner_height = max(min(height, round(width * rows / columns)), 1)
    inner_width = max(min(width, round(height * columns / rows)), 1)
    top, left = (height - inner_height) // 2, (width - inner_width) // 2
    enlarged = np.zeros((len(frames), height, width, channels), "uint8")
    for frame, target in zip(frames, enlarged, strict=True):
        inner = cv2.resize(frame, (inner_width, inner_height), interpolation=cv2.INTER_CUBIC)
        target[top : top + inner_height, left : left + inner_width] = inner.reshape(inner_height, inner_width, channels)
    return enlarged
