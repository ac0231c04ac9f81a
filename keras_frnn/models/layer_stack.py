"""What the two recurrent networks share: a stack of layers from a frame up, and checks of its layers and states."""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_positive_integer, check_positive_integers, nearest_multiples, shapes_fit
from keras_frnn.layers import layout
from keras_frnn.layers.folded_layer import FoldedLayer
from keras_frnn.models.diagram import diagram
from keras_frnn.models.frames import check_channels, check_frames, check_rank
from keras_frnn.models.stream import Stream
from keras_frnn.models.streaming_models import StreamingModels, make_streaming_models
from keras_frnn.models.topologies import layers_from_topology
from keras_frnn.models.video_predictor import VideoPredictor

_FRAMES_AT_A_TIME = 16


class LayerStack(VideoPredictor):
    """Base of networks that are a stack of folded layers.

    A subclass names the `recurrent_layer` of topologies, checks that its layers can work together, and implements
    `_encode` and `_decode`, which are what is compiled.

    Args:
        layers: layers from the frame up.
        horizon: number of frames that a call predicts.
    """

    recurrent_layer: type[FoldedLayer]
    _last_layer: str

    def __init__(self, layers: Sequence[FoldedLayer], horizon: int, **kwargs):
        layers = list(layers)
        self._check_layers(layers)
        kwargs.setdefault("dtype", layers[0].dtype_policy)
        super().__init__(horizon=horizon, **kwargs)
        self.stack = layers
        self.data_format = layers[0].data_format

    @classmethod
    def from_topology(cls, topology: Sequence[tuple], horizon: int, name: str | None = None, **kwargs) -> "LayerStack":
        """A network from a list like `PAPER_TOPOLOGY`.

        Args:
            topology: entries `("conv", filters, kernel_size)`, `("pool", size)`, `("patch", size)`, `("motion",)`,
                `("residual", expansion, kernel_size)`, `("recurrent", filters, kernel_size)`; in a `FoldedRNN` also
                `("minimal", filters, kernel_size)`.
            horizon: number of frames that a call predicts.
            name: name of the model.
            kwargs: for the layers: `kernel_initializer`, `update_bias`, `decoder_update_bias`, `data_format`, `dtype`;
                others are arguments of the model.
        """
        names = ("kernel_initializer", "update_bias", "decoder_update_bias", "data_format", "dtype")
        of_layers = {name: kwargs.pop(name) for name in names if name in kwargs}
        return cls(layers_from_topology(topology, cls.recurrent_layer, **of_layers), horizon, name=name, **kwargs)

    def diagram(self) -> keras.Model:
        """The network as boxes and arrows, for `keras.utils.plot_model`; of this model itself that draws one box.

        Each layer is there twice, encoding and decoding, with an arrow from one to the other where they share states.

        Returns:
            A functional model that can be drawn, and nothing else.

        Raises:
            ValueError: the network is not built, so that no shape is known.

        Example:

        >>> import keras, keras_frnn
        >>> model = keras_frnn.models.FoldedRNN.from_preset("moving-digits")
        >>> keras.utils.plot_model(model.diagram(), "model.png", show_shapes=True)  # doctest: +SKIP
        """
        if not self.built:
            raise ValueError("The network has no shapes yet. Call it on frames before it is drawn.")
        return diagram(self)

    def make_weights(self, context_shape):
        self._check_frame_size(context_shape)
        shape = context_shape
        for layer in self.stack:
            if not layer.built:
                layer.build_both_directions(shape)
            if not layer.trainable:
                # Keras does not pass it on to weights that are made later, and on TensorFlow not if it stays the same.
                layer.trainable = True
                layer.trainable = False
            shape = layer.encoded_shape(shape)

    def layers_and_inputs(self, context_shape):
        shape = tuple(context_shape)
        for layer in self.stack:
            *_, channels = layout.frame_size_and_channels(shape, self.data_format)
            yield layer, channels
            shape = layer.encoded_shape(shape)

    def encode(self, frames, state=None, training: bool = False, compile_now: bool = False):
        """Runs the encoder alone. It is compiled on the second call with the same shapes, as in streaming.

        Args:
            frames: `(batch, time, height, width, channels)`, values in [-1, 1]: one frame or more. Of an array, 16 at
                a time are encoded, so that memory does not grow with its length.
            state: what `encode` returned for the frames before, to go on from there; None at the start of a video.
            training: see `VideoPredictor`.
            compile_now: compile on the first call. Takes longer than to run it once.

        Returns:
            The state of the network: for each layer a tuple of tensors `(batch, height, width, channels)`, empty for
            layers without memory.

        Raises:
            ValueError: the frames do not fit the network, or the state does not fit the frames.
        """
        frames = self._checked_input(frames)
        if state is not None:
            state = self._checked_state(state, tuple(frames.shape))
        # An array is handed to the backend in parts, so that a long video needs no more of its memory than a short one.
        step = frames.shape[1] if ops.is_tensor(frames) else _FRAMES_AT_A_TIME
        for first in range(0, frames.shape[1], step):
            part = ops.convert_to_tensor(frames[:, first : first + step])
            with backend.gradients(training, part, state):
                state = self._compiled_calls(self._encode, part, state, compile_now=compile_now)
        return state

    def decode(self, state, steps: int | None = None, training: bool = False, compile_now: bool = False):
        """Predicts from a state. The state stays as it is: it can be decoded again, or encoded on from.

        Args:
            state: what `encode` returned.
            steps: number of future frames; `horizon` by default.
            training: see `VideoPredictor`.
            compile_now: compile on the first call with these shapes; by default on the second, as `encode`.

        Returns:
            Tensor `(batch, steps, height, width, channels)`, values in (-1, 1).

        Raises:
            ValueError: `steps` is not a positive integer, or the state is not one of this network.
        """
        steps = check_positive_integer(self.horizon if steps is None else steps, "steps")
        state = self._checked_state(state)
        with backend.gradients(training, state):
            return self._compiled_calls(self._decode, state, compile_now=compile_now, steps=steps)

    def stream(self, frame_shape: tuple[int, int, int] | None = None) -> Stream:
        """Takes one video frame by frame, and forecasts when asked; see `Stream`, which has the same argument."""
        return Stream(self, frame_shape)

    def streaming_models(self, frame_shape: Sequence[int], steps: int | None = None) -> StreamingModels:
        """The two directions as small functional models, one step each, which share the weights and can be exported.

        Args:
            frame_shape: `(height, width, channels)` of one frame, or channels first if the layers are.
            steps: number of frames that decoding yields; `horizon` by default.

        Returns:
            A named tuple. `encode` takes the list `[frame, *state]`, with a frame `(batch, height, width, channels)`,
            and returns the list of the new state's tensors; `decode` takes that list and returns frames
            `(batch, steps, height, width, channels)`. `start` is the state before the first frame, a list of arrays
            with a batch of 1.

        Raises:
            ValueError: `steps` is not a positive integer, or the frames do not fit the network.

        Example:

        >>> import numpy as np, keras_frnn
        >>> model = keras_frnn.models.FoldedRNN.from_preset("moving-digits")
        >>> encode, decode, state = model.streaming_models((32, 32, 1))
        >>> for frame in np.zeros((3, 1, 32, 32, 1), "float32"):
        ...     state = encode([frame, *state])
        >>> tuple(decode(state).shape)
        (1, 10, 32, 32, 1)
        """
        shape = (None, None, *check_positive_integers(tuple(frame_shape), "frame_shape", 3))
        self.build_for(shape)
        steps = check_positive_integer(self.horizon if steps is None else steps, "steps")
        return make_streaming_models(self, shape[2:], steps)

    def predict_frames(self, context, steps: int):
        context = ops.convert_to_tensor(self._checked_input(context))
        return self._decode(self._encode(context, None), steps)

    def _can_be_last(self, layer: FoldedLayer) -> bool:
        raise NotImplementedError

    def _encode(self, frames, state) -> tuple:
        """`encode` without checks: the state after these frames; that before them is None at the start of a video."""
        raise NotImplementedError

    def _decode(self, state: tuple, steps: int):
        """`decode` without checks: the future frames."""
        raise NotImplementedError

    def _to_frames(self, sequence):
        """A decoded sequence, see `layout`, as the model returns it."""
        return layout.from_sequence(ops.cast(sequence, self.compute_dtype), self.data_format)

    def _checked_input(self, frames):
        """Frames as `check_frames` returns them; builds the network if they are its first."""
        frames = check_frames(frames)
        self.build_for(frames.shape)
        return frames

    def _check_fit(self, shape):
        self._check_frame_size(shape)
        check_channels(shape, self.context_shape, self.data_format)

    def _check_layers(self, layers: list):
        for index, layer in enumerate(layers):
            if not isinstance(layer, FoldedLayer):
                raise ValueError(
                    f"A {type(self).__name__} is made of folded layers, such as FoldedConv2D, or one of your own: a "
                    f"subclass of keras_frnn.layers.FoldedLayer. Received: layers[{index}]={layer!r}"
                )
            if layer.activity_regularizer is not None:
                raise ValueError(
                    f"Layer '{layer.name}' has an `activity_regularizer`, which is for layers that are used on their "
                    "own. In a model, add the penalty in `compute_loss`."
                )
            if layer.built and not layer.has_decoder:
                raise ValueError(
                    f"Layer '{layer.name}' was called on its own before, so it has no weights for decoding. "
                    "Give the model new layers."
                )
        if len({id(layer) for layer in layers}) < len(layers):
            raise ValueError(
                "A layer appears twice in the list. Received: layers="
                f"{[layer.name for layer in layers]}. Make one layer for each place."
            )
        if not layers or not self._can_be_last(layers[-1]):
            raise ValueError(
                f"The last layer must be {self._last_layer}, since it has to predict without a layer above. "
                f"Received: layers={[type(layer).__name__ for layer in layers]}"
            )
        if len({layer.data_format for layer in layers}) > 1:
            raise ValueError(
                "All layers must have the same `data_format`. Received: "
                f"{ {layer.name: layer.data_format for layer in layers} }"
            )

    def _check_frame_size(self, shape):
        """Raises, in terms of frames, where a layer would get a size that it cannot divide."""
        size = layout.frame_size_and_channels(check_rank(shape), self.data_format)[:2]
        for axis, (name, length) in enumerate(zip(("height", "width"), size, strict=True)):
            total = math.prod([layer.downsampling[axis] for layer in self.stack])
            rows_or_columns = length or total  # A size that is not known yet fits.
            for index, layer in enumerate(self.stack):
                rows_or_columns, rest = divmod(rows_or_columns, factor := layer.downsampling[axis])
                if not rest:
                    continue
                raise ValueError(
                    f"Frame {name} {length} does not fit: layer '{layer.name}' ({index + 1} of {len(self.stack)}) "
                    f"cannot divide a {name} of {rows_or_columns * factor + rest} by {factor}. The frame's must be a "
                    f"multiple of {total}; the nearest that work: {nearest_multiples(length, total)}. Received: frames "
                    f"of shape {tuple(shape)} with data_format='{self.data_format}'"
                )

    def _checked_state(self, state, frames_shape: tuple | None = None) -> tuple:
        """A state's tensors in the network's dtypes; raises if the state does not fit this network and such frames."""
        if not self.built:
            raise ValueError("The network has no weights yet. Call it, or `encode`, on frames before.")
        expected = "Expected a state that this network's `encode` returned, with an entry for each of its "
        if not isinstance(state, (tuple, list)) or len(state) != len(self.stack):
            found = f"{len(state)} entries" if isinstance(state, (tuple, list)) else repr(type(state))
            raise ValueError(f"{expected}{len(self.stack)} layers. Received: {found}")
        state = [[np.asarray(x) if not hasattr(x, "shape") else x for x in parts] for parts in state]
        if frames_shape is None:
            frames_shape = self._shape_of_frames(state)
        shape, checked = frames_shape, []
        for index, (layer, parts) in enumerate(zip(self.stack, state, strict=True)):
            shapes, given = layer.state_shapes(shape), tuple(tuple(part.shape) for part in parts)
            if len(shapes) != len(given) or not all(map(shapes_fit, given, shapes)):
                raise ValueError(
                    f"The state does not fit frames of shape {frames_shape}: that of layer '{layer.name}' ({index + 1} "
                    f"of {len(self.stack)}) must have the shapes {shapes}, (batch, height, width, channels). "
                    f"Received: {given}"
                )
            checked.append(tuple(_as_tensor(part, layer.compute_dtype) for part in parts))
            shape = layer.encoded_shape(shape)
        return tuple(checked)

    def _shape_of_frames(self, state) -> tuple:
        """The shape that frames must have had for the size of the lowest tensor in this state."""
        factors: tuple[int, ...] = (1, 1)
        for layer, parts in zip(self.stack, state, strict=True):
            if len(parts) and len(parts[0].shape) == 4:
                batch, *size, _ = parts[0].shape
                height, width = (
                    None if side is None else side * factor for side, factor in zip(size, factors, strict=True)
                )
                *_, channels = layout.frame_size_and_channels(self.context_shape, self.data_format)
                return (batch, None, *layout.frame_shape(height, width, channels, self.data_format))
            factors = tuple(a * b for a, b in zip(factors, layer.downsampling, strict=True))
        return (None, *self.context_shape[1:])

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.stack]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> "LayerStack":
        layers = [keras.saving.deserialize_keras_object(layer, custom_objects) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})


def _as_tensor(x, dtype: str):
    # A cast takes as long as a small layer, also where there is nothing to do, and a stream checks a state per frame.
    x = x if ops.is_tensor(x) else ops.convert_to_tensor(x)
    return x if keras.backend.standardize_dtype(x.dtype) == dtype else ops.cast(x, dtype)
