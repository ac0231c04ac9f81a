"""Keras' own methods of a model: frames are checked before its loops, and what it cannot do raises an error."""

import os

import keras
from keras import ops

from keras_frnn.checks import check_is_tensor
from keras_frnn.models.frames import (
    check_frames,
    check_future,
    check_shared,
    is_array,
    peek,
    to_numpy,
    warn_of_range,
)

# The arguments of Keras' methods after the data, in their order. Their signatures cannot be asked for: others, such as
# loggers of experiments, put functions of their own in their place.
_FIT = (
    *("batch_size", "epochs", "verbose", "callbacks", "validation_split", "validation_data", "shuffle", "class_weight"),
    *("sample_weight", "initial_epoch", "steps_per_epoch", "validation_steps", "validation_batch_size"),
    "validation_freq",
)
_TRAIN_ON_BATCH = ("sample_weight", "class_weight", "return_dict")


class GuardedModel(keras.Model):
    """A Keras model that checks frames before they are compiled into Keras' loops, and makes its weights before.

    Wrong frames would fail inside of a convolution, or train without a word: a loss broadcasts its arguments, and
    frames in [0, 1] are in [-1, 1], too.
    """

    _has_seen_frames = _has_warned_of_range = False

    def build_for(self, shape):
        """See `VideoPredictor.build_for`."""
        raise NotImplementedError

    def fit(self, x=None, y=None, *args, **kwargs):
        """`keras.Model.fit`; shape, dtype and range of the first frames are checked. `y` has `horizon` frames.

        Warns, once, if the first frames look like frames in [0, 1].
        """
        given = _by_name(_FIT, args, kwargs)
        _refuse_class_weight(given)
        x = self._checked(x, y, given.get("batch_size"), is_training=True)
        validation = given.get("validation_data")
        if is_array(validation) and validation is not None:
            self._checked(*validation[:2], given.get("validation_batch_size") or given.get("batch_size"))
        elif validation is not None:
            given["validation_data"] = self._checked(validation)
        if not is_array(x):
            given.setdefault("shuffle", False)  # Data in batches has its own order, and Keras warns if told to shuffle.
        return super().fit(x, y, **given)

    def evaluate(self, x=None, y=None, *args, **kwargs):
        """`keras.Model.evaluate`; shape, dtype and range of the first frames are checked."""
        # `fit` passes this in every epoch. It has checked the data, and a generator would lose a batch by each look.
        if "_use_cached_eval_dataset" not in kwargs:
            x = self._checked(x, y, _by_name(_FIT[:1], args, kwargs).get("batch_size"))
        return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x, *args, **kwargs):
        """`keras.Model.predict`; shape, dtype and range of the first frames are checked."""
        x = self._checked(x, batch_size=_by_name(_FIT[:1], args, kwargs).get("batch_size"))
        return super().predict(x, *args, **kwargs)

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """`keras.Model.train_on_batch`; shape and dtype of all frames are checked, the range of the first."""
        _refuse_class_weight(_by_name(_TRAIN_ON_BATCH, args, kwargs))
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
        # Looking at values would wait for the device in every step of training.
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
        self.build_for(context.shape)
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
        # Keras multiplies losses and weights as they are, which aligns sequences with the columns of frames.
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
        # TensorFlow traces a function twice if the first run makes variables, as an optimizer's first step does.
        if self.built and self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        return super().make_train_function(force)

    def save(self, filepath, *args, **kwargs):
        """`keras.Model.save`, into a `.keras` file."""
        # Keras writes HDF5 files of subclassed models that it cannot read.
        if os.fspath(filepath).endswith((".h5", ".hdf5")):
            raise ValueError(
                f"Keras loads no {type(self).__name__} from an HDF5 file: name it .keras. For weights alone, there is "
                f"`save_weights`. Received: filepath={os.fspath(filepath)!r}"
            )
        return super().save(filepath, *args, **kwargs)

    def quantize(self, *args, **kwargs):
        # Keras would warn of every layer, and leave a model that calls itself quantized.
        raise NotImplementedError(
            f"A {type(self).__name__} cannot be quantized: its layers have no kernels of integers. For smaller and "
            "faster networks, make them with dtype='mixed_bfloat16', or remove layers with `truncate`."
        )

    def summary(self, line_length=None, positions=None, print_fn=None, **kwargs):
        """`keras.Model.summary`, and the shape of the predicted frames.

        Raises:
            ValueError: the model is not built, so that no layer knows its shapes and weights.
        """
        # Of a model that is not built, Keras prints a table of zeros.
        if not self.built:
            raise ValueError(
                f"A {type(self).__name__} makes its weights for the number of channels of its first frames. Call it on "
                "frames, or `model.build((None, context, height, width, channels))`, before `model.summary()`."
            )
        super().summary(line_length, positions, print_fn, **kwargs)
        (print_fn or print)(f" Output of the model: {self.compute_output_shape(self.context_shape)}")


def _by_name(names: tuple, args: tuple, kwargs: dict) -> dict:
    """Arguments by name, whether they were given by position or by keyword."""
    return {**dict(zip(names, args, strict=False)), **kwargs}


def _refuse_class_weight(given: dict):
    if given.get("class_weight"):
        raise ValueError(
            "`class_weight` is for the labels of classifiers, and frames have none. To weight sequences or steps, pass "
            "`sample_weight`, of shape (batch,) or (batch, time)."
        )
