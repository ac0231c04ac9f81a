"""All windows of a set of videos, as batches of `(context, future)`."""

from typing import Protocol

import cv2
import numpy as np
from absl import logging

from keras_frnn.checks import (
    check_integer,
    check_positive_integer,
    check_positive_integers,
    check_positive_integers_by_name,
)
from keras_frnn.datasets.faces import Dataset, Pair, dataset, positions, scaled
from keras_frnn.datasets.stateless import crop_key, permuted, uniform

SPLITS = ("train", "test")


class Videos(Protocol):
    """What windows are cut from.

    Attributes:
        name: for messages.
        lengths: frames of each video, int64.
        frame_shape: (height, width, channels).
        dtype: of the frames.
        value_range: the values of black and white.
    """

    name: str
    lengths: np.ndarray
    frame_shape: tuple[int, int, int]
    dtype: np.dtype
    value_range: tuple[float, float]

    def read(self, video: int, frames: slice, rows: slice, columns: slice, out: np.ndarray) -> None:
        """Writes a part of a video into an array `(frames, rows, columns, channels)`."""


def window_dataset(
    videos: Videos,
    split: str,
    *,
    batch_size: int = 12,
    context: int = 10,
    horizon: int = 10,
    frame_step: int = 1,
    crop: tuple[int, int] | None = None,
    mirror: bool = False,
    seed: int = 0,
    sequences: int | None = None,
    start: int = 0,
    num_shards: int = 1,
    shard_index: int = 0,
    format: str | None = None,
) -> Dataset:
    """See `video_folder`, which has the same arguments."""
    check_split(split)
    batch_size, context, horizon, frame_step, num_shards = check_positive_integers_by_name(
        batch_size=batch_size, context=context, horizon=horizon, frame_step=frame_step, num_shards=num_shards
    )
    if sequences is not None:
        sequences = check_positive_integer(sequences, "sequences")
        if split == "train":
            raise ValueError(f"`sequences` is for testing; training goes on for ever. Received: sequences={sequences}")
    seed, start = check_integer(seed, "seed"), check_integer(start, "start", 0)
    shard_index = check_integer(shard_index, "shard_index", 0, num_shards - 1)
    windows = _Windows(videos, context, horizon, frame_step, crop)
    used = windows.count if sequences is None else min(sequences, windows.count)
    logging.info("%s", windows.description(used))
    make = _Drawn(windows, seed, mirror) if split == "train" else _Central(windows, seed, used)
    # Positions of the common order, of which this worker has every num_shards-th.
    order = positions(start * num_shards, None if split == "train" else used, num_shards, shard_index)
    _, *frame_shape = windows.shape
    return dataset(make, ((context, *frame_shape), (horizon, *frame_shape)), order, batch_size, format)


class _Windows:
    """All windows of a set of videos, by their numbers: video after video, frame after frame.

    Attributes:
        count: how many there are.
        shape: (frames, height, width, channels) of one.
        spare: (rows, columns) that the crop leaves, int64.
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
                f"frame_step={frame_step} need; {longest}. Pass a smaller `context`, `horizon` or `frame_step`."
            )

    def description(self, used: int) -> str:
        _, height, width, channels = self.shape
        short = int((self.of_video == 0).sum())
        return (
            f"{self.videos.name}: {'all' if used == self.count else used} of {self.count:,} windows of "
            f"{self.context} + {self.horizon} frames, frame step {self.frame_step}, {height}x{width}x{channels}, "
            f"from {len(self.of_video) - short} videos" + (f" ({short} too short, left out)" if short else "")
        )

    def read(self, index: np.ndarray, corner: np.ndarray, mirrored: np.ndarray) -> Pair:
        """Context and future frames of windows, float32.

        Args:
            index: their numbers, int64 `(batch,)`.
            corner: first row and column of each crop, int64 `(batch, 2)`.
            mirrored: whether each is mirrored, bool `(batch,)`.
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
                rows = frames[i].reshape(-1, width, channels)  # OpenCV's flip is many times faster than NumPy's.
                rows[...] = cv2.flip(rows, 1).reshape(rows.shape)
        return scaled(frames, self.context, self.videos.value_range)


class _Drawn:
    """Training windows by their positions in an endless order: any crop, half of them mirrored."""

    def __init__(self, windows: _Windows, seed: int, mirror: bool):
        self.windows, self.seed, self.mirror = windows, seed, mirror

    def __call__(self, position: np.ndarray) -> Pair:
        draws = uniform(crop_key(self.seed), position, 3)
        corner = (draws[:, :2] * (self.windows.spare + 1)).astype("int64")
        index = permuted(position, self.seed, self.windows.count)
        return self.windows.read(index, corner, (draws[:, 2] < 0.5) & self.mirror)


class _Central:
    """Test windows by their positions, all or a choice of `used`: the crop at the centre, none mirrored."""

    def __init__(self, windows: _Windows, seed: int, used: int):
        self.windows, self.seed, self.used = windows, seed, used

    def __call__(self, position: np.ndarray) -> Pair:
        is_choice = self.used < self.windows.count
        index = permuted(position, self.seed, self.windows.count) if is_choice else position
        corner = np.broadcast_to(self.windows.spare // 2, (len(index), 2))
        return self.windows.read(index, corner, np.zeros(len(index), "bool"))


def check_split(split: str):
    if split not in SPLITS:
        raise ValueError(f"`split` must be 'train' or 'test'. Received: split={split!r}")
