"""All windows of a set of videos, as batches of `(context, future)`."""

from typing import Protocol

import cv2
import numpy as np
import tensorflow as tf
from absl import logging

from keras_frnn.checks import (
    check_integer,
    check_positive_integer,
    check_positive_integers,
    check_positive_integers_by_name,
)
from keras_frnn.datasets.stateless import mix, permuted, uniform

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
) -> tf.data.Dataset:
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
    low, high = videos.value_range

    def scaled(frames):
        return tf.cast(frames, "float32") / ((high - low) / 2) - (high + low) / (high - low)

    def batch(position):
        if split == "train":
            chosen = _drawn(position, seed, windows, mirror)
        else:
            chosen = _central(position if used == windows.count else permuted(position, seed, windows.count), windows)
        frames = tf.numpy_function(windows.read, chosen, tf.as_dtype(videos.dtype), stateful=False)
        frames = tf.ensure_shape(frames, (None, *windows.shape))
        return scaled(frames[:, :context]), scaled(frames[:, context:])

    # Positions of the common order, of which this worker has every num_shards-th.
    stop = np.iinfo("int64").max if split == "train" else used
    positions = tf.data.Dataset.range(min(start * num_shards + shard_index, stop), stop, num_shards)
    positions = positions.batch(batch_size, drop_remainder=split == "train")
    return positions.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


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

    def read(self, index: np.ndarray, corner: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
        """Windows `(batch, frames, height, width, channels)`.

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
                rows = frames[i].reshape(-1, width, channels)  # OpenCV's is many times faster than TensorFlow's.
                rows[...] = cv2.flip(rows, 1).reshape(rows.shape)
        return frames


def _drawn(position: tf.Tensor, seed: int, windows: _Windows, mirror: bool):
    """For training, what `_Windows.read` takes for each position of the order: any crop, half of them mirrored."""
    draws = uniform(mix(seed), position, 3)
    corner = tf.cast(draws[:, :2] * (windows.spare + 1.0), "int64")
    return permuted(position, seed, windows.count), corner, (draws[:, 2] < 0.5) & mirror


def _central(index: tf.Tensor, windows: _Windows):
    """For testing, what `_Windows.read` takes for each window: the crop at the centre, none mirrored."""
    return index, tf.tile(windows.spare[None] // 2, [tf.size(index), 1]), tf.zeros_like(index, "bool")


def check_split(split: str):
    if split not in SPLITS:
        raise ValueError(f"`split` must be 'train' or 'test'. Received: split={split!r}")
