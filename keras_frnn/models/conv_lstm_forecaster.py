from collections.abc import Sequence

import keras
from keras import ops

from keras_frnn.checks import check_positive_integers
from keras_frnn.layers import layout
from keras_frnn.models.patch_predictor import PatchPredictor, kernel_numbers


@keras.saving.register_keras_serializable(package="keras_frnn")
class ConvLSTMForecaster(PatchPredictor):
    """An encoder-forecaster of stock `keras.layers.ConvLSTM2D`, the obvious choice with plain Keras.

    One stack of ConvLSTM layers reads the context. A second stack, in reverse order, starts from its states and has no
    input; a 1x1 convolution turns its outputs into the future frames. The pixels of each patch of a frame become
    channels, so the layers work at a lower resolution.

    Args:
        horizon: number of frames that a call predicts.
        filters: channels of the encoding layers, starting at the frame; the forecasting layers use them in reverse.
        kernel_size: integer, or height and width, of all ConvLSTM layers.
        patch_size: side of the patches; the height and width of the frames must be multiples of it.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, context, height, width, channels)`, float, values in [-1, 1], or channels before height.
    Output shape: `(batch, horizon, height, width, channels)`, values in (-1, 1).

    Raises:
        ValueError: an argument is not a positive integer, or frames do not fit.

    Example:

    >>> import numpy as np
    >>> model = ConvLSTMForecaster(horizon=2, filters=(4, 3), kernel_size=3)
    >>> tuple(model(np.zeros((1, 3, 16, 16, 1), "float32")).shape)
    (1, 2, 16, 16, 1)

    Reference: Shi et al., "Convolutional LSTM Network", NeurIPS 2015, https://arxiv.org/abs/1506.04214
    """

    def __init__(
        self,
        horizon: int,
        filters: Sequence[int] = (128, 64, 64),
        kernel_size: int | tuple[int, int] = 5,
        patch_size: int = 4,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(horizon, patch_size, data_format, **kwargs)
        self.filters = check_positive_integers(tuple(filters), "filters", len(tuple(filters)))
        self.kernel_size = check_positive_integers(kernel_size, "kernel_size", 2)
        self.encoder = [self._layer(filters, f"encoder_{i}") for i, filters in enumerate(self.filters)]
        self.forecaster = [self._layer(filters, f"forecaster_{i}") for i, filters in enumerate(self.filters[::-1])]

    def _layer(self, filters: int, name: str):
        return keras.layers.ConvLSTM2D(
            filters,
            self.kernel_size,
            padding="same",
            return_sequences=True,
            return_state=True,
            data_format="channels_last",
            dtype=self.dtype_policy,
            name=name,
        )

    def layers_and_inputs(self, context_shape):
        pixels = self.patch_channels(context_shape)
        for layers, inputs in ((self.encoder, pixels), (self.forecaster, 1)):
            for layer in layers:
                yield layer, inputs
                inputs = layer.filters
        yield self.make_readout(pixels), sum(self.filters)

    @property
    def to_patches(self):
        """`readout` under its name in files of version 0.2.0, where Keras looks for its weights."""
        return self.readout

    def predict_patches(self, patches, steps):
        x, states = ops.swapaxes(patches, 0, 1), []
        batch, _, *size, _ = ops.shape(x)
        for layer in self.encoder:
            x, *state = layer(x)
            states.append(state)
        x, outputs = ops.zeros((batch, steps, *size, 1), dtype=self.compute_dtype), []
        for layer, state in zip(self.forecaster, reversed(states), strict=True):
            x, *_ = layer(x, initial_state=state)
            outputs.append(x)
        return layout.over_time(self.readout, ops.swapaxes(ops.concatenate(outputs, axis=-1), 0, 1))

    def count(self, frame_shape, context, horizon):
        pixels = self.pixels(frame_shape)
        encode, decode = (
            pixels * sum(kernel_numbers(layer.weights) for layer in layers)
            for layers in (self.encoder, [*self.forecaster, self.readout])
        )
        return context * encode, horizon * decode, pixels * 2 * sum(self.filters)

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}
