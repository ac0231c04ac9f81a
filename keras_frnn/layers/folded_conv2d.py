import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.layers import layout
from keras_frnn.layers.folded_layer import FoldedKernelLayer


@keras.saving.register_keras_serializable(package="keras_frnn")
class FoldedConv2D(FoldedKernelLayer):
    """A convolution of every frame that decodes with its own kernel, transposed.

        encode: tanh(conv(x, W) + b)
        decode: tanh(conv(y, W') + b')

    `W'` is `W` flipped in both spatial axes, with its channel axes swapped. One kernel, two biases.

    Args:
        filters: channels of the encoded frames.
        kernel_size: integer, or height and width.
        kernel_initializer: Keras initializer of the kernel `(kh, kw, channels, filters)`.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, time, height, width, channels)`, or with `channels_first`
        `(batch, time, channels, height, width)`.
    Output shape: the same with `filters` channels; values in (-1, 1).

    Raises:
        ValueError: an argument that is not a positive integer, or an input that is not a video.

    Example:

    >>> import numpy as np
    >>> tuple(FoldedConv2D(32, 5)(np.zeros((2, 10, 64, 64, 1), "float32")).shape)
    (2, 10, 64, 64, 32)

    Reference: https://arxiv.org/abs/1712.00311
    """

    def build(self, sequence_shape):
        self.sequence_shape = sequence_shape
        *_, channels = self.size_and_channels(sequence_shape)
        shape = (*self.kernel_size, channels, self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        if self.has_decoder:
            self.decoder_bias = self.add_weight(shape=(channels,), initializer="zeros", name="decoder_bias")

    def encode(self, sequence, state=None, remat=False):
        return self._convolve(sequence, self._kernel(), self.bias), ()

    def decode(self, sequence, state, upsampling=(1, 1), remat=False):
        return self._convolve(sequence, backend.transposed(self._kernel()), self.decoder_bias, upsampling)

    def _kernel(self):
        return backend.read_kernel(self.kernel, self.compute_dtype)

    def _convolve(self, sequence, kernel, bias, upsampling=(1, 1)):
        bias = ops.cast(bias, self.compute_dtype)
        sequence = ops.cast(sequence, self.compute_dtype)
        return layout.over_time(lambda x: backend.tanh(backend.upsampled_conv(x, kernel, upsampling) + bias), sequence)
