"""All windows of a set of videos, as batches of `(context, future)`."""

from typing import Protocol

import cv2
import numpy as np
import tensorflow as tf

from keras_frnn.checks import check_positive_integers
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
    mirror: bool = True,
    seed: int = 0,
    samples: int | None = None,
    start: int = 0,
    num_shards: int = 1,
    shard_index: int = 0,
) -> tf.data.Dataset:
    """See `video_folder`, which has the same arguments."""
    check_split(split)
    positive = dict(
        batch_size=batch_size, context=context, horizon=horizon, frame_step=frame_step, num_shards=num_shards
    )
    for name, value in positive.items():
        check_positive_integers(value, name, 1)
    if samples is not None:
        check_positive_integers(samples, "samples", 1)
        if split == "train":
            raise ValueError(f"`samples` is for testing; training goes on for ever. Received: samples={samples}")
    check_start(start)
    if not isinstance(shard_index, int) or not 0 <= shard_index < num_shards:
        raise ValueError(
            f"`shard_index` must be 0 to {num_shards - 1}, for num_shards={num_shards}. "
            f"Received: shard_index={shard_index!r}"
        )
    height, width, channels = videos.frame_shape
    crop_height, crop_width = (height, width) if crop is None else check_positive_integers(crop, "crop", 2)
    if crop_height > height or crop_width > width:
        raise ValueError(
            f"{videos.name} has frames of {height}x{width} (height x width), too small for the crop. Received: "
            f"crop={crop!r}"
        )

    total = context + horizon
    span = (total - 1) * frame_step + 1
    windows = np.maximum(videos.lengths - span + 1, 0)
    ends = np.cumsum(windows)
    count = int(ends[-1]) if len(ends) else 0
    short = int((windows == 0).sum())
    if not count:
        longest = f"the longest has {videos.lengths.max()}" if len(videos.lengths) else "there is no video"
        raise ValueError(
            f"{videos.name} has no video of {span} frames, which {context} + {horizon} frames at "
            f"frame_step={frame_step} need; {longest}. Pass a smaller `context`, `horizon` or `frame_step`."
        )
    used = count if samples is None else min(samples, count)
    print(
        f"{videos.name}: {'all' if used == count else used} of {count:,} windows of {context} + {horizon} frames, "
        f"frame step {frame_step}, {crop_height}x{crop_width}x{channels}, from {len(windows) - short} videos"
        + (f" ({short} too short, left out)" if short else "")
    )

    spare = np.array([height - crop_height, width - crop_width])
    key = mix(seed)

    def choose(position):
        """The window at each position of the order, the corner of its crop, and whether it is mirrored."""
        if split == "train":
            draws = uniform(key, position, 3)
            corner = tf.cast(draws[:, :2] * (spare + 1.0), "int64")
            return permuted(position, seed, count), corner, (draws[:, 2] < 0.5) & mirror
        index = position if used == count else permuted(position, seed, count)
        return index, tf.tile(spare[None] // 2, [tf.size(index), 1]), tf.zeros_like(index, "bool")

    def read(index, corner, mirrored):
        video = np.searchsorted(ends, index, side="right")
        first = index - (ends[video] - windows[video])
        frames = np.empty((len(index), total, crop_height, crop_width, channels), videos.dtype)
        for i, (top, left) in enumerate(corner):
            videos.read(
                int(video[i]),
                slice(int(first[i]), int(first[i]) + span, frame_step),
                slice(int(top), int(top) + crop_height),
                slice(int(left), int(left) + crop_width),
                frames[i],
            )
            if mirrored[i]:
                rows = frames[i].reshape(-1, crop_width, channels)  # OpenCV's is many times faster than TensorFlow's.
                rows[...] = cv2.flip(rows, 1).reshape(rows.shape)
        return frames

    low, high = videos.value_range

    def scaled(frames):
        return tf.cast(frames, "float32") / ((high - low) / 2) - (high + low) / (high - low)

    def batch(position):
        frames = tf.numpy_function(read, choose(position), tf.as_dtype(videos.dtype), stateful=False)
        frames = tf.ensure_shape(frames, (None, total, crop_height, crop_width, channels))
        return scaled(frames[:, :context]), scaled(frames[:, context:])

    # Positions of the common order, of which this worker has every num_shards-th.
    stop = np.iinfo("int64").max if split == "train" else used
    positions = tf.data.Dataset.range(min(start * num_shards + shard_index, stop), stop, num_shards)
    positions = positions.batch(batch_size, drop_remainder=split == "train")
    return positions.map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def check_split(split: str):
    if split not in SPLITS:
        raise ValueError(f"`split` must be 'train' or 'test'. Received: split={split!r}")


def check_start(start: int):
    if not isinstance(start, int) or start < 0:
        raise ValueError(f"`start` must be 0 or a positive integer. Received: start={start!r}")
