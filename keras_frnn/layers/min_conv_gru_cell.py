"""The minimal update: a gated update whose gates see the inputs alone."""

import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.layers import layout
from keras_frnn.layers.conv_gru_cell import ConvGRUCell
from keras_frnn.layers.initializers import gate_biases


def minimal_update(h, x):
    """One step of the state `h`. With inputs `x`, `*` the elementwise product and `s` the logistic function:

        z = s(conv(x, W_z) + b_z)        update gate
        c = tanh(conv(x, W_c) + b_c)     candidate
        h' = z * c + (1 - z) * h

    Args:
        h: tensor `(..., filters)`.
        x: both convolutions with their biases, one after the other in the channels: `(..., 2 * filters)`.
    """
    x_z, x_c = ops.split(x, 2, axis=-1)
    z, c = ops.sigmoid(x_z), backend.tanh(x_c)
    return h + z * (c - h)


@keras.saving.register_keras_serializable(package="keras_frnn")
class MinConvGRUCell(ConvGRUCell):
    """A minimal convolutional gated recurrent unit, one direction of a recurrent layer.

    Its equation is `minimal_update`. Where the inputs of all steps are known, this is one convolution over all of them
    and one linear recurrence, `backend.minimal_recurrence`. All else is as in a `ConvGRUCell`. The weights:

        kernel    (kh, kw, inputs, 2 * filters)    for z and c
        bias      (2 * filters,)                   for z and c

    Args:
        filters: channels of the state.
        kernel_size: height and width of the kernels.
        kernel_initializer: called once for each gate, with `(kh, kw, inputs, filters)`.
        update_bias: initial bias of the update gate.

    Reference: Feng et al., "Were RNNs All We Needed?", https://arxiv.org/abs/2410.01201; with convolutions:
    https://arxiv.org/abs/2508.03614
    """

    _gates = 2

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        kernel_initializer="glorot_uniform",
        update_bias: float = -2.0,
        **kwargs,
    ):
        super().__init__(filters, kernel_size, kernel_initializer, update_bias, **kwargs)

    def _add_weights(self, input_channels):
        def draw_kernel(shape, dtype=None):
            gates = [gate((*shape[:-1], self.filters), dtype) for gate in self._gate_initializers]
            return ops.concatenate(gates, axis=-1)

        shape = (*self.kernel_size, input_channels, 2 * self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=draw_kernel, name="kernel")
        self.bias = self.add_weight(shape=shape[-1:], initializer=gate_biases(self.update_bias, 0), name="bias")

    def call(self, inputs, states):
        (h,) = states if isinstance(states, (list, tuple)) else (states,)
        h = minimal_update(ops.cast(h, self.compute_dtype), self.make_projection()(inputs))
        return h, [h]

    def make_projection(self, upsampling: tuple[int, int] = (1, 1)):
        """The convolution with biases added, as a function of `(batch, ...)`, with the channels of z and of c.

        Height and width of the inputs are upsampled first, by these factors. Weights are read now, not in a loop.
        """
        kernel, bias = self._input_weights()
        kernel = backend.packed(kernel)
        return lambda x: _project(ops.cast(x, self.compute_dtype), kernel, bias, upsampling)

    def make_transition(self):
        """The update as a function of the state and the projection of the inputs."""
        return minimal_update

    def iterate(self, h, sequence, upsampling: tuple[int, int] = (1, 1), remat: bool = False, mask=None):
        """The states after every step, `(time, batch, ...)`.

        Args:
            h: state before the first step, `(batch, ...)`.
            sequence: inputs of every step, `(time, batch, ...)`.
            upsampling: factors by which height and width of the inputs are upsampled first.
            remat: keep nothing for the gradient but what was given, and compute gates and states again.
            mask: booleans `(time, batch, height or 1, width or 1, 1)`, false where a step leaves the state as it is.
                Not with `remat`.
        """
        sequence = ops.cast(sequence, self.compute_dtype)
        kernel, bias = self._input_weights()
        if remat:
            return _make_recomputing(upsampling)(sequence, kernel, bias, h)
        return backend.minimal_recurrence(h, _project_sequence(sequence, kernel, bias, upsampling), mask)


def _project(x, kernel, bias, upsampling):
    return backend.upsampled_conv(x, kernel, upsampling) + bias


def _project_sequence(sequence, kernel, bias, upsampling):
    return layout.over_time(lambda x: _project(x, kernel, bias, upsampling), sequence)


def _make_recomputing(upsampling):
    """`iterate` with a gradient that computes it once more, and keeps nothing for that."""

    def iterate(sequence, kernel, bias, h):
        return backend.minimal_recurrence(h, _project_sequence(sequence, kernel, bias, upsampling))

    def gradient(upstream, inputs, residuals):
        sequence, kernel, bias, h = inputs
        (now,) = backend.delay_until(upstream, sequence)
        dh, dx = backend.minimal_recurrence_gradients(h, _project_sequence(now, kernel, bias, upsampling), upstream)
        dsequence, dkernel = backend.upsampled_conv_gradients(
            layout.merge_time(sequence), kernel, upsampling, layout.merge_time(dx)
        )
        return layout.split_time(dsequence, *ops.shape(sequence)[:2]), dkernel, ops.sum(dx, axis=(0, 1, 2, 3)), dh

    return backend.custom_gradient(lambda *inputs: (iterate(*inputs), ()), gradient, iterate)
