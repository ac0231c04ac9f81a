"""What the two recurrent networks share: a stack of layers from a frame up, and what may go into it."""

import math
from collections.abc import Sequence

import keras

from keras_frnn.layers import layout
from keras_frnn.layers.folded_conv2d import FoldedConv2D
from keras_frnn.layers.folded_layer import FoldedLayer
from keras_frnn.layers.folded_max_pooling2d import FoldedMaxPooling2D
from keras_frnn.layers.folded_patch2d import FoldedPatch2D
from keras_frnn.models.topologies import layers_from_topology
from keras_frnn.models.video_predictor import VideoPredictor, check_frames


class LayerStack(VideoPredictor):
    """Base of networks made of folded convolutions, folded pooling or patches, and one kind of recurrent layer.

    A subclass names its `recurrent_layer` and implements `encode(frames, state=None)` and `decode(state, steps=None)`.

    Args:
        layers: layers from the frame up; the last is recurrent.
        horizon: number of frames that a call predicts.
    """

    recurrent_layer: type[FoldedLayer]

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
            topology: entries `("conv", filters, kernel_size)`, `("pool", size)`, `("patch", size)`,
                `("recurrent", filters, kernel_size)`; in a `FoldedRNN` also `("minimal", filters, kernel_size)`.
            horizon: number of frames that a call predicts.
            name: name of the model.
            kwargs: for the layers: `kernel_initializer`, `update_bias`, `data_format`, `dtype`; others are arguments of
                the model.
        """
        names = ("kernel_initializer", "update_bias", "data_format", "dtype")
        of_layers = {name: kwargs.pop(name) for name in names if name in kwargs}
        return cls(layers_from_topology(topology, cls.recurrent_layer, **of_layers), horizon, name=name, **kwargs)

    def build(self, context_shape):
        self._check_frame_size(context_shape)
        self.context_shape = shape = tuple(context_shape)
        for layer in self.stack:
            if not layer.built:
                layer.build_both_directions(shape)
            shape = layer.encoded_shape(shape)

    def predict_frames(self, context, steps: int):
        return self.decode(self.encode(context), steps)

    def _to_sequence(self, frames):
        """Checked frames in the layout of sequences; builds the network if these are its first."""
        frames = check_frames(frames)
        if not self.built:
            self.build(frames.shape)
        self._check_frame_size(frames.shape)
        self._check_channels(frames.shape)
        return layout.to_sequence(keras.ops.convert_to_tensor(frames), self.data_format)

    def _check_layers(self, layers: list):
        allowed = (FoldedConv2D, FoldedMaxPooling2D, FoldedPatch2D, self.recurrent_layer)
        for index, layer in enumerate(layers):
            if not isinstance(layer, allowed):
                raise ValueError(
                    f"A {type(self).__name__} is made of {', '.join(kind.__name__ for kind in allowed)} layers. "
                    f"Received: layers[{index}]={layer!r}"
                )
            if layer.built and not layer.has_decoder:
                raise ValueError(
                    f"Layer '{layer.name}' was called on its own before, so it has no weights for decoding. "
                    "Give the model new layers."
                )
        if len({id(layer) for layer in layers}) < len(layers):
            raise ValueError(
                "A layer stands twice in the list. Received: layers="
                f"{[layer.name for layer in layers]}. Make one layer for each place."
            )
        if not layers or not isinstance(layers[-1], self.recurrent_layer):
            raise ValueError(
                f"The last layer must be a {self.recurrent_layer.__name__}: it alone can go on without a layer above. "
                f"Received: layers={[type(layer).__name__ for layer in layers]}"
            )
        if len({layer.data_format for layer in layers}) > 1:
            raise ValueError(
                "All layers must have the same `data_format`. Received: "
                f"{ {layer.name: layer.data_format for layer in layers} }"
            )

    def _check_frame_size(self, shape: tuple):
        """Raises, in terms of frames, where a layer would get a size that it cannot divide."""
        if len(shape) != 5:
            check_frames(keras.KerasTensor(shape))  # Says what is wrong.
        size = layout.frame_size_and_channels(shape, self.data_format)[:2]
        factors = {}
        for index, layer in enumerate(self.stack):
            if isinstance(layer, FoldedMaxPooling2D):
                factors[index] = layer.pool_size
            elif isinstance(layer, FoldedPatch2D):
                factors[index] = layer.patch_size
        for axis, (name, length) in enumerate(zip(("height", "width"), size, strict=True)):
            total = math.prod(factor[axis] for factor in factors.values())
            rows_or_columns = length or total  # A size that is not known yet fits.
            for index, factor in factors.items():
                rows_or_columns, rest = divmod(rows_or_columns, factor[axis])
                if not rest:
                    continue
                lower = length // total * total
                nearest = f"{lower} and {lower + total}" if lower else f"{total}"
                raise ValueError(
                    f"Frame {name} {length} does not fit: layer '{self.stack[index].name}' ({index + 1} of "
                    f"{len(self.stack)}) cannot divide a {name} of {rows_or_columns * factor[axis] + rest} by "
                    f"{factor[axis]}. The frame's must be a multiple of {total}; the nearest that work: "
                    f"{nearest}. Received: frames of shape {tuple(shape)} with data_format='{self.data_format}'"
                )

    def _check_channels(self, shape: tuple):
        *_, channels = layout.frame_size_and_channels(shape, self.data_format)
        *_, expected = layout.frame_size_and_channels(self.context_shape, self.data_format)
        if channels != expected:
            raise ValueError(
                f"This network was built for frames of {expected} channel(s). "
                f"Received: frames of shape {tuple(shape)} with data_format='{self.data_format}'"
            )

    def _check_state(self, state):
        if state is not None and len(state) != len(self.stack):
            raise ValueError(
                "Expected a state that this network's `encode` returned, with an entry for each of its "
                f"{len(self.stack)} layers. Received: {len(state)} entries"
            )

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.stack]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> "LayerStack":
        layers = [keras.saving.deserialize_keras_object(layer, custom_objects) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})

    def get_build_config(self) -> dict | None:
        return {"context_shape": self.context_shape} if self.built else None

    def build_from_config(self, config: dict):
        self.build(tuple(config["context_shape"]))
