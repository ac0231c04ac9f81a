"""The gated update: the one equation that every recurrent layer here iterates."""

import keras
import numpy as np
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_positive_integer, check_positive_integers
from keras_frnn.layers import layout


@keras.saving.register_keras_serializable(package="keras_frnn")
class ConvGRUCell(keras.layers.Layer):
    """A convolutional gated recurrent unit, one direction of a recurrent layer.

    With state `h`, inputs `x`, `*` the elementwise product and `s` the logistic function:

        r = s(conv([x, h], W_r) + b_r)          reset gate
        z = s(conv([x, h], W_z) + b_z)          update gate
        c = tanh(conv([x, r * h], W_c) + b_c)   candidate
        h' = z * c + (1 - z) * h

    A convolution of concatenated channels is a sum of convolutions. So what depends on `x` alone is computed for all
    steps at once (`project`), and the loop over time is left with the two convolutions of the state. The kernels are
    stored as the loop uses them, because slicing a kernel costs a gradient of the whole kernel:

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
        h = self.make_transition()(ops.cast(h, self.compute_dtype), self.make_projection()(inputs))
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
        kernel = backend.packed(backend.read_kernel(self.kernel, self.compute_dtype))
        bias = ops.cast(self.bias, self.compute_dtype)
        return lambda x: _project(ops.cast(x, self.compute_dtype), kernel, bias, upsampling)

    def project(self, sequence, upsampling: tuple[int, int] = (1, 1)):
        """The `make_projection` of all steps in one call: 2 * filters channels for r and z, filters for c."""
        return layout.over_time(self.make_projection(upsampling), sequence)

    def make_transition(self):
        """The update as a function of the state and the projection of the inputs."""
        kernels = [backend.packed(kernel) for kernel in self._state_kernels()]
        return lambda h, x: _update(h, *x, *kernels)[0]

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
        if not remat:
            iterate = backend.with_written_gradient(_iterate_and_keep, _back_in_time, _iterate)
            x_gates, x_candidate = self.project(sequence, upsampling)
            if mask is not None:
                # An update gate of exactly 0, which has no gradient either.
                x_r, x_z = ops.split(x_gates, 2, axis=-1)
                x_gates = ops.concatenate([x_r, ops.where(mask, x_z, -np.inf)], axis=-1)
            return iterate(x_gates, x_candidate, h, *self._state_kernels())
        weights = backend.read_kernel(self.kernel, self.compute_dtype), ops.cast(self.bias, self.compute_dtype)
        sequence = ops.cast(sequence, self.compute_dtype)
        iterate = backend.with_written_gradient(*_make_recomputing(upsampling))
        return iterate(sequence, *weights, h, *self._state_kernels())

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


def refuse_quantization(layer: keras.layers.Layer):
    """What `quantize` of a layer does. Of a model with other layers, Keras makes a warning of it, and goes on."""
    raise NotImplementedError(
        f"Layer '{layer.name}', a {type(layer).__name__}, stays in floating point: it has no kernels of integers. With "
        "dtype='mixed_bfloat16' it is smaller and faster, too."
    )


def _project(x, kernel, bias, upsampling):
    """The parts of the gates and of the candidate that depend on the inputs alone."""
    x = backend.upsampled_conv(x, kernel, upsampling) + bias
    return backend.split_channels(x, 2 * (bias.shape[0] // 3))


def _update(h, x_gates, x_candidate, recurrent_kernel, candidate_kernel):
    """The next state, and what it was made with: the gates r and z in one tensor, and c."""
    gates = ops.sigmoid(x_gates + backend.same_conv(h, recurrent_kernel))
    r, z = ops.split(gates, 2, axis=-1)
    c = backend.tanh(x_candidate + backend.same_conv(r * h, candidate_kernel))
    return h + z * (c - h), gates, c


def _iterate(x_gates, x_candidate, h, recurrent_kernel, candidate_kernel):
    """The states after every step, given the projections of all inputs and the state before the first."""
    kernels = backend.packed(recurrent_kernel), backend.packed(candidate_kernel)
    return backend.scan(lambda h, x: _update(h, *x, *kernels)[0], h, (x_gates, x_candidate))[1]


def _iterate_and_keep(x_gates, x_candidate, h, recurrent_kernel, candidate_kernel):
    """`_iterate`, and what `_back_in_time` needs of it."""
    kernels = backend.packed(recurrent_kernel), backend.packed(candidate_kernel)
    _, (states, gates, c) = backend.scan(
        lambda state, x: _update(state[0], *x, *kernels),
        (h, ops.concatenate([h, h], axis=-1), h),
        (x_gates, x_candidate),
        differentiable=False,
    )
    return states, (states, gates, c)


def _back_in_time(upstream, inputs, kept):
    """The gradient of `_iterate`, written by hand.

    The loop back in time then has nothing in it but what must wait for the step after: the gradients of the kernels are
    taken from all steps at once, and only the states and the gates are kept.
    """
    _, _, h, *kernels = inputs
    states, gates, c = kept
    return _gradients(upstream, _before(h, states), gates, c, *kernels)


def _make_recomputing(upsampling):
    """The three functions above, of a sequence and all weights, that keep the states alone."""

    def project(sequence, kernel, bias):
        return layout.over_time(lambda x: _project(x, kernel, bias, upsampling), sequence)

    def iterate(sequence, kernel, bias, *others):
        return _iterate(*project(sequence, kernel, bias), *others)

    def iterate_and_keep(sequence, kernel, bias, *others):
        states, _ = _iterate_and_keep(*project(sequence, kernel, bias), *others)
        return states, (states,)

    def back_in_time(upstream, inputs, kept):
        sequence, kernel, bias, h, *kernels = inputs
        now, states = backend.delay_until(upstream, sequence, *kept)
        before = _before(h, states)
        _, gates, c = layout.over_time(lambda h, *x: _update(h, *x, *kernels), before, *project(now, kernel, bias))
        dgates, dc, *others = _gradients(upstream, before, gates, c, *kernels)
        dx = ops.concatenate([dgates, dc], axis=-1)
        dsequence, dkernel = backend.upsampled_conv_gradients(
            layout.merge_time(sequence), kernel, upsampling, layout.merge_time(dx)
        )
        return layout.split_time(dsequence, *ops.shape(sequence)[:2]), dkernel, ops.sum(dx, axis=(0, 1, 2, 3)), *others

    return iterate_and_keep, back_in_time, iterate


def _before(h, states):
    """The states before every step."""
    return ops.concatenate([h[None], states[:-1]])


def _step_back(dh, upstream, h, gates, c, flipped_recurrent_kernel, flipped_candidate_kernel):
    """The gradients of a step's state, gates before their logistic function, and candidate before its tangent."""
    r, z = ops.split(gates, 2, axis=-1)
    dh = dh + upstream
    dhz = dh * z
    dc = backend.tanh_gradient(c, dhz)
    drh = backend.input_gradient(dc, flipped_candidate_kernel)
    dgates = backend.sigmoid_gradient(gates, ops.concatenate([drh * h, dh * (c - h)], axis=-1))
    dh = dh - dhz + drh * r + backend.input_gradient(dgates, flipped_recurrent_kernel)
    return dh, dgates, dc


def _gradients(upstream, before, gates, c, recurrent_kernel, candidate_kernel):
    """The gradients of what `_iterate` takes, given that of the states after every step."""
    flipped = backend.flipped(recurrent_kernel), backend.flipped(candidate_kernel)
    zeros = ops.zeros_like(before[0])
    (dh, *_), (dgates, dc) = backend.scan(
        lambda gradients, inputs: _step_back(gradients[0], *inputs, *flipped),
        (zeros, ops.concatenate([zeros, zeros], axis=-1), zeros),
        (upstream, before, gates, c),
        select=lambda gradients: gradients[1:],
        reverse=True,
        differentiable=False,
    )

    def over_steps(inputs, gradients, kernel):
        return backend.kernel_gradient(layout.merge_time(inputs), layout.merge_time(gradients), kernel.shape[:2])

    r, _ = ops.split(gates, 2, axis=-1)
    drecurrent = over_steps(before, dgates, recurrent_kernel)
    return dgates, dc, dh, drecurrent, over_steps(r * before, dc, candidate_kernel)


def start_state(vector, step, dtype: str):
    """A state that is `vector`, one value a channel, at every pixel of the frames of `step`, `(batch, ...)`."""
    return ops.broadcast_to(ops.cast(vector, dtype), (*ops.shape(step)[:3], vector.shape[0]))


def gate_biases(*values: float):
    """Initializer of a vector that is one of these values in the channels of each gate."""

    def initializer(shape, dtype=None):
        return ops.repeat(ops.convert_to_tensor(values, dtype), shape[0] // len(values))

    return initializer


def independent_initializers(initializer, count: int) -> list:
    """Copies of an initializer that draw independently of each other.

    Keras initializers are functions: the same instance draws the same values twice. Gates must not start equal, also
    when the user gave a seed, or a `keras.random.SeedGenerator`, of which one is drawn.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return [initializer] * count
    config = initializer.get_config()
    seed = config.get("seed")
    if isinstance(getattr(initializer, "seed", None), keras.random.SeedGenerator):
        # Its config has the seed that it began with. Those drawn from it now go on where it stands.
        seed = [int(part) & 0xFFFFFFFF for part in ops.convert_to_numpy(initializer.seed.next())]
    elif not isinstance(seed, int):
        return [initializer.__class__.from_config(config) for _ in range(count)]
    seeds = np.random.SeedSequence(seed).generate_state(count) >> 1
    return [initializer.__class__.from_config({**config, "seed": int(seed)}) for seed in seeds]
