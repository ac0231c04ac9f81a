"""What may go into a model: checks of frames, wherever they come from."""

import itertools
import warnings

import keras
import numpy as np
from keras import ops

from keras_frnn.backend import batch_processes, batch_shards
from keras_frnn.checks import check_range, shapes_fit
from keras_frnn.layers import layout

_NEARLY_BLACK = 0.05  # The darkest pixel of frames in [0, 1], most often.
_SEQUENCES = 32  # Of an array, how many are looked at before training on it.


def from_uint8(frames: np.ndarray) -> np.ndarray:
    """A camera's frames as models take them."""
    return frames.astype("float32") / 127.5 - 1


def to_uint8(frames: np.ndarray) -> np.ndarray:
    """Frames in [-1, 1] as a screen takes them; what is beyond is cut off."""
    return np.clip((frames + 1) * 127.5, 0, 255).round().astype("uint8")


def check_rank(shape) -> tuple:
    """The shape of a video as a tuple; a `ValueError` if it is that of something else."""
    if shape is None or getattr(shape, "rank", 0) is None:
        raise ValueError(
            "The rank of the frames is not known. Expected frames of shape (batch, time, height, width, channels): a "
            "dataset must tell their shape, such as with `output_signature` of `tf.data.Dataset.from_generator`, or "
            "with `tf.ensure_shape`."
        )
    # Where Torch traces, it makes tensors of the lengths.
    shape = tuple(int(length) if ops.is_tensor(length) else length for length in shape)
    if len(shape) != 5:
        raise ValueError(
            "Expected frames of shape (batch, time, height, width, channels), or (batch, time, channels, height, "
            f"width) with channels_first. Received: shape={shape}. A single sequence needs a batch axis of 1, "
            "grey frames a channel axis of 1."
        )
    return shape


def check_frames(frames):
    """Frames as they may enter a model: five axes, floating point, in [-1, 1]; else a `ValueError` says what is wrong.

    Arrays and lists come back as float32 arrays. Of tensors only shape and dtype are checked: looking at values would
    wait for the device.
    """
    is_tensor = ops.is_tensor(frames) or isinstance(frames, keras.KerasTensor)
    if not is_tensor:
        try:
            frames = np.asarray(frames)
        except ValueError as error:
            raise ValueError(f"Expected an array of frames, all of one size. NumPy makes none of it: {error}") from None
        if frames.dtype.kind not in "fiub" and frames.dtype.name != "bfloat16":
            raise ValueError(f"Expected an array of floating-point frames. Received: dtype={frames.dtype}")
    shape, dtype = check_rank(frames.shape), keras.backend.standardize_dtype(frames.dtype)
    if shape[1] == 0:
        raise ValueError(f"Expected at least one frame. Received: shape={shape}")
    if shape[0] == 0:
        raise ValueError(f"There is no sequence: the batch is empty. Received: shape={shape}")
    if 0 in shape:
        raise ValueError(f"Expected frames of one pixel or more. Received: shape={shape}")
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            "Expected floating-point frames in [-1, 1]. "
            f"Received: dtype={dtype}. For uint8 frames, pass `frames / 127.5 - 1`."
        )
    if is_tensor:
        return frames
    check_range(frames)
    return frames.astype("float32", copy=False)


def warn_of_range(*parts) -> bool:
    """Warns of frames that seem to be in [0, 1], where models take [-1, 1]; tells whether it has warned.

    Args:
        parts: arrays of frames, or None. Tensors are not looked at: that would wait for the device.
    """
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    low, high = (float(extreme([extreme(part) for part in arrays] or [0])) for extreme in (np.min, np.max))
    if not 0 <= low < _NEARLY_BLACK or high == low:
        return False
    warnings.warn(
        "The first frames are in [0, 1]. Models here take frames in [-1, 1], where black is -1: pass `2 * frames - 1`. "
        "Frames in which nothing is darker than grey are right as they are.",
        stacklevel=4,
    )
    return True


def to_numpy(frames):
    """Tensors of any library as arrays; everything else as it is."""
    if ops.is_tensor(frames):
        return ops.convert_to_numpy(frames)
    return frames.numpy() if hasattr(frames, "numpy") else frames


def finite_array(frames, model: keras.Model) -> np.ndarray:
    """The frames that a model has predicted as a float32 array.

    Raises:
        FloatingPointError: some are NaN or infinite; names weights of the model that are, too.
    """
    frames = ops.convert_to_numpy(frames).astype("float32")
    if not np.isfinite(frames).all():
        broken = [v.path for v in model.weights if not np.isfinite(ops.convert_to_numpy(v)).all()]
        raise FloatingPointError(
            "The model's forecast has values that are NaN or infinite. "
            + (f"So have its weights: {', '.join(broken[:3])}" if broken else "Its weights are finite.")
        )
    return frames


def check_future(shape, predicted_shape):
    """Raises if true future frames have another shape than predicted ones; axes that are not known yet fit."""
    shape, predicted_shape = check_rank(shape), tuple(predicted_shape)
    if not shapes_fit(shape, predicted_shape):
        raise ValueError(
            f"The future frames must have the shape of the predicted ones, {predicted_shape}, whose second axis is the "
            f"model's horizon. Received: future of shape {shape}"
        )


def check_shared(sequences: int, batch_size: int | None = None):
    """Raises if the devices of `keras.distribution` cannot share batches of so many sequences equally.

    Args:
        sequences: in a batch, or to be cut into batches.
        batch_size: of those batches, of which the last may be smaller.
    """
    shards = max(1, batch_shards() // batch_processes())
    batch = sequences if batch_size is None else min(batch_size, sequences)
    if odd := next((size for size in (batch, sequences % batch) if size % shards), None):
        of = "" if batch_size is None else f", {batch} a batch and {sequences % batch} left over"
        raise ValueError(
            f"{shards} devices cannot share a batch of {odd} sequence(s) equally. Give batches that are multiples of "
            f"{shards}. Received: {sequences} sequence(s){of}"
        )


def check_channels(shape, built_for, data_format: str):
    """Raises if frames have another number of channels than those that a network was built for."""
    *_, channels = layout.frame_size_and_channels(shape, data_format)
    *_, expected = layout.frame_size_and_channels(built_for, data_format)
    if channels != expected:
        raise ValueError(
            f"This network was built for frames of {expected} channel(s). "
            f"Received: frames of shape {tuple(shape)} with data_format='{data_format}'"
        )


def is_array(data) -> bool:
    if isinstance(data, keras.utils.PyDataset):  # Keras 3.5's have no `__iter__`.
        return False
    return ops.is_tensor(data) or isinstance(data, (np.ndarray, list, tuple)) or not hasattr(data, "__iter__")


def peek(data, future=None):
    """The first context and future frames of what `fit` takes, as arrays, and the data to go on with.

    Of arrays these are the first sequences; of a dataset, or whatever else yields batches, those of the first batch.
    The future is None where there is none.
    """
    if is_array(data):
        return to_numpy(data[:_SEQUENCES]), None if future is None else to_numpy(future[:_SEQUENCES]), data
    if isinstance(data, keras.utils.PyDataset):
        batch = None if data.num_batches == 0 else data[0]
    elif hasattr(data, "element_spec"):  # tf.data
        for part in keras.tree.flatten(data.element_spec)[:2]:
            check_rank(part.shape)
        batch = next(iter(data.take(1) if hasattr(data, "take") else data), None)
    else:
        batch = next(iter(data), None)
        if hasattr(data, "__next__"):  # Nobody could go back to its first batch. Keras takes generators alone.
            first, rest = batch, data
            data = (batch for batch in itertools.chain([first], rest))
    if batch is None:
        raise ValueError("The data has no batch.")
    context, future, *_ = batch if isinstance(batch, (tuple, list)) and len(batch) > 1 else (batch, None)
    if isinstance(context, (tuple, list)) and len(context) == 1:
        (context,) = context
    return to_numpy(context), None if future is None else to_numpy(future), data
