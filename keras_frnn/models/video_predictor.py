"""What every model here shares: frames in, future frames out."""

import keras
import numpy as np
from keras import ops

from keras_frnn.checks import check_positive_integer


class VideoPredictor(keras.Model):
    """Base of models that predict the future frames of a video.

    A subclass implements `predict_frames(context, steps)`.

    Args:
        horizon: number of frames that a call predicts.
    """

    def __init__(self, horizon: int, **kwargs):
        # Folded layers cast to their own dtypes, which may differ from each other; a scope of the model's would meddle.
        super().__init__(autocast=False, **kwargs)
        self.horizon = check_positive_integer(horizon, "horizon")
        # For the compiled functions of other horizons. They hold this model, so Keras must not track them.
        object.__setattr__(self, "_other_horizons", {})

    def predict_frames(self, context, steps: int):
        """The next `steps` frames as a tensor."""
        raise NotImplementedError

    def call(self, context):
        return self.predict_frames(context, self.horizon)

    def forecast(self, context, steps: int | None = None, batch_size: int = 32) -> np.ndarray:
        """Predicts any number of future frames; NumPy in, NumPy out.

        The first call for a number of steps and a batch shape compiles, later ones are fast.

        Args:
            context: array `(batch, context, height, width, channels)`, values in [-1, 1]; with a model of
                `channels_first` layers, channels come before height.
            steps: number of frames to predict; `horizon` by default.
            batch_size: how many sequences to predict at a time; bounds the memory.

        Returns:
            float32 array `(batch, steps, height, width, channels)`, values in [-1, 1].

        Raises:
            ValueError: `steps` or `batch_size` is not a positive integer; or the context has another rank, no frames,
                integers, NaNs, or values outside [-1, 1].
        """
        steps = check_positive_integer(self.horizon if steps is None else steps, "steps")
        batch_size = check_positive_integer(batch_size, "batch_size")
        context = check_frames(context)
        if len(context) == 0:
            raise ValueError(f"There is no sequence to predict from. Received: context of shape {context.shape}")
        predictor = self
        if steps != self.horizon:
            if not self.built:
                self.build(context.shape)
            predictor = self._other_horizons.setdefault(steps, _OtherHorizon(self, steps))
        # Not `predict`, which sets up a data pipeline of its own: that takes longer than a small network.
        parts = [context[first : first + batch_size] for first in range(0, len(context), batch_size)]
        return np.concatenate([np.asarray(predictor.predict_on_batch(part), "float32") for part in parts])

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss that the model was compiled with.

        `sample_weight` is `(batch,)`, or `(batch, time)`, or has further axes of what the loss is the mean of.
        """
        if sample_weight is not None and self.loss is not None:
            sample_weight = self._weights_like_loss(y, y_pred, sample_weight)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def _weights_like_loss(self, y, y_pred, sample_weight):
        # Keras multiplies losses and weights as they are, which lines up sequences with the columns of frames.
        y, loss, weights = (keras.tree.flatten(structure)[0] for structure in (y, self.loss, sample_weight))
        loss, weights = keras.losses.get(loss), ops.convert_to_tensor(weights)
        values = getattr(loss, "call", loss)(ops.cast(y[:1], y_pred.dtype), y_pred[:1])
        shape, missing = (y_pred.shape[0], *values.shape[1:]), len(values.shape) - len(weights.shape)
        axes = zip(weights.shape, shape, strict=False)
        if missing < 0 or any(here not in (1, there) and None not in (here, there) for here, there in axes):
            raise ValueError(
                "`sample_weight` must be of shape (batch,) or (batch, time). "
                f"Received: sample_weight of shape {tuple(weights.shape)} for frames of shape {tuple(y_pred.shape)}"
            )
        weights = ops.reshape(weights, (*ops.shape(weights), *[1] * missing))
        return ops.cast(weights, values.dtype) * ops.ones_like(values)

    def make_train_function(self, force: bool = False):
        # TensorFlow traces a function twice where the first run makes variables, as an optimizer's first step does.
        if self.built and self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def compute_output_shape(self, context_shape):
        return (context_shape[0], self.horizon, *context_shape[2:])

    def get_config(self) -> dict:
        return {**super().get_config(), "horizon": self.horizon}


class _OtherHorizon(keras.Model):
    """A model seen through another horizon, so that Keras compiles a `predict` for it."""

    def __init__(self, model: VideoPredictor, steps: int):
        super().__init__(autocast=False, name="other_horizon")
        self.model, self.steps = model, steps

    def call(self, context):
        return self.model.predict_frames(context, self.steps)


def check_frames(frames):
    """Frames as they may enter a model: five axes, floating point, in [-1, 1]; else a `ValueError` says what is wrong.

    Arrays and lists come back as float32 arrays. Of tensors, also symbolic ones, only shape and dtype are checked:
    looking at values would wait for the device.
    """
    is_tensor = ops.is_tensor(frames)
    frames = frames if is_tensor else np.asarray(frames)
    shape, dtype = tuple(frames.shape), keras.backend.standardize_dtype(frames.dtype)
    if len(shape) != 5:
        raise ValueError(
            "Expected frames of shape (batch, time, height, width, channels), or (batch, time, channels, height, "
            f"width) with channels_first. Received: shape={shape}. A single sequence needs a batch axis of 1, "
            "grey frames a channel axis of 1."
        )
    if shape[1] == 0:
        raise ValueError(f"Expected at least one frame. Received: shape={shape}")
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            "Expected floating-point frames in [-1, 1]. "
            f"Received: dtype={dtype}. For uint8 frames, pass `frames / 127.5 - 1`."
        )
    if is_tensor:
        return frames
    if frames.size:
        low, high = float(frames.min()), float(frames.max())
        # NaN fails every comparison. The margin is for frames that went through float16 or an interpolation.
        if not (low >= -1.001 and high <= 1.001):
            found = "NaN" if np.isnan(low) else f"values from {low:g} to {high:g}"
            raise ValueError(
                f"Expected frames with values in [-1, 1]. Received: {found}. "
                "For frames in [0, 1], pass `2 * frames - 1`; in [0, 255], `frames / 127.5 - 1`."
            )
    return frames.astype("float32", copy=False)
