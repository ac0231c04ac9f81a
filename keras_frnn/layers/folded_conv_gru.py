import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_finite, shapes_fit
from keras_frnn.layers import layout
from keras_frnn.layers.conv_gru_cell import ConvGRUCell
from keras_frnn.layers.folded_layer import FoldedKernelLayer
from keras_frnn.layers.initializers import independent_initializers


@keras.saving.register_keras_serializable(package="keras_frnn")
class FoldedConvGRU(FoldedKernelLayer):
    """The folded recurrent layer: a convolutional GRU that runs in both directions between two states.

    The paper calls it bijective GRU (bGRU). With input state `i`, output state `o` and `update` the equation of
    `ConvGRUCell`:

        encode one frame's features x:   o' = update(state=o, inputs=x);  i' = x
        decode, given the state y above: i' = update(state=i, inputs=y)   with weights of its own

    Both directions share the states: after encoding, they hold all that decoding needs. A layer above gets
    `o` when encoding, the layer below gets `i` when decoding. `o` starts at one trainable value per channel.

    Called on a video, it is an ordinary recurrent Keras layer, a ConvGRU, and has the weights of encoding only.

    Args:
        filters: channels of the output state.
        kernel_size: integer, or height and width.
        return_sequences: whether a call returns the output state of every step, or of the last.
        return_state: whether a call also returns the last output state.
        kernel_initializer: Keras initializer, called once for each gate with the shape of its joint kernel over inputs
            and state, `(kh, kw, inputs + filters, filters)`.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.
        update_bias: initial bias of the update gates, z, in both directions. Below zero, states begin as averages over
            many steps: they change slowly, and gradients reach far back.
        go_backwards: whether a call reads the last step first, and returns its outputs in that order, as
            `keras.layers.Bidirectional` expects. Layers of a `FoldedRNN` only read forwards.
        decoder_update_bias: initial bias of the update gates in decoding; `update_bias` by default. If it is far
            below zero, such as -5, an untrained layer decodes the input state of the last frame almost unchanged.

    Call arguments:
        sequence: videos or features, `(batch, time, height, width, channels)`.
        initial_state: output state to start from, `(batch, height, width, filters)`, or a list of this one tensor;
            by default the trainable one.
        mask: booleans `(batch, time)`, or `(batch, time, height, width)` as `keras.layers.Masking` makes them of videos
            with channels last. Where it is false, a step keeps the state and outputs it.
        sequence_mask: the same; Keras uses this name when it passes the mask of a video beside an initial state.

    Output shape: `(batch, time, height, width, filters)` with `return_sequences`, else
        `(batch, height, width, filters)`, values in (-1, 1) unless the initial state is beyond; with `return_state` a
        tuple of that and the state. With `channels_first`, channels come before height everywhere.

    Raises:
        ValueError: a size that is not a positive integer, an `update_bias` that is not a finite number, an input that
            is not a video, an initial state or a mask that does not fit, or `stateful=True`: hand the state from call
            to call instead.

    Example:

    >>> import numpy as np
    >>> video = np.zeros((2, 10, 16, 16, 3), "float32")
    >>> tuple(FoldedConvGRU(8, 5, return_sequences=True)(video).shape)
    (2, 10, 16, 16, 8)

    Reference: sections 3 and 3.1 of https://arxiv.org/abs/1712.00311
    """

    _cell = ConvGRUCell

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        return_sequences: bool = False,
        return_state: bool = False,
        kernel_initializer="glorot_uniform",
        data_format: str | None = None,
        update_bias: float = 0.0,
        go_backwards: bool = False,
        decoder_update_bias: float | None = None,
        **kwargs,
    ):
        if kwargs.pop("stateful", False):
            raise ValueError(
                "A FoldedConvGRU keeps no state from call to call. Received: stateful=True. Make it with "
                "`return_state=True`, and pass the state that a call returns as `initial_state` to the next."
            )
        super().__init__(filters, kernel_size, kernel_initializer, data_format, **kwargs)
        self.stateful, self.states = False, None  # `keras.layers.Bidirectional` asks.
        self.supports_masking = True
        self.go_backwards = go_backwards
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.update_bias = check_finite(update_bias, "update_bias")
        self.decoder_update_bias = decoder_update_bias
        if decoder_update_bias is not None:
            check_finite(decoder_update_bias, "decoder_update_bias")
        self._direction_initializers = independent_initializers(self.kernel_initializer, 2)
        self.encoder = self._make_cell(self.filters, self._direction_initializers[0], self.update_bias, name="encoder")

    def build(self, sequence_shape):
        if self.has_decoder and self.go_backwards:
            raise ValueError(
                f"Layer '{self.name}' is part of a model, which reads videos forwards only. Received: go_backwards=True"
            )
        self.sequence_shape = sequence_shape
        *_, channels = self.size_and_channels(sequence_shape)
        self.initial_output_state = self.add_weight(
            shape=(self.filters,), initializer="zeros", name="initial_output_state"
        )
        self.encoder.build((None, None, None, channels))
        if self.has_decoder:
            # The state above has as many channels as this layer's output: pooling between them keeps channels.
            bias = self.update_bias if self.decoder_update_bias is None else self.decoder_update_bias
            self.decoder = self._make_cell(channels, self._direction_initializers[1], bias, name="decoder")
            self.decoder.build((None, None, None, self.filters))

    def _make_cell(self, filters: int, kernel_initializer, update_bias: float, name: str):
        return self._cell(
            filters, self.kernel_size, kernel_initializer, update_bias, dtype=self.dtype_policy, name=name
        )

    def encode(self, sequence, state=None, remat=False, mask=None):
        sequence = ops.cast(sequence, self.compute_dtype)
        if state is None:
            o = layout.at_every_pixel(self.initial_output_state, sequence[0], self.compute_dtype)
        else:
            o = ops.cast(state[1], self.compute_dtype)
        outputs = self.encoder.iterate(o, sequence, remat=remat, mask=mask)
        return outputs, (sequence[-1], outputs[-1])

    def decode(self, sequence, state, upsampling=(1, 1), remat=False):
        i = ops.cast(state[0], self.compute_dtype)
        return self.decoder.iterate(i, sequence, upsampling, remat=remat)

    def rollout(self, state, steps: int):
        """Decodes without a layer above: the top layer alternates its two updates, each the other's input.

        Args:
            state: what `encode` returned last. It stays as it is.
            steps: number of future steps.

        Returns:
            The input states of the future steps, `(steps, batch, ...)`, see `layout`.
        """
        encode, decode = self.encoder.make_transition(), self.decoder.make_transition()
        encoder_projection, decoder_projection = self.encoder.make_projection(), self.decoder.make_projection()

        def step(state, _):
            i, o = state
            o = encode(o, encoder_projection(i))
            i = decode(i, decoder_projection(o))
            return i, o

        i, o = state
        first = decode(i, decoder_projection(o))
        if steps == 1:
            return first[None]
        # The loop begins with the update of the output state, because the one after the last step is never used.
        _, later = backend.scan(step, (first, o), ops.arange(1, steps), select=lambda state: state[0])
        return ops.concatenate([first[None], later])

    def state_shapes(self, sequence_shape):
        batch, (height, width, channels) = sequence_shape[0], self.size_and_channels(sequence_shape)
        return (batch, height, width, channels), (batch, height, width, self.filters)

    def initial_values(self):
        return 0.0, self.initial_output_state  # Encoding overwrites the input state before it is read.

    def call(self, sequence, initial_state=None, mask=None, sequence_mask=None):
        self._check_call(sequence.shape)
        mask = sequence_mask if mask is None else mask
        state = None
        if initial_state is not None:
            state = (None, layout.to_state(self._check_initial_state(initial_state, sequence.shape), self.data_format))
        sequence = layout.to_sequence(sequence, self.data_format)
        mask = None if mask is None else self._mask_of_steps(mask, sequence.shape)
        if self.go_backwards:
            sequence, mask = ops.flip(sequence, 0), None if mask is None else ops.flip(mask, 0)
        outputs, (_, o) = self.encode(sequence, state, mask=mask)
        o = layout.from_state(o, self.data_format)
        result = layout.from_sequence(outputs, self.data_format) if self.return_sequences else o
        return (result, o) if self.return_state else result

    def compute_mask(self, sequence, previous_mask):
        mask = keras.tree.flatten(previous_mask)[0] if self.return_sequences else None
        if mask is not None and self.go_backwards:
            mask = ops.flip(mask, 1)
        return [mask, None] if self.return_state else mask

    def compute_output_shape(self, sequence_shape, initial_state_shape=None):
        state_shape = self._state_shape(sequence_shape)
        result = self.encoded_shape(sequence_shape) if self.return_sequences else state_shape
        return (result, state_shape) if self.return_state else result

    def _state_shape(self, sequence_shape) -> tuple:
        encoded = self.encoded_shape(sequence_shape)
        return (encoded[0], *encoded[2:])

    def _mask_of_steps(self, mask, shape: tuple):
        """A mask as `ConvGRUCell.iterate` takes it, for sequences of this shape."""
        time, *batch_and_size, _ = shape
        expected = (batch_and_size[0], time, *batch_and_size[1:])
        mask = ops.cast(ops.convert_to_tensor(mask), "bool")
        if len(mask.shape) not in (2, 4) or not shapes_fit(mask.shape, expected[: len(mask.shape)]):
            raise ValueError(
                f"Layer '{self.name}' expects a mask of shape {expected[:2]} or {expected} for this input. "
                f"Received: mask of shape {tuple(mask.shape)}"
            )
        mask = ops.swapaxes(mask, 0, 1)
        return ops.reshape(mask, (*ops.shape(mask), *[1] * (5 - len(mask.shape))))

    def _check_initial_state(self, initial_state, sequence_shape):
        states = initial_state if isinstance(initial_state, (list, tuple)) else [initial_state]
        expected = self._state_shape(sequence_shape)
        shapes = [tuple(state.shape) for state in states]
        if len(shapes) != 1 or not shapes_fit(shapes[0], expected):
            raise ValueError(
                f"Layer '{self.name}' has one state, of shape {expected} for this input. "
                f"Received: initial_state of shape {shapes[0] if len(shapes) == 1 else shapes}"
            )
        return ops.cast(states[0], self.compute_dtype)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
            "update_bias": self.update_bias,
            "decoder_update_bias": self.decoder_update_bias,
            "go_backwards": self.go_backwards,
        }
