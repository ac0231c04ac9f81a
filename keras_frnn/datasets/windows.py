"""All windows of a set of videos as batches of `(context, future)`."""

from typing import Protocol

import cv2
import numpy as np
from absl import logging

from keras_frnn.checks import check_positive_integer, check_positive_integers
from keras_frnn.datasets.formats import Dataset, Order, Pair, scaled
from keras_frnn.datasets.stateless import crop_key, permuted, uniform

SPLITS = ("train", "test")


class Videos(Protocol):
    """The source of the windows.

    Attributes:
        name: for messages.
        lengths: number of frames of each video, int64.
        frame_shape: (height, width, channels).
        dtype: dtype of the frames.
        value_range: the values of black and white.
    """

    name: str
    lengths: np.ndarray
    frame_shape: tuple[int, int, int]
    dtype: np.dtype
    value_range: tuple[float, float]

    def read(self, video: int, frames: slice, rows: slice, columns: slice, out: np.ndarray) -> None:
        """Reads a part of a video into `out`, an array `(frames, rows, columns, channels)`."""


def window_dataset(
    videos: Videos,
    split: str,
    *,
    frame_step: int = 1,
    crop: tuple[int, int] | None = None,
    mirror: bool = False,
    **arguments,
) -> Dataset:
    """See `video_folder`, which has the same arguments; `arguments` are those of `Order`."""
    check_split(split)
    order, frame_step = Order(**arguments), check_positive_integer(frame_step, "frame_step")
    if order.sequences is not None and split == "train":
        raise ValueError(f"`sequences` is for testing; training is endless. Received: sequences={order.sequences}")
    windows = _Windows(videos, order.context, order.horizon, frame_step, crop)
    used = windows.count if order.sequences is None else min(order.sequences, windows.count)
    logging.info("%s", windows.description(used))
    if split == "train":
        return order.dataset(_Drawn(windows, order.seed, mirror), windows.shape[1:], None)
    return order.dataset(_Central(windows, order.seed, used), windows.shape[1:], used)


class _Windows:
    """All windows of a set of videos, numbered video by video and frame by frame.

    Attributes:
        count: number of windows.
        shape: (frames, height, width, channels) of a window.
        spare: (rows, columns) that the crop removes, int64.
    """

    def __init__(self, videos: Videos, context: int, horizon: int, frame_step: int, crop: tuple[int, int] | None):
        height, width, channels = videos.frame_shape
        rows, columns = (height, width) if crop is None else check_positive_integers(crop, "crop", 2)
        if rows > height or columns > width:
            raise ValueError(
                f"{videos.name} has frames of {height}x{width} (height x width), too small for the crop. Received: "
                f"crop={crop!r}"
            )
        self.videos, self.context, self.horizon, self.frame_step = videos, context, horizon, frame_step
        self.shape = (context + horizon, rows, columns, channels)
        self.spare = np.array([height - rows, width - columns])
        self.span = (context + horizon - 1) * frame_step + 1
        self.of_video = np.maximum(videos.lengths - self.span + 1, 0)
        self.ends = np.cumsum(self.of_video)
        self.count = int(self.of_video.sum())
        if not self.count:
            longest = f"the longest has {videos.lengths.max()}" if len(videos.lengths) else "there is no video"
            raise ValueError(
                f"{videos.name} has no video of {self.span} frames, which {context} + {horizon} frames at "
                f"frame_step={frame_step} require; {longest}. Pass a smaller `context`, `horizon` or `frame_step`."
            )

    def description(self, used: int) -> str:
        _, height, width, channels = self.shape
        short = int((self.of_video == 0).sum())
        videos = len(self.of_video) - short
        return (
            f"{self.videos.name}: {'all' if used == self.count else used} of {self.count:,} windows of "
            f"{self.context} + {self.horizon} frames, frame step {self.frame_step}, {height}x{width}x{channels}, "
            f"from {videos} video{'s' * (videos > 1)}" + (f" ({short} too short, skipped)" if short else "")
        )

    def read(self, index: np.ndarray, corner: np.ndarray, mirrored: np.ndarray) -> Pair:
        """Context and future frames of some windows, float32.

        Args:
            index: numbers of the windows, int64 `(batch,)`.
            corner: first row and column of each crop, int64 `(batch, 2)`.
            mirrored: which windows to mirror, bool `(batch,)`.
        """
        _, height, width, channels = self.shape
        video = np.searchsorted(self.ends, index, side="right")
        first = index - (self.ends[video] - self.of_video[video])
        frames = np.empty((len(index), *self.shape), self.videos.dtype)
        for i, (top, left) in enumerate(corner):
            self.videos.read(
                int(video[i]),
                slice(int(first[i]), int(first[i]) + self.span, self.frame_step),
                slice(int(top), int(top) + height),
                slice(int(left), int(left) + width),
                frames[i],
            )
            if mirrored[i]:
                rows = frames[i].reshape(-1, width, channels)  # OpenCV flips many times faster than NumPy.
                rows[...] = cv2.flip(rows, 1).reshape(rows.shape)
        return scaled(frames, self.context, self.videos.value_range)


class _Drawn:
    """Training windows by position in an endless order, with random crops; with `mirror`, half are mirrored."""

    def __init__(self, windows: _Windows, seed: int, mirror: bool):
        self.windows, self.seed, self.mirror = windows, seed, mirror

    def __call__(self, position: np.ndarray) -> Pair:
        draws = uniform(crop_key(self.seed), position, 3)
        corner = (draws[:, :2] * (self.windows.spare + 1)).astype("int64")
        index = permuted(position, self.seed, self.windows.count)
        return self.windows.read(index, corner, (draws[:, 2] < 0.5) & self.mirror)


class _Central:
    """Test windows by position, all or a selection of `used`, cropped at the center and never mirrored."""

    def __init__(self, windows: _Windows, seed: int, used: int):
        self.windows, self.seed, self.used = windows, seed, used

    def __call__(self, position: np.ndarray) -> Pair:
        is_selection = self.used < self.windows.count
        index = permuted(position, self.seed, self.windows.count) if is_selection else position
        corner = np.broadcast_to(self.windows.spare // 2, (len(index), 2))
        return self.windows.read(index, corner, np.zeros(len(index), "bool"))


def check_split(split: str):
    if split not in SPLITS:
        raise ValueError(f"`split` must be 'train' or 'test'. Received: split={split!r}")
