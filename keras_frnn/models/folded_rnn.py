from collections.abc import Sequence

import keras

from keras_frnn.layers import layout
from keras_frnn.layers.folded_conv_gru import FoldedConvGRU
from keras_frnn.layers.folded_layer import FoldedLayer
from keras_frnn.models.layer_stack import LayerStack


@keras.saving.register_keras_serializable(package="keras_frnn")
class FoldedRNN(LayerStack):
    """A folded recurrent network: predicts future frames with a stack of layers that share their states.

        encode, bottom to top: a frame goes in, every layer updates its output state
        decode, top to bottom: a frame comes out, every layer updates its input state

    Encoding never runs the decoder and predicting never re-encodes a predicted frame. So nothing flows from the top of
    the stack back to its bottom, and every layer runs over all time steps before the next one starts.

    Args:
        layers: folded layers from the frame up, any `FoldedLayer`; the last is a `FoldedConvGRU`, a `FoldedMinConvGRU`,
            or has a `rollout` as they have. They become this model's: a layer that was called on its own before, or
            appears in it twice, is refused.
        horizon: number of frames that a call predicts.
        remat: in training, keep only the states of recurrent layers, and compute their gates again for the gradient
            (recomputation). Takes less memory and more time; changes no result.

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

    recurrent_layer = FoldedConvGRU
    _last_layer = "a FoldedConvGRU, a FoldedMinConvGRU, or another layer with a `rollout`"

    def __init__(self, layers: Sequence[FoldedLayer], horizon: int, remat: bool = False, **kwargs):
        super().__init__(layers, horizon, **kwargs)
        self.remat = remat

    def _can_be_last(self, layer):
        return hasattr(layer, "rollout")

    def _encode(self, frames, state):
        sequence, new_state = layout.to_sequence(frames, self.data_format), []
        for layer, layer_state in zip(self.stack, state or [None] * len(self.stack), strict=True):
            sequence, layer_state = layer.encode(sequence, layer_state, remat=self.remat)
            new_state.append(layer_state)
        return tuple(new_state)

    def _decode(self, state, steps: int):
        sequence = self.stack[-1].rollout(state[-1], steps)
        upsampling = (1, 1)
        for layer, layer_state in zip(self.stack[-2::-1], state[-2::-1], strict=True):
            if layer.decodes_by_upsampling and layer is not self.stack[0]:
                # Left to the layer below, which can convolve what is to be upsampled with less arithmetic.
                upsampling = (upsampling[0] * layer.downsampling[0], upsampling[1] * layer.downsampling[1])
            else:
                sequence, upsampling = layer.decode(sequence, layer_state, upsampling, self.remat), (1, 1)
        return self._to_frames(sequence)

    @property
    def depths(self) -> list[int]:
        """The numbers of layers that this network can be cut to: up to each layer that can be the last."""
        return [depth for depth, layer in enumerate(self.stack, start=1) if self._can_be_last(layer)]

    def truncate(self, depth: int) -> "FoldedRNN":
        """The network of the first `depth` layers, sharing their weights; it predicts without being trained again.

        Args:
            depth: number of layers to keep; the last of them must be recurrent.

        Raises:
            ValueError: `depth` is not one of `depths`.
        """
        if depth not in self.depths:
            raise ValueError(
                "A network can be cut above its recurrent layers only, "
                f"here to one of {self.depths} layers. Received: depth={depth!r}"
            )
        model = FoldedRNN(self.stack[:depth], self.horizon, self.remat, dtype=self.dtype_policy)
        if self.built:
            model.build(self.context_shape)
        return model

    def get_config(self) -> dict:
        return {**super().get_config(), "remat": self.remat}
