import keras

from keras_frnn import backend
from keras_frnn.checks import check_positive_integers
from keras_frnn.layers import layout
from keras_frnn.layers.folded_layer import FoldedLayer


@keras.saving.register_keras_serializable(package="keras_frnn")
class FoldedPatch2D(FoldedLayer):
    """Space to depth: every patch of a frame becomes one pixel with as many channels. Decodes by the exact inverse.

    It has no weights and loses nothing: layers above see the whole frame at a fraction of the arithmetic.

    Args:
        patch_size: integer, or height and width of a patch.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, time, height, width, channels)`, or with `channels_first`
        `(batch, time, channels, height, width)`. Height and width must be multiples of the patch size.
    Output shape: the same with height and width divided by the patch size, and channels multiplied by the pixels of a
        patch.

    Raises:
        ValueError: a patch size that is not positive, or a frame that it does not divide.

    Example:

    >>> import numpy as np
    >>> tuple(FoldedPatch2D(4)(np.zeros((2, 10, 64, 80, 1), "float32")).shape)
    (2, 10, 16, 20, 16)

    Reference: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional
    Neural Network", CVPR 2016, for the inverse.
    """

    def __init__(self, patch_size: int | tuple[int, int] = 2, data_format: str | None = None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.patch_size = check_positive_integers(patch_size, "patch_size", 2)

    def encode(self, sequence, state=None, remat=False):
        return layout.over_time(lambda x: backend.space_to_depth(x, self.patch_size), sequence), ()

    def decode(self, sequence, state, upsampling=(1, 1), remat=False):
        return layout.over_time(
            lambda x: backend.depth_to_space(backend.upsample(x, upsampling), self.patch_size), sequence
        )

    @property
    def downsampling(self):
        return self.patch_size

    def encoded_shape(self, sequence_shape: tuple) -> tuple:
        *_, channels = self.size_and_channels(sequence_shape)
        (height, width), (rows, columns) = self._divided_size(sequence_shape), self.patch_size
        return (*sequence_shape[:2], *layout.frame_shape(height, width, channels * rows * columns, self.data_format))

    def get_config(self) -> dict:
        return {**super().get_config(), "patch_size": self.patch_size}
