import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_float_policy, check_positive_integer, check_positive_integers
from keras_frnn.layers import layout
from keras_frnn.layers.folded_layer import FoldedLayer
from keras_frnn.layers.initializers import independent_initializers

_EPSILON = 1e-6


@keras.saving.register_keras_serializable(package="keras_frnn")
class FoldedResidual2D(FoldedLayer):
    """Adds what two convolutions make of every frame. Each direction has weights of its own; there is no state.

        encode x: x + P gelu(E * norm(x) + b) + c
        decode y: y + P' gelu(E' * norm(y) + b') + c'

    `norm` makes the mean over all channels of a pixel zero and their variance one, and multiplies each channel by a
    weight. `E` has `expansion` times as many output channels as inputs; `P` is a 1x1 convolution back to their number,
    and begins with zeros. So a new layer changes nothing: a trained network that gets one (`models.start_from`)
    forecasts as before.

    Args:
        expansion: channels between the convolutions, as a multiple of the input's.
        kernel_size: integer, or height and width, of the first convolution; 1 mixes the channels of each pixel alone.
        kernel_initializer: Keras initializer of the first kernels `(kh, kw, channels, expansion * channels)`.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, time, height, width, channels)`, or with `channels_first`
        `(batch, time, channels, height, width)`.
    Output shape: the same.

    Raises:
        ValueError: an argument that is not a positive integer, or an input that is not a video.

    Example:

    >>> import numpy as np
    >>> tuple(FoldedResidual2D(2, 3)(np.zeros((2, 10, 16, 16, 24), "float32")).shape)
    (2, 10, 16, 16, 24)

    References: He et al., "Identity Mappings in Deep Residual Networks", ECCV 2016; Liu et al., "A ConvNet for the
        2020s", CVPR 2022, for normalization, gelu and the wide middle.
    """

    def __init__(
        self,
        expansion: int = 2,
        kernel_size: int | tuple[int, int] = 3,
        kernel_initializer="glorot_uniform",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        check_float_policy(self.dtype_policy)
        self.expansion = check_positive_integer(expansion, "expansion")
        self.kernel_size = check_positive_integers(kernel_size, "kernel_size", 2)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, sequence_shape):
        super().build(sequence_shape)
        *_, channels = self.size_and_channels(sequence_shape)
        initializers = independent_initializers(self.kernel_initializer, 2)
        self.encoder = self._make_weights("encoder", channels, initializers[0])
        if self.has_decoder:
            self.decoder = self._make_weights("decoder", channels, initializers[1])

    def _make_weights(self, direction: str, channels: int, initializer):
        middle = self.expansion * channels
        return [
            self.add_weight(shape=shape, initializer=initial, name=f"{direction}_{name}")
            for name, shape, initial in (
                ("scale", (channels,), "ones"),
                ("kernel", (*self.kernel_size, channels, middle), initializer),
                ("bias", (middle,), "zeros"),
                ("projection", (1, 1, middle, channels), "zeros"),
                ("projection_bias", (channels,), "zeros"),
            )
        ]

    def encode(self, sequence, state=None, remat=False):
        return self._with_residual(sequence, self.encoder), ()

    def decode(self, sequence, state, upsampling=(1, 1), remat=False):
        return self._with_residual(layout.over_time(lambda x: backend.upsample(x, upsampling), sequence), self.decoder)

    def _with_residual(self, sequence, weights):
        scale, kernel, bias, projection, projection_bias = (
            (backend.read_kernel if len(weight.shape) == 4 else ops.cast)(weight, self.compute_dtype)
            for weight in weights
        )

        def residual(x):
            mean, variance = ops.moments(x, axes=-1, keepdims=True)
            x = (x - mean) * ops.rsqrt(variance + _EPSILON) * scale
            x = ops.gelu(backend.same_conv(x, kernel) + bias)
            return backend.same_conv(x, projection) + projection_bias

        sequence = ops.cast(sequence, self.compute_dtype)
        return sequence + layout.over_time(residual, sequence)

    def encoded_shape(self, sequence_shape: tuple) -> tuple:
        self.size_and_channels(sequence_shape)
        return tuple(sequence_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "expansion": self.expansion,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
