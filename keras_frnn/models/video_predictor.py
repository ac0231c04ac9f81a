"""What every model here shares: frames in, future frames out."""

import threading
from collections.abc import Iterable

import keras
import numpy as np
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_float_policy, check_is_tensor, check_keywords, check_positive_integer
from keras_frnn.models.export import Exportable
from keras_frnn.models.frames import check_frames, check_rank, finite_array, to_numpy
from keras_frnn.models.keras_guards import GuardedModel
from keras_frnn.models.presets import PresetModel

# Keras has no lock for this: two threads that call a new model at once would both make its weights.
_building = threading.RLock()


class VideoPredictor(Exportable, PresetModel, GuardedModel):
    """Base of models that predict the future frames of a video.

    A subclass implements `predict_frames(context, steps)`, and `make_weights(context_shape)` if it has any.

    Args:
        horizon: number of frames that a call predicts.

    Call arguments:
        context: frames `(batch, context, height, width, channels)`, float, values in [-1, 1].
        training: whether the result is used to train weights, as in `fit`. With Torch, an eager call records a gradient
            only with `training=True`, or if the context requires a gradient itself. Otherwise a loop over a camera
            would keep every frame.
    """

    context_shape: tuple

    def __init__(self, horizon: int, **kwargs):
        check_keywords(type(self).__name__, kwargs)
        # Folded layers cast to their own dtypes, which may differ from each other; the model must not cast for them.
        super().__init__(autocast=False, **kwargs)
        check_float_policy(self.dtype_policy)
        self.horizon = check_positive_integer(horizon, "horizon")
        self._compiled_calls = backend.CompiledCalls(self)

    def predict_frames(self, context, steps: int):
        """The next `steps` frames as a tensor."""
        raise NotImplementedError

    def make_weights(self, context_shape: tuple):
        """Builds the layers for frames of this shape, whose batch is None."""

    def layers_and_inputs(self, context_shape: tuple) -> Iterable[tuple[keras.layers.Layer, int]]:
        """The layers with weights, and the input channels of each for frames of this shape; nothing is built."""
        return ()

    def build(self, context_shape):
        """Makes the weights, once; later frames may have another size. Threads wait for each other."""
        with _building:
            if not hasattr(self, "context_shape"):
                shape = (None, *check_rank(context_shape)[1:])
                self.make_weights(shape)
                self.context_shape = shape

    def __call__(self, context, *args, **kwargs):
        check_is_tensor(context, "context")
        if getattr(context, "shape", None) is not None:
            self.build_for(context.shape)
        return super().__call__(context, *args, **kwargs)

    def build_for(self, shape):
        """Makes the weights if there are none yet, as `build`.

        Args:
            shape: of frames, `(batch, time, height, width, channels)`, or with channels before height.

        Raises:
            ValueError: frames of this shape do not fit the network.
        """
        if not self.built:
            with _building:
                if not self.built:
                    self.build(shape)
        self._check_fit(shape)

    def call(self, context, training: bool = False):
        with backend.gradients(training, context):
            return self.predict_frames(context, self.horizon)

    def forecast(self, context, steps: int | None = None, batch_size: int = 32) -> np.ndarray:
        """Predicts any number of future frames; NumPy in, NumPy out.

        The first call for a number of steps and a batch shape compiles, later ones are fast. The eight functions used
        last are kept. Several threads may call it. A process that was forked after a forecast hangs in the backend:
        spawn processes instead, see docs/processes.md.

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
        self.build_for(context.shape)
        parts = []
        for first in range(0, len(context), batch_size):
            part = ops.convert_to_tensor(context[first : first + batch_size])
            # `predict` would set up a data pipeline, which takes longer than a small network.
            with backend.gradients(False):
                frames = self._compiled_calls(self.predict_frames, part, compile_now=True, steps=steps)
            parts.append(finite_array(frames, self))
        return np.concatenate(parts)

    def _check_fit(self, shape):
        """Raises if frames of this shape do not fit the network."""
        check_rank(shape)

    def _export_signature(self, batch):
        shape = (batch, *self.context_shape[1:])
        if None in shape[1:]:
            raise ValueError(
                "An exported model takes frames of one size and number, which this model was not built for. Received: "
                f"context_shape={self.context_shape}. Pass them: `input_signature=[keras.InputSpec(shape=(1, context, "
                "height, width, channels), dtype='float32')]`"
            )
        return [keras.InputSpec(shape=shape, dtype="float32", name="context")]

    def compute_output_shape(self, context_shape):
        return (context_shape[0], self.horizon, *context_shape[2:])

    def get_config(self) -> dict:
        return {**super().get_config(), "horizon": self.horizon}

    def get_build_config(self) -> dict | None:
        return {"context_shape": self.context_shape} if self.built else None

    def build_from_config(self, config: dict):
        self.build(tuple(config["context_shape"]))
