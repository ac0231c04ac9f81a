import keras

from keras_frnn import backend
from keras_frnn.checks import check_positive_integers
from keras_frnn.layers import layout
from keras_frnn.layers.folded_layer import FoldedLayer


@keras.saving.register_keras_serializable(package="keras_frnn")
class FoldedMaxPooling2D(FoldedLayer):
    """Max pooling of every frame that decodes by nearest-neighbour upsampling.

    Args:
        pool_size: integer, or height and width; also the stride, and the factor of the upsampling.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, time, height, width, channels)`, or with `channels_first`
        `(batch, time, channels, height, width)`. Height and width must be multiples of the pool size.
    Output shape: the same with height and width divided by the pool size.

    Raises:
        ValueError: a pool size that is not positive, or a frame that it does not divide.

    Example:

    >>> import numpy as np
    >>> tuple(FoldedMaxPooling2D(2)(np.zeros((2, 10, 64, 80, 1), "float32")).shape)
    (2, 10, 32, 40, 1)

    Reference: https://arxiv.org/abs/1712.00311
    """

    decodes_by_upsampling = True

    def __init__(self, pool_size: int | tuple[int, int] = 2, data_format: str | None = None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.pool_size = check_positive_integers(pool_size, "pool_size", 2)

    def encode(self, sequence, state=None, remat=False):
        return layout.over_time(lambda x: backend.max_pool(x, self.pool_size), sequence), ()

    def decode(self, sequence, state, upsampling=(1, 1), remat=False):
        return backend.upsample(sequence, tuple(a * b for a, b in zip(self.pool_size, upsampling, strict=True)))

    @property
    def downsampling(self):
        return self.pool_size

    def encoded_shape(self, sequence_shape: tuple) -> tuple:
        *_, channels = self.size_and_channels(sequence_shape)
        height, width = self._divided_size(sequence_shape)
        return (*sequence_shape[:2], *layout.frame_shape(height, width, channels, self.data_format))

    def get_config(self) -> dict:
        return {**super().get_config(), "pool_size": self.pool_size}
