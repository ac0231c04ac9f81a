"""Keras on TensorFlow."""

import contextlib
from collections.abc import Callable

import tensorflow as tf
from keras import ops

from keras_frnn.backend import common

as_one = common.as_one
batch_shards = common.batch_shards
batch_processes = common.batch_processes
export_options = common.export_options
tanh = ops.tanh
upsample = common.upsample
minimal_gates = common.minimal_gates
_all_at_once = common.all_at_once


def accelerator() -> str | None:
    # What is being traced for compilation is not on any device yet.
    with tf.init_scope():
        return common.accelerator()


def gradients(wanted: bool, *tensors):
    return contextlib.nullcontext()


# Compilation.


def compiles(variables, arguments) -> bool:
    return tf.executing_eagerly()


def weights_to_pass(variables) -> list:
    # Compiled code reads variables where they are: passing each takes as long as a small layer. Other values stand for
    # variables in a `keras.StatelessScope`.
    weights = [variable.value for variable in variables]
    return [] if all(isinstance(weight, tf.Variable) for weight in weights) else weights


def compile_function(function: Callable, jit_compile: bool) -> Callable:
    return tf.function(function, autograph=False, jit_compile=jit_compile or None)


# Convolutions.


def same_conv(x, kernel):
    return ops.conv(x, kernel, padding="same", data_format="channels_last")


def input_gradient(gradient, flipped_kernel):
    # Takes the kernel as it is, which saves a copy.
    shape = (*ops.shape(gradient)[:3], flipped_kernel.shape[2])
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=shape, filter=flipped_kernel, out_backprop=gradient, strides=[1, 1, 1, 1], padding="SAME"
    )


def kernel_gradient(x, gradient, kernel_size: tuple[int, int]):
    shape = (*kernel_size, x.shape[-1], gradient.shape[-1])
    return tf.raw_ops.Conv2DBackpropFilter(
        input=x, filter_sizes=shape, out_backprop=gradient, strides=[1, 1, 1, 1], padding="SAME"
    )


def read_kernel(variable, dtype: str):
    return ops.cast(variable, dtype)


def packed(kernel):
    return kernel


def flipped(kernel):
    return kernel


def split_channels(x, first: int):
    return tf.split(x, [first, x.shape[-1] - first], axis=-1)


def max_pool(x, size: tuple[int, int]):
    return ops.max_pool(_divisible(x, size), size, strides=size, data_format="channels_last")


def _divisible(x, factors: tuple[int, int]):
    """The same frames; checks at run time a size that was not known at compile time."""
    if None not in x.shape[-3:-1]:
        return x
    size = tf.shape(x)[-3:-1]
    fits = tf.debugging.assert_equal(
        size % factors, [0, 0], message=f"Height and width of what is pooled must be multiples of {factors}."
    )
    with tf.control_dependencies([fits]):
        return tf.identity(x)


# Gradients.


def sigmoid_gradient(y, upstream):
    return tf.raw_ops.SigmoidGrad(y=y, dy=upstream)


def tanh_gradient(y, upstream):
    return tf.raw_ops.TanhGrad(y=y, dy=upstream)


def custom_gradient(forward, backward, plain):
    @tf.custom_gradient
    def first_order(upstream, inputs, residuals):
        def gradient(*upstreams):
            with tf.GradientTape() as outer:
                outer.watch((upstream, inputs))
                with tf.GradientTape() as inner:
                    inner.watch(inputs)
                    output = plain(*inputs)
                gradients = inner.gradient(output, inputs, upstream, tf.UnconnectedGradients.ZERO)
            dupstream, dinputs = outer.gradient(gradients, (upstream, inputs), upstreams, tf.UnconnectedGradients.ZERO)
            return dupstream, dinputs, tf.nest.map_structure(lambda _: None, residuals)

        return tuple(backward(upstream, inputs, residuals)), gradient

    @tf.custom_gradient
    def run(*inputs):
        output, residuals = forward(*inputs)
        return output, lambda upstream: first_order(upstream, inputs, residuals)

    return run


def delay_until(moment, *tensors):
    with tf.control_dependencies([moment]):
        return [tf.identity(tensor) for tensor in tensors]


# Loops over time.


def scan(step, state, inputs, select=lambda state: state, reverse=False, differentiable=True):
    # `keras.ops.scan` does not tell TensorFlow how long the loop is, so that its gradient does not compile under XLA,
    # which Keras enables by itself on GPUs; and it has to output the whole state.
    if common.is_unrolled(inputs):
        return common.unrolled_scan(step, state, inputs, select, reverse)
    flat_inputs = tf.nest.flatten(inputs)
    if flat_inputs[0].shape[0] == 1:
        last = step(state, tf.nest.map_structure(lambda part: part[0], inputs))
        return last, tf.nest.map_structure(lambda part: part[None], select(last))
    length = flat_inputs[0].shape[0] or tf.shape(flat_inputs[0])[0]
    if differentiable:
        arrays = [tf.TensorArray(part.dtype, length).unstack(part).read for part in flat_inputs]
    else:
        # Slices make no copies. But in every step, the gradient of a slice would be a tensor of all steps.
        arrays = [part.__getitem__ for part in flat_inputs]
    outputs = [tf.TensorArray(part.dtype, length, element_shape=part.shape) for part in tf.nest.flatten(select(state))]

    def body(count, state, outputs):
        t = length - 1 - count if reverse else count
        state = step(state, tf.nest.pack_sequence_as(inputs, [read(t) for read in arrays]))
        parts = tf.nest.flatten(select(state))
        return count + 1, state, [output.write(t, part) for output, part in zip(outputs, parts, strict=True)]

    _, last, outputs = tf.while_loop(
        lambda count, *_: count < length, body, (0, state, outputs), maximum_iterations=length, parallel_iterations=1
    )
    return last, tf.nest.pack_sequence_as(select(state), [output.stack() for output in outputs])


def linear_recurrence(a, b, h, reverse: bool = False):
    states = _compute(ops.stop_gradient(a), ops.stop_gradient(b), ops.stop_gradient(h), reverse)
    return _with_gradient(states, a, b, h, reverse)


def minimal_recurrence(h, x, mask=None):
    return common.minimal_recurrence(linear_recurrence, *minimal_gates(x), h, mask)


def _with_gradient(states, a, b, h, reverse):
    """`states`, which were computed from `a`, `b` and `h`, with the gradient of that.

    TensorFlow treats what a gradient reads as constants, except for arguments: for the gradient of the gradient, the
    states need theirs once more.
    """

    def attach(a, b, h):
        def gradient(upstream):
            differentiable_states = _with_gradient(states, a, b, h, reverse)
            return common.linear_recurrence_gradients(linear_recurrence, a, differentiable_states, upstream, reverse)

        return states, gradient

    return ops.custom_gradient(attach)(a, b, h)


def _compute(a, b, h, reverse):
    at_once = a.shape[0] is not None and accelerator() is not None
    return (_all_at_once if at_once else _step_by_step)(a, b, h, reverse)


def _step_by_step(a, b, h, reverse):
    return common.step_by_step(scan, a, b, h, reverse)
