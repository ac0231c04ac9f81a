import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.layers import layout
from keras_frnn.layers.conv_gru_cell import ConvGRUCell
from keras_frnn.layers.folded_layer import FoldedKernelLayer
from keras_frnn.layers.initializers import independent_initializers


@keras.saving.register_keras_serializable(package="keras_frnn")
class BridgeLadder(FoldedKernelLayer):
    """The recurrent layer of a ladder network: an encoder and a decoder state, joined by bridge connections.

    With the encoder's state `o`, the decoder's `d`, and `update` the equation of `ConvGRUCell`:

        encode one step, given features x:            o' = update(state=o, inputs=[x, d])
        decode one step, given y from the layer above: d' = update(state=d, inputs=[y, o])

    A layer above gets `o`, the layer below gets `d`. Both start at one trainable value per channel. Unlike a
    `FoldedConvGRU`, each direction reads the other's state in every step, so a `LadderRNN` has to run both directions
    at every time step: this is the baseline that the paper compares with (RLadder).

    Over a sequence, each direction reads the other's state as it was before: `encode`, and a call on a video, is a
    ConvGRU that also reads the decoder's state; `decode` starts from `d` and reads the last `o` in every step.

    Args:
        filters: channels of the encoder state.
        kernel_size: integer, or height and width.
        kernel_initializer: Keras initializer, called once for each gate with the shape of its joint kernel over inputs
            and state.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, time, height, width, channels)`, or with `channels_first`
        `(batch, time, channels, height, width)`.
    Output shape: the same with `filters` channels; values in (-1, 1).

    Raises:
        ValueError: an argument that is not a positive integer, or an input that is not a video.

    Example:

    >>> import numpy as np
    >>> tuple(BridgeLadder(8, 5)(np.zeros((2, 10, 16, 16, 3), "float32")).shape)
    (2, 10, 16, 16, 8)

    Reference: section 4 of https://arxiv.org/abs/1712.00311
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        kernel_initializer="glorot_uniform",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(filters, kernel_size, kernel_initializer, data_format, **kwargs)
        self._direction_initializers = independent_initializers(self.kernel_initializer, 2)
        self.encoder = ConvGRUCell(
            self.filters, self.kernel_size, self._direction_initializers[0], dtype=self.dtype_policy, name="encoder"
        )

    def build(self, sequence_shape):
        self.sequence_shape = sequence_shape
        *_, channels = self.size_and_channels(sequence_shape)
        self.initial_encoder_state = self.add_weight(
            shape=(self.filters,), initializer="zeros", name="initial_encoder_state"
        )
        self.initial_decoder_state = self.add_weight(
            shape=(channels,), initializer="zeros", name="initial_decoder_state"
        )
        self.encoder.build((None, None, None, 2 * channels))
        if self.has_decoder:
            self.decoder = ConvGRUCell(
                channels, self.kernel_size, self._direction_initializers[1], dtype=self.dtype_policy, name="decoder"
            )
            self.decoder.build((None, None, None, 2 * self.filters))

    def state_shapes(self, sequence_shape):
        batch, (height, width, channels) = sequence_shape[0], self.size_and_channels(sequence_shape)
        return (batch, height, width, self.filters), (batch, height, width, channels)

    def initial_values(self):
        return self.initial_encoder_state, self.initial_decoder_state

    def initial_state(self, step):
        """The states `(o, d)` before the first step, for features `(batch, ...)` of one step, see `layout`."""
        weights = (self.initial_encoder_state, self.initial_decoder_state)
        return tuple(layout.at_every_pixel(weight, step, self.compute_dtype) for weight in weights)

    def make_encode_step(self):
        """`o'` as a function of the features of one step and `(o, d)`; weights are read now, not in a loop."""
        return self._make_step(self.encoder)

    def make_decode_step(self):
        """`d'` as a function of one step from the layer above and `(d, o)`; weights are read now, not in a loop."""
        return self._make_step(self.decoder)

    def _make_step(self, update: ConvGRUCell):
        transition, projection = update.make_transition(), update.make_projection()

        def step(x, states):
            own, other = states
            x = ops.cast(x, self.compute_dtype)
            return transition(own, projection(ops.concatenate([x, other], axis=-1)))

        return step

    def encode(self, sequence, state=None, remat=False):
        o, d = self.initial_state(sequence[0]) if state is None else state
        step = self.make_encode_step()
        o, outputs = backend.scan(lambda o, x: step(x, (o, d)), o, sequence)
        return outputs, (o, d)

    def decode(self, sequence, state, upsampling=(1, 1), remat=False):
        (o, d), step = state, self.make_decode_step()
        return backend.scan(lambda d, y: step(y, (d, o)), d, backend.upsample(sequence, upsampling))[1]
