import keras

from keras_frnn.layers.folded_conv_gru import FoldedConvGRU
from keras_frnn.layers.min_conv_gru_cell import MinConvGRUCell


@keras.saving.register_keras_serializable(package="keras_frnn")
class FoldedMinConvGRU(FoldedConvGRU):
    """A folded recurrent layer with the minimal update: a convolutional minGRU that runs in both directions.

    The gates see the inputs alone, not the state (`MinConvGRUCell`); all else is as in a `FoldedConvGRU`. With input
    state `i` and output state `o`:

        encode one frame's features x:   o' = update(state=o, inputs=x);  i' = x
        decode, given the state y above: i' = update(state=i, inputs=y)   with weights of its own

    In both directions the inputs of all steps are known beforehand. So the layer is one convolution over all steps and
    one elementwise recurrence, which accelerators compute for all steps at once. At equal filters and input channels,
    it has a third of the weights and of the arithmetic of a `FoldedConvGRU`.

    Nothing moves sideways inside a state, only from layer to layer: kernels must be wide enough for the motion.

    Called on a video, it is an ordinary recurrent Keras layer and has the weights of encoding only.

    Args:
        filters: channels of the output state.
        kernel_size: integer, or height and width.
        return_sequences: whether a call returns the output state of every step, or of the last.
        return_state: whether a call also returns the last output state.
        kernel_initializer: Keras initializer, called once for each gate, with `(kh, kw, inputs, filters)`.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.
        update_bias: initial bias of the update gates, z, in both directions. Below zero, states begin as averages over
            many steps: they change slowly, and gradients reach far back.
        go_backwards, decoder_update_bias: as of `FoldedConvGRU`.

    Call arguments, Output shape, Raises: as of `FoldedConvGRU`.

    Example:

    >>> import numpy as np
    >>> video = np.zeros((2, 10, 16, 16, 3), "float32")
    >>> tuple(FoldedMinConvGRU(8, 5, return_sequences=True)(video).shape)
    (2, 10, 16, 16, 8)

    Reference: Feng et al., "Were RNNs All We Needed?", https://arxiv.org/abs/2410.01201
    """

    _cell = MinConvGRUCell

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        *,
        update_bias: float = -2.0,
        **kwargs,
    ):
        super().__init__(filters, kernel_size, update_bias=update_bias, **kwargs)
