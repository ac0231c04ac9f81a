"""What every model here shares: frames in, future frames out."""

import os
import threading

import keras
import numpy as np
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_float_policy, check_is_tensor, check_keywords, check_positive_integer
from keras_frnn.models.export import Exportable
from keras_frnn.models.frames import (
    check_frames,
    check_future,
    check_rank,
    check_shared,
    is_array,
    peek,
    to_numpy,
    warn_of_range,
)

# Keras' layers are made by one thread at a time: two that call a new model at once would both make its weights.
_building = threading.RLock()


def _refuse_class_weight(class_weight):
    if class_weight:
        raise ValueError(
            "`class_weight` is for the labels of classifiers, and frames have none. To weight sequences or steps, pass "
            "`sample_weight`, of shape (batch,) or (batch, time)."
        )


class VideoPredictor(Exportable, keras.Model):
    """Base of models that predict the future frames of a video.

    A subclass implements `predict_frames(context, steps)`, and `make_weights(context_shape)` if it has any.

    Args:
        horizon: number of frames that a call predicts.

    Call arguments:
        context: frames `(batch, context, height, width, channels)`, float, values in [-1, 1].
        training: whether weights are to be trained by what is computed, as in `fit`. With Torch, an eager call records
            what a gradient needs only with `training=True`, or if the context requires a gradient itself; a loop over
            a camera would keep every frame otherwise.
    """

    context_shape: tuple

    def __init__(self, horizon: int, **kwargs):
        check_keywords(type(self).__name__, kwargs)
        # Folded layers cast to their own dtypes, which may differ from each other; a scope of the model's would meddle.
        super().__init__(autocast=False, **kwargs)
        check_float_policy(self.dtype_policy)
        self.horizon = check_positive_integer(horizon, "horizon")
        self._compiled_calls = backend.CompiledCalls(self)
        self._has_seen_frames = self._has_warned_of_range = False

    def predict_frames(self, context, steps: int):
        """The next `steps` frames as a tensor."""
        raise NotImplementedError

    def make_weights(self, context_shape: tuple):
        """Builds the layers for frames of this shape, whose batch is None."""

    def build(self, context_shape):
        """Makes the weights, once; later frames may have another size. Threads wait for each other."""
        with _building:
            if not hasattr(self, "context_shape"):
                shape = (None, *check_rank(context_shape)[1:])
                self.make_weights(shape)
                self.context_shape = shape

    def __call__(self, context, *args, **kwargs):
        check_is_tensor(context, "context")
        # Keras would build, too, but without a lock.
        if getattr(context, "shape", None) is not None:
            self._build_for(context.shape)
        return super().__call__(context, *args, **kwargs)

    def _build_for(self, shape):
        if self.built:
            return
        with _building:
            if not self.built:
                self.build(shape)

    def call(self, context, training: bool = False):
        with backend.gradients(training, context):
            return self.predict_frames(context, self.horizon)

    def forecast(self, context, steps: int | None = None, batch_size: int = 32) -> np.ndarray:
        """Predicts any number of future frames; NumPy in, NumPy out.

        The first call for a number of steps and a batch shape compiles, later ones are fast. The eight compiled last
        are kept. Several threads may call it. Not so in a process that was forked after a forecast: backends hang
        there; spawn processes instead, see docs/processes.md.

        Args:
            context: array or tensor `(batch, context, height, width, channels)`, values in [-1, 1]; with a model of
                `channels_first` layers, channels come before height.
            steps: number of frames to predict; `horizon` by default.
            batch_size: how many sequences to predict at a time; bounds the memory.

        Returns:
            float32 array `(batch, steps, height, width, channels)`, values in [-1, 1].

        Raises:
            ValueError: `steps` or `batch_size` is not a positive integer; or the context has another rank, no frames,
                a size that does not fit, integers, NaNs, or values outside [-1, 1].
            FloatingPointError: what the model predicts is not finite, as with weights that are not.
        """
        steps = check_positive_integer(self.horizon if steps is None else steps, "steps")
        batch_size = check_positive_integer(batch_size, "batch_size")
        context = check_frames(to_numpy(context))
        self._build_for(context.shape)
        self._check_fit(context.shape)
        parts = []
        for first in range(0, len(context), batch_size):
            part = ops.convert_to_tensor(context[first : first + batch_size])
            # Not `predict`, which sets up a data pipeline of its own: that takes longer than a small network.
            with backend.gradients(False):
                frames = self._compiled_calls(self.predict_frames, part, at_once=True, steps=steps)
            parts.append(self._finite(frames))
        return np.concatenate(parts)

    def _finite(self, frames) -> np.ndarray:
        """Predicted frames as a float32 array; raises FloatingPointError where they are not finite."""
        frames = ops.convert_to_numpy(frames).astype("float32")
        if not np.isfinite(frames).all():
            broken = [v.path for v in self.weights if not np.isfinite(ops.convert_to_numpy(v)).all()]
            raise FloatingPointError(
                "The model's forecast has values that are NaN or infinite. "
                + (f"So have its weights: {', '.join(broken[:3])}" if broken else "Its weights are finite.")
            )
        return frames

    def _check_fit(self, shape):
        """Raises if frames of this shape do not fit the network."""
        check_rank(shape)

    # What goes into Keras' own loops is checked before it is compiled into them, and weights are there beforehand.

    def fit(self, x=None, y=None, *args, **kwargs):
        """`keras.Model.fit`; shape, dtype and range of the first frames are checked. `y` has `horizon` frames.

        Warns, once, where the first frames look like frames in [0, 1].
        """
        _refuse_class_weight(args[7:8] or kwargs.get("class_weight"))
        batch_size = args[0] if args else kwargs.get("batch_size")
        x = self._checked(x, y, batch_size, is_training=True)
        validation = kwargs.get("validation_data")
        if validation is not None:
            if is_array(validation):
                self._checked(*validation[:2], kwargs.get("validation_batch_size") or batch_size)
            else:
                kwargs["validation_data"] = self._checked(validation)
        if not is_array(x) and len(args) < 7:
            kwargs.setdefault("shuffle", False)  # Data that comes in batches has an order of its own.
        return super().fit(x, y, *args, **kwargs)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """`keras.Model.evaluate`; shape, dtype and range of the first frames are checked."""
        if "_use_cached_eval_dataset" not in kwargs:  # As `fit` calls it, which has checked them.
            x = self._checked(x, y, args[0] if args else kwargs.get("batch_size"))
        return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """`keras.Model.predict`; shape, dtype and range of the first frames are checked."""
        batch_size = args[0] if args else kwargs.get("batch_size")
        return super().predict(self._checked(x, batch_size=batch_size), *args, **kwargs)

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """`keras.Model.train_on_batch`; shape and dtype of all frames are checked, the range of the first."""
        _refuse_class_weight(args[1:2] or kwargs.get("class_weight"))
        return super().train_on_batch(self._checked_batch(x, y, is_training=True), y, *args, **kwargs)

    def test_on_batch(self, x, y=None, *args, **kwargs):
        """`keras.Model.test_on_batch`; shape and dtype of all frames are checked, the range of the first."""
        return super().test_on_batch(self._checked_batch(x, y), y, *args, **kwargs)

    def predict_on_batch(self, x):
        """`keras.Model.predict_on_batch`; shape and dtype of all frames are checked, the range of the first."""
        return super().predict_on_batch(self._checked_batch(x))

    def _checked(self, x, y=None, batch_size=None, is_training=False):
        check_is_tensor(x, "x")
        context, future, x = peek(x, y)
        self._check_batch(context, future, is_training)
        if is_array(x):
            check_shared(len(x), batch_size or 32)  # Keras' default.
        else:
            check_shared(len(context))
        return x

    def _checked_batch(self, x, y=None, is_training=False):
        if self._has_seen_frames and hasattr(x, "shape") and (y is None or hasattr(y, "shape")):
            x_frames, y_frames = (
                None if part is None else keras.KerasTensor(part.shape, part.dtype) for part in (x, y)
            )
            self._check_batch(x_frames, y_frames)
        else:
            self._check_batch(to_numpy(x), to_numpy(y), is_training)
            self._has_seen_frames = True
        check_shared(len(x))
        return x

    def _check_batch(self, context, future, is_training=False):
        context = check_frames(context)
        self._build_for(context.shape)
        self._check_fit(context.shape)
        if future is not None:
            future = check_frames(future)
            check_future(future.shape, self.compute_output_shape(context.shape))
        if is_training and not self._has_warned_of_range:
            self._has_warned_of_range = warn_of_range(context, future)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The loss that the model was compiled with.

        `sample_weight` is `(batch,)`, or `(batch, time)`, or has further axes of what the loss is the mean of.
        """
        # Later batches of a dataset may have other shapes than the first; a loss would broadcast them.
        if y is not None and y_pred is not None:
            check_future(y.shape, y_pred.shape)
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

    def save(self, filepath, *args, **kwargs):
        """`keras.Model.save`, into a `.keras` file."""
        if os.fspath(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                f"Keras loads no {type(self).__name__} from an HDF5 file: name it .keras. For weights alone, there is "
                f"`save_weights`. Received: filepath={os.fspath(filepath)!r}"
            )
        return super().save(filepath, *args, **kwargs)

    def quantize(self, *args, **kwargs):
        raise NotImplementedError(
            f"A {type(self).__name__} cannot be quantized: its layers have no kernels of integers. For smaller and "
            "faster networks, make them with dtype='mixed_bfloat16', or take layers off with `truncate`."
        )

    def _export_signature(self, batch):
        shape = (batch, *self.context_shape[1:])
        if None in shape[1:]:
            raise ValueError(
                "An exported model takes frames of one size and number, which this model was not built for. Received: "
                f"context_shape={self.context_shape}. Pass them: `input_signature=[keras.InputSpec(shape=(1, context, "
                "height, width, channels), dtype='float32')]`"
            )
        return [keras.InputSpec(shape=shape, dtype="float32", name="context")]

    def summary(self, line_length=None, positions=None, print_fn=None, **kwargs):
        """`keras.Model.summary`, and the shape of the predicted frames.

        Raises:
            ValueError: the model is not built, so that no layer knows its shapes and weights.
        """
        if not self.built:
            raise ValueError(
                f"A {type(self).__name__} makes its weights for the number of channels of its first frames. Call it on "
                "frames, or `model.build((None, context, height, width, channels))`, before `model.summary()`."
            )
        super().summary(line_length, positions, print_fn, **kwargs)
        (print_fn or print)(f" Output of the model: {self.compute_output_shape(self.context_shape)}")

    def compute_output_shape(self, context_shape):
        return (context_shape[0], self.horizon, *context_shape[2:])

    def get_config(self) -> dict:
        return {**super().get_config(), "horizon": self.horizon}

    def get_build_config(self) -> dict | None:
        return {"context_shape": self.context_shape} if self.built else None

    def build_from_config(self, config: dict):
        self.build(tuple(config["context_shape"]))
