from collections.abc import Sequence

import keras
from keras import ops

from keras_frnn.layers import layout
from keras_frnn.layers.folded_conv_gru import FoldedConvGRU
from keras_frnn.layers.folded_layer import FoldedLayer, check_positive_integers
from keras_frnn.layers.folded_max_pooling2d import FoldedMaxPooling2D
from keras_frnn.models.topologies import layers_from_topology
from keras_frnn.models.video_predictor import VideoPredictor, check_frames


@keras.saving.register_keras_serializable(package="keras_frnn")
class FoldedRNN(VideoPredictor):
    """A folded recurrent network: predicts future frames with a stack of layers that share their states.

        encode, bottom to top: a frame goes in, every layer updates its output state
        decode, top to bottom: a frame comes out, every layer updates its input state

    Encoding never runs the decoder and predicting never re-encodes a predicted frame. So nothing flows from the top of
    the stack back to its bottom, and every layer runs over all time steps before the next one starts.

    Args:
        layers: folded layers from the frame up; the last is a `FoldedConvGRU`. They become this model's: a layer that
            was called on its own before, or stands in the list twice, is refused.
        horizon: number of frames that a call predicts.

    Input shape: `(batch, context, height, width, channels)`, float, values in [-1, 1]; channels before height if the
        layers are `channels_first`. Height and width must be divisible by all pooling; any number of context frames
        and any such frame size will do, also after training.
    Output shape: `(batch, horizon, height, width, channels)`, values in (-1, 1).

    Raises:
        ValueError: a list of layers that is no folded network, or frames that do not fit it.

    Example:

    >>> import numpy as np
    >>> from keras_frnn import layers
    >>> model = FoldedRNN([layers.FoldedConv2D(8, 5), layers.FoldedMaxPooling2D(2), layers.FoldedConvGRU(8, 3)], 5)
    >>> tuple(model(np.zeros((2, 10, 16, 16, 1), "float32")).shape)
    (2, 5, 16, 16, 1)

    Reference: https://arxiv.org/abs/1712.00311
    """

    def __init__(self, layers: Sequence[FoldedLayer], horizon: int, **kwargs):
        layers = list(layers)
        for index, layer in enumerate(layers):
            if not isinstance(layer, FoldedLayer):
                raise ValueError(
                    "A FoldedRNN is made of folded layers (FoldedConv2D, FoldedMaxPooling2D, FoldedConvGRU). "
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
        if not layers or not isinstance(layers[-1], FoldedConvGRU):
            raise ValueError(
                "The last layer must be a FoldedConvGRU: it alone can go on without a layer above. "
                f"Received: layers={[type(layer).__name__ for layer in layers]}"
            )
        data_formats = {layer.data_format for layer in layers}
        if len(data_formats) > 1:
            raise ValueError(
                "All layers must have the same `data_format`. Received: "
                f"{ {layer.name: layer.data_format for layer in layers} }"
            )
        kwargs.setdefault("dtype", layers[0].dtype_policy)
        super().__init__(horizon=horizon, **kwargs)
        self.folded_layers = layers
        (self.data_format,) = data_formats

    @classmethod
    def from_topology(cls, topology: Sequence[tuple], horizon: int, name: str | None = None, **kwargs) -> "FoldedRNN":
        """A network from a list like `PAPER_TOPOLOGY`.

        Args:
            topology: entries `("conv", filters, kernel_size)`, `("pool", size)`, `("recurrent", filters, kernel_size)`.
            horizon: number of frames that a call predicts.
            name: name of the model.
            kwargs: for the layers: `kernel_initializer`, `data_format`, `dtype`.
        """
        return cls(layers_from_topology(topology, FoldedConvGRU, **kwargs), horizon, name=name)

    def build(self, context_shape):
        self._check_frame_size(context_shape)
        self.context_shape = shape = tuple(context_shape)
        for layer in self.folded_layers:
            if not layer.built:
                layer.has_decoder = True
                layer.build(shape)
            shape = layer.encoded_shape(shape)

    def call(self, context):
        return self.decode(self.encode(context), self.horizon)

    def encode(self, frames, state=None):
        """Runs the encoder alone.

        Args:
            frames: `(batch, time, height, width, channels)`, values in [-1, 1]: one frame or more.
            state: what `encode` returned for the frames before, to go on from there; None at the start of a video.

        Returns:
            The state of the network: for each layer a tuple of tensors, empty for layers without memory.
        """
        frames = check_frames(frames)
        if not self.built:
            self.build(frames.shape)
        self._check_frame_size(frames.shape)
        self._check_channels(frames.shape)
        self._check_state(state)
        sequence = layout.to_sequence(ops.convert_to_tensor(frames), self.data_format)
        new_state = []
        for layer, layer_state in zip(self.folded_layers, state or [None] * len(self.folded_layers), strict=True):
            sequence, layer_state = layer.encode(sequence, layer_state)
            new_state.append(layer_state)
        return tuple(new_state)

    def decode(self, state, steps: int | None = None):
        """Runs the decoder alone. The state is not consumed: it can be decoded again, or encoded on from.

        Args:
            state: what `encode` returned.
            steps: number of future frames; `horizon` by default.

        Returns:
            Tensor `(batch, steps, height, width, channels)`, values in (-1, 1).
        """
        (steps,) = check_positive_integers(self.horizon if steps is None else steps, "steps", 1)
        self._check_state(state)
        sequence = self.folded_layers[-1].rollout(state[-1], steps)
        for layer, layer_state in zip(self.folded_layers[-2::-1], state[-2::-1], strict=True):
            sequence = layer.decode(sequence, layer_state)
        return layout.from_sequence(ops.cast(sequence, self.compute_dtype), self.data_format)

    def truncate(self, depth: int) -> "FoldedRNN":
        """The network of the first `depth` layers, sharing their weights; it predicts without being trained again.

        Args:
            depth: number of layers to keep; the last of them must be recurrent.
        """
        depths = [d for d, layer in enumerate(self.folded_layers, start=1) if isinstance(layer, FoldedConvGRU)]
        if depth not in depths:
            raise ValueError(
                "A network can be cut above its recurrent layers only, "
                f"here to one of {depths} layers. Received: depth={depth!r}"
            )
        return self._sharing(self.folded_layers[:depth], self.horizon)

    def with_horizon(self, steps: int) -> "FoldedRNN":
        return self._sharing(self.folded_layers, steps)

    def _sharing(self, layers, horizon) -> "FoldedRNN":
        model = FoldedRNN(layers, horizon, dtype=self.dtype_policy)
        if self.built:
            model.build(self.context_shape)
        return model

    def _check_frame_size(self, shape: tuple):
        """Raises, in terms of frames, where a pooling layer would get a size that it cannot divide."""
        height, width, _ = layout.frame_size_and_channels(shape, self.data_format)
        pools = [
            (index, layer) for index, layer in enumerate(self.folded_layers) if isinstance(layer, FoldedMaxPooling2D)
        ]
        for axis, length in enumerate((height, width)):
            factor = 1
            for index, layer in pools:
                factor *= layer.pool_size[axis]
                if length is None or length % factor == 0:
                    continue
                total = 1
                for _, pool in pools:
                    total *= pool.pool_size[axis]
                lower = length // total * total
                nearest = f"{lower} and {lower + total}" if lower else f"{total}"
                raise ValueError(
                    f"Frame {('height', 'width')[axis]} {length} does not fit this network: layer '{layer.name}' "
                    f"(layers[{index}]) would pool {length * layer.pool_size[axis] / factor:g} by "
                    f"{layer.pool_size[axis]}. It must be a multiple of {total}; the nearest that work: {nearest}. "
                    f"Received: frames of shape {tuple(shape)} with data_format='{self.data_format}'"
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
        if state is not None and len(state) != len(self.folded_layers):
            raise ValueError(
                "Expected a state that this network's `encode` returned, with an entry for each of its "
                f"{len(self.folded_layers)} layers. Received: {len(state)} entries"
            )

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.folded_layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config: dict, custom_objects=None) -> "FoldedRNN":
        layers = [keras.saving.deserialize_keras_object(layer, custom_objects) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})

    def get_build_config(self) -> dict | None:
        return {"context_shape": self.context_shape} if self.built else None

    def build_from_config(self, config: dict):
        self.build(tuple(config["context_shape"]))
