import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.layers import layout
from keras_frnn.layers.bridge_ladder import BridgeLadder
from keras_frnn.models.layer_stack import LayerStack


@keras.saving.register_keras_serializable(package="keras_frnn")
class LadderRNN(LayerStack):
    """The ladder network with bridge connections (RLadder) that the paper compares with.

    Every step runs both directions: a frame goes in at the bottom, every layer updates its encoder state up to the top,
    then its decoder state down to the bottom, where a prediction of the next frame comes out. The context frames but
    the last only warm the states up; the last yields the first prediction, and each prediction is fed back as the next
    input.

    Args:
        layers: from the frame up, `BridgeLadder` layers and any `FoldedLayer` without a state; the last is a
            `BridgeLadder`. They become this model's.
        horizon: number of frames that a call predicts.

    Input shape: `(batch, context, height, width, channels)`, float, values in [-1, 1]; channels before height if the
        layers are `channels_first`. Height and width must be divisible by all pooling.
    Output shape: `(batch, horizon, height, width, channels)`, values in (-1, 1).

    Raises:
        ValueError: a list of layers that is no ladder network, or frames that do not fit it.

    Example:

    >>> import numpy as np
    >>> from keras_frnn import layers
    >>> model = LadderRNN([layers.FoldedConv2D(8, 5), layers.FoldedMaxPooling2D(2), layers.BridgeLadder(8, 3)], 5)
    >>> tuple(model(np.zeros((2, 10, 16, 16, 1), "float32")).shape)
    (2, 5, 16, 16, 1)

    Reference: section 4 of https://arxiv.org/abs/1712.00311
    """

    recurrent_layer = BridgeLadder
    _last_layer = "a BridgeLadder"

    def _check_layers(self, layers):
        super()._check_layers(layers)
        for index, layer in enumerate(layers):
            if layer.has_state and not isinstance(layer, BridgeLadder):
                raise ValueError(
                    "The layers of a LadderRNN that have a state are BridgeLadder layers: the others would lose theirs "
                    f"from step to step. Received: layers[{index}]={layer!r}"
                )

    def _can_be_last(self, layer):
        return isinstance(layer, BridgeLadder)

    def _encode(self, frames, state):
        sequence = layout.to_sequence(frames, self.data_format)
        # What is below the first recurrent layer needs no state, and sees all frames at once.
        for layer in self._stem:
            sequence, _ = layer.encode(sequence)
        body_state = self._initial_state(sequence[0]) if state is None else tuple(state[len(self._stem) :])
        body_state, _ = backend.scan(self._step(), body_state, sequence, select=lambda state: ())
        return ((),) * len(self._stem) + body_state

    def _decode(self, state, steps):
        state, step = tuple(state[len(self._stem) :]), self._step()
        frames = self._frame(state)[None]
        if steps > 1:

            def feed_back(carry, _):
                state, x = carry
                x = x[None]
                for layer in self._stem:
                    x, _ = layer.encode(x)
                state = step(state, x[0])
                return state, self._frame(state)

            carry = (state, frames[0])
            _, later = backend.scan(feed_back, carry, ops.arange(1, steps), select=lambda carry: carry[1])
            frames = ops.concatenate([frames, later])
        return self._to_frames(frames)

    @property
    def _stem(self) -> list:
        return self.stack[: self._first_recurrent]

    @property
    def _body(self) -> list:
        return self.stack[self._first_recurrent :]

    @property
    def _first_recurrent(self) -> int:
        return next(index for index, layer in enumerate(self.stack) if isinstance(layer, BridgeLadder))

    def _initial_state(self, x) -> tuple:
        state: list[tuple] = []
        for layer in self._body:
            if isinstance(layer, BridgeLadder):
                o, d = layer.initial_state(x)
                state.append((o, d))
                x = o
            else:
                x = layer.encode(x[None])[0][0]
                state.append(())
        return tuple(state)

    def _step(self):
        """One time step of the layers from the first recurrent one on: `(state, features) -> state`."""
        recurrent = [isinstance(layer, BridgeLadder) for layer in self._body]
        encode = [layer.make_encode_step() if r else None for layer, r in zip(self._body, recurrent, strict=True)]
        decode = [layer.make_decode_step() if r else None for layer, r in zip(self._body, recurrent, strict=True)]

        def step(state, x):
            new = list(state)
            for index, layer in enumerate(self._body):
                if recurrent[index]:
                    o, d = state[index]
                    x = encode[index](x, (o, d))
                    new[index] = (x, d)
                else:
                    x = layer.encode(x[None])[0][0]
            for index, layer in reversed(list(enumerate(self._body))):
                if recurrent[index]:
                    o, d = new[index]
                    x = decode[index](x, (d, o))
                    new[index] = (o, x)
                else:
                    x = layer.decode(x[None], ())[0]
            return tuple(new)

        return step

    def _frame(self, state):
        """The frame that the lowest decoder state stands for, `(batch, ...)`, see `layout`."""
        frame = state[0][1][None]
        for layer in reversed(self._stem):
            frame = layer.decode(frame, ())
        return frame[0]
