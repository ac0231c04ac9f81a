from collections.abc import Sequence

import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_data_format, check_positive_integer, check_positive_integers, nearest_multiples
from keras_frnn.layers import layout
from keras_frnn.models.frames import check_channels, check_frames, check_rank
from keras_frnn.models.video_predictor import VideoPredictor


@keras.saving.register_keras_serializable(package="keras_frnn")
class ConvLSTMForecaster(VideoPredictor):
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
        super().__init__(horizon=horizon, **kwargs)
        self.filters = check_positive_integers(tuple(filters), "filters", len(tuple(filters)))
        self.kernel_size = check_positive_integers(kernel_size, "kernel_size", 2)
        self.patch_size = check_positive_integer(patch_size, "patch_size")
        self.data_format = check_data_format(data_format)
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

    def make_weights(self, context_shape):
        height, width, _ = self._checked_size(context_shape)
        size = (height // self.patch_size, width // self.patch_size)
        for layer, channels in self.layers_and_inputs(context_shape):
            time = (None,) if isinstance(layer, keras.layers.ConvLSTM2D) else ()
            layer.build((None, *time, *size, channels))
        self.readout = layer

    def layers_and_inputs(self, context_shape):
        *_, channels = layout.frame_size_and_channels(context_shape, self.data_format)
        pixels = channels * self.patch_size**2
        for layers, inputs in ((self.encoder, pixels), (self.forecaster, 1)):
            for layer in layers:
                yield layer, inputs
                inputs = layer.filters
        readout = keras.layers.Conv2D(
            pixels, 1, activation="tanh", data_format="channels_last", dtype=self.dtype_policy
        )
        yield readout, sum(self.filters)

    @property
    def to_patches(self):
        """`readout` under its name in files of version 0.2.0, where Keras looks for its weights."""
        return self.readout

    def predict_frames(self, context, steps: int):
        context = check_frames(context)
        self._check_fit(context.shape)
        if self.data_format == "channels_first":
            context = ops.moveaxis(context, 2, -1)
        (batch, time, *frame), side = ops.shape(context), (self.patch_size, self.patch_size)
        x = backend.space_to_depth(ops.reshape(context, (-1, *frame)), side)
        _, *size, _ = ops.shape(x)
        x, states = ops.reshape(x, (batch, time, *ops.shape(x)[1:])), []
        for layer in self.encoder:
            x, *state = layer(x)
            states.append(state)
        x, outputs = ops.zeros((batch, steps, *size, 1), dtype=self.compute_dtype), []
        for layer, state in zip(self.forecaster, reversed(states), strict=True):
            x, *_ = layer(x, initial_state=state)
            outputs.append(x)
        to_frames = lambda features: backend.depth_to_space(self.readout(features), side)  # noqa: E731
        frames = layout.over_time(to_frames, ops.concatenate(outputs, axis=-1))
        return ops.moveaxis(frames, -1, 2) if self.data_format == "channels_first" else frames

    def _check_fit(self, shape):
        self._checked_size(shape)
        check_channels(shape, self.context_shape, self.data_format)

    def _checked_size(self, shape) -> tuple:
        height, width, channels = layout.frame_size_and_channels(check_rank(shape), self.data_format)
        for axis, length in (("height", height), ("width", width)):
            if length is None:
                raise ValueError(
                    f"The {axis} of the frames must be known. Received: frames of shape {tuple(shape)} with "
                    f"data_format='{self.data_format}'"
                )
            if length % self.patch_size:
                raise ValueError(
                    "The height and width of the frames must be multiples of "
                    f"patch_size={self.patch_size}; the nearest {axis}s that work: "
                    f"{nearest_multiples(length, self.patch_size)}. "
                    f"Received: frames of shape {tuple(shape)} with data_format='{self.data_format}'"
                )
        return height, width, channels

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "patch_size": self.patch_size,
            "data_format": self.data_format,
        }
