"""Where the axes of a video tensor are.

Users see `(batch, time, ...)` in their `data_format`. Between folded layers, tensors are *sequences*,
`(time, batch, height, width, channels)`: time first, so that a loop over time reads contiguous steps and
`(time, batch)` merges for free; channels last, where CPUs and GPUs convolve them fastest. Conversion happens once, at
the border of a layer or model, never inside a loop.
"""

import keras
from keras import ops

from keras_frnn import backend


def _convert_channels(tensor, source: str, target: str):
    if source == target:
        return tensor
    axes = list(range(len(tensor.shape)))
    if target == "channels_first":
        axes.insert(-2, axes.pop())
    else:
        axes.append(axes.pop(-3))
    return ops.transpose(tensor, axes)


def to_sequence(video, data_format: str):
    """`(batch, time, ...)` in `data_format` -> `(time, batch, height, width, channels)`."""
    return ops.swapaxes(_convert_channels(video, data_format, "channels_last"), 0, 1)


def from_sequence(sequence, data_format: str):
    """The inverse of `to_sequence`."""
    return _convert_channels(ops.swapaxes(sequence, 0, 1), "channels_last", data_format)


def to_state(tensor, data_format: str):
    """`(batch, ...)` in `data_format` -> `(batch, height, width, channels)`."""
    return _convert_channels(tensor, data_format, "channels_last")


def from_state(state, data_format: str):
    """The inverse of `to_state`."""
    return _convert_channels(state, "channels_last", data_format)


def frame_size_and_channels(shape: tuple, data_format: str) -> tuple:
    """Height, width and channels of a shape whose last three entries are a frame in `data_format`."""
    if data_format == "channels_first":
        channels, height, width = shape[-3:]
    else:
        height, width, channels = shape[-3:]
    return height, width, channels


def frame_shape(height, width, channels, data_format: str) -> tuple:
    """The inverse of `frame_size_and_channels`."""
    return (channels, height, width) if data_format == "channels_first" else (height, width, channels)


def merge_time(sequence):
    """`(time, batch, ...)` -> `(time * batch, ...)`, or `(batch * time, ...)` where devices share the batch.

    Each device then has its frames side by side. With time first, they would have to be gathered.
    """
    if backend.batch_shards() > 1:
        sequence = ops.swapaxes(sequence, 0, 1)
    return ops.reshape(sequence, (-1, *ops.shape(sequence)[2:]))


def split_time(frames, time, batch):
    """The inverse of `merge_time`."""
    if backend.batch_shards() > 1:
        return ops.swapaxes(ops.reshape(frames, (batch, time, *ops.shape(frames)[1:])), 0, 1)
    return ops.reshape(frames, (time, batch, *ops.shape(frames)[1:]))


def over_time(function, *sequences):
    """Applies `function`, which takes `(batch, ...)`, to all steps of one or more sequences in one call."""
    time, batch = ops.shape(sequences[0])[:2]
    return keras.tree.map_structure(lambda part: split_time(part, time, batch), function(*map(merge_time, sequences)))


def at_every_pixel(values, frames, dtype: str):
    """`values`, one per channel, at every pixel of frames as large as `frames`, `(batch, ...)`."""
    return ops.broadcast_to(ops.cast(values, dtype), (*ops.shape(frames)[:3], values.shape[0]))
