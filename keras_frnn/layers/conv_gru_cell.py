"""The gated update: the one equation that every recurrent layer here iterates."""

import keras
import numpy as np
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_positive_integer, check_positive_integers, refuse_quantization
from keras_frnn.layers import layout
from keras_frnn.layers.conv_gru_gradient import make_iterate, make_recomputing_iterate
from keras_frnn.layers.initializers import gate_biases, independent_initializers


def gated_update(h, x_rz, x_c, w_rz, w_c):
    """One step of the state `h`. With inputs `x`, `*` the elementwise product and `s` the logistic function:

        r = s(conv([x, h], W_r) + b_r)          reset gate
        z = s(conv([x, h], W_z) + b_z)          update gate
        c = tanh(conv([x, r * h], W_c) + b_c)   candidate
        h' = z * c + (1 - z) * h

    A convolution of concatenated channels is a sum of convolutions. `x_rz` and `x_c` are the parts of `x`, from
    `project_inputs`; `w_rz` and `w_c` are the kernels of the parts of `h` and `r * h`.

    Returns:
        h', both gates in one tensor, and c.
    """
    rz = ops.sigmoid(x_rz + backend.same_conv(h, w_rz))
    r, z = ops.split(rz, 2, axis=-1)
    c = backend.tanh(x_c + backend.same_conv(r * h, w_c))
    return h + z * (c - h), rz, c


def project_inputs(x, kernel, bias, upsampling: tuple[int, int] = (1, 1)):
    """The parts of `x` in both gates and in the candidate: `conv(x, W) + b`, of `x` upsampled by these factors."""
    x = backend.upsampled_conv(x, kernel, upsampling) + bias
    return backend.split_channels(x, 2 * (bias.shape[0] // 3))


@keras.saving.register_keras_serializable(package="keras_frnn")
class ConvGRUCell(keras.layers.Layer):
    """A convolutional gated recurrent unit, one direction of a recurrent layer.

    Its equation is `gated_update`, with state `h`, inputs `x`, and gates `r` and `z`:

        r, z = s(conv([x, h], W) + b)           s is the logistic function
        c = tanh(conv([x, r * h], W_c) + b_c)
        h' = z * c + (1 - z) * h

    What depends on `x` alone is computed for all steps at once (`project`), so that the loop over time is left with the
    two convolutions of the state. The kernels are stored as the loop uses them, because the gradient of a slice of a
    kernel is a tensor of the whole kernel:

        kernel             (kh, kw, inputs, 3 * filters)    of x, for r, z and c
        recurrent_kernel   (kh, kw, filters, 2 * filters)   of h, for r and z
        candidate_kernel   (kh, kw, filters, filters)       of r * h, for c
        bias               (3 * filters,)                   for r, z and c

    It is also a cell as `keras.layers.RNN` takes it, with channels last. That layer knows no frames in symbolic models,
    so call it on tensors. It starts from zeros, in frames of the size that the cell was built for.

    Args:
        filters: channels of the state.
        kernel_size: integer, or height and width, of the kernels.
        kernel_initializer: called once for each gate with the shape of its joint kernel over inputs and state,
            `(kh, kw, inputs + filters, filters)`.
        update_bias: initial bias of the update gate, z.

    Call arguments:
        inputs: features of one step, `(batch, height, width, channels)`.
        states: the state before it, `(batch, height, width, filters)`, or a list of this one tensor.

    Output: the state after the step, and a list of it.

    Raises:
        ValueError: an argument that is not a positive integer, or inputs that are not frames.

    Example:

    >>> import numpy as np
    >>> cell = ConvGRUCell(8, 5)
    >>> h, _ = cell(np.zeros((2, 16, 16, 3), "float32"), np.zeros((2, 16, 16, 8), "float32"))
    >>> tuple(h.shape)
    (2, 16, 16, 8)

    Reference: equations 1 to 4 of https://arxiv.org/abs/1712.00311, with the roles of z and 1 - z as in the authors'
    implementation.
    """

    _gates = 3

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        kernel_initializer="glorot_uniform",
        update_bias: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters = self.state_size = self.output_size = check_positive_integer(filters, "filters")
        self.kernel_size = check_positive_integers(kernel_size, "kernel_size", 2)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.update_bias = update_bias
        self._gate_initializers = independent_initializers(self.kernel_initializer, self._gates)

    def build(self, inputs_shape, states_shape=None):
        if len(inputs_shape) != 4 or inputs_shape[-1] is None:
            raise ValueError(
                f"Cell '{self.name}' expects the frames of one step, of shape (batch, height, width, channels), and "
                f"needs to know the number of channels. Received: shape={tuple(inputs_shape)}"
            )
        _, *self.frame_size, self.input_channels = inputs_shape
        self._add_weights(self.input_channels)

    def _add_weights(self, input_channels: int):
        filters, gates = self.filters, self._gate_initializers
        inputs, state = slice(0, input_channels), slice(input_channels, None)

        def add_kernel(name, gates, part, channels):
            joint_shape = (*self.kernel_size, input_channels + filters, filters)

            def initializer(shape, dtype=None):
                return ops.concatenate([gate(joint_shape, dtype)[:, :, part] for gate in gates], axis=-1)

            shape = (*self.kernel_size, channels, len(gates) * filters)
            return self.add_weight(shape=shape, initializer=initializer, name=name)

        self.kernel = add_kernel("kernel", gates, inputs, input_channels)
        self.recurrent_kernel = add_kernel("recurrent_kernel", gates[:2], state, filters)
        self.candidate_kernel = add_kernel("candidate_kernel", gates[2:], state, filters)
        self.bias = self.add_weight(shape=(3 * filters,), initializer=gate_biases(0, self.update_bias, 0), name="bias")

    def call(self, inputs, states):
        (h,) = states if isinstance(states, (list, tuple)) else (states,)
        kernel, bias = self._input_weights()
        x_rz, x_c = project_inputs(ops.cast(inputs, self.compute_dtype), kernel, bias)
        h, _, _ = gated_update(ops.cast(h, self.compute_dtype), x_rz, x_c, *self._state_kernels())
        return h, [h]

    def quantize(self, *args, **kwargs):
        refuse_quantization(self)

    def get_initial_state(self, batch_size=None) -> list:
        """Zeros, `(batch, height, width, filters)`, in a list."""
        if None in self.frame_size:
            raise ValueError(
                f"Cell '{self.name}' was built for frames of any size, so it cannot make a state for them. Give an "
                "`initial_state`, or build it for one size."
            )
        return [ops.zeros((batch_size, *self.frame_size, self.filters), dtype=self.compute_dtype)]

    def make_projection(self, upsampling: tuple[int, int] = (1, 1)):
        """A function of `(batch, ...)`: what r and z, and what c get from the inputs, biases included.

        Height and width of the inputs are upsampled first, by these factors.

        Like `make_transition`, it reads the weights now, so that a loop that calls it does not read them in every step.
        """
        kernel, bias = self._input_weights()
        kernel = backend.packed(kernel)
        return lambda x: project_inputs(ops.cast(x, self.compute_dtype), kernel, bias, upsampling)

    def project(self, sequence, upsampling: tuple[int, int] = (1, 1)):
        """The `make_projection` of all steps in one call: 2 * filters channels for r and z, filters for c."""
        return layout.over_time(self.make_projection(upsampling), sequence)

    def make_transition(self):
        """The update as a function of the state and the projection of the inputs."""
        kernels = [backend.packed(kernel) for kernel in self._state_kernels()]
        return lambda h, x: gated_update(h, *x, *kernels)[0]

    def iterate(self, h, sequence, upsampling: tuple[int, int] = (1, 1), remat: bool = False, mask=None):
        """The states after every step, `(time, batch, ...)`.

        Args:
            h: state before the first step, `(batch, ...)`.
            sequence: inputs of every step, `(time, batch, ...)`.
            upsampling: factors by which height and width of the inputs are upsampled first.
            remat: keep the states alone for the gradient, and compute projections and gates again: for all steps at
                once, since their states are known. Takes less memory and more time.
            mask: booleans `(time, batch, height or 1, width or 1, 1)`, false where a step leaves the state as it is.
                Not with `remat`.
        """
        if remat:
            iterate = make_recomputing_iterate(gated_update, project_inputs, upsampling)
            sequence = ops.cast(sequence, self.compute_dtype)
            return iterate(sequence, *self._input_weights(), h, *self._state_kernels())
        x_rz, x_c = self.project(sequence, upsampling)
        if mask is not None:
            # The logistic function of -inf is an update gate of exactly 0, which has no gradient either.
            x_r, x_z = ops.split(x_rz, 2, axis=-1)
            x_rz = ops.concatenate([x_r, ops.where(mask, x_z, -np.inf)], axis=-1)
        return make_iterate(gated_update)(x_rz, x_c, h, *self._state_kernels())

    def _input_weights(self):
        return backend.read_kernel(self.kernel, self.compute_dtype), ops.cast(self.bias, self.compute_dtype)

    def _state_kernels(self):
        kernels = self.recurrent_kernel, self.candidate_kernel
        return [backend.read_kernel(kernel, self.compute_dtype) for kernel in kernels]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "update_bias": self.update_bias,
        }
