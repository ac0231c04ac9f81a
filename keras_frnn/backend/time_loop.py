"""The loop over time."""

import contextlib
import contextvars
from collections.abc import Iterator

import keras
from keras import ops

from keras_frnn.backend.convolution import inside_of_a_loop

_UNROLLED = 16  # Steps at most: the graph grows with them.
_unrolls = contextvars.ContextVar("writes_out", default=False)


@contextlib.contextmanager
def unroll_short_loops() -> Iterator[None]:
    """A context in which TensorFlow gets loops of few steps as so many copies of a step.

    For a network that is called again and again on one small frame: the bookkeeping of TensorFlow's loops takes about
    a tenth of its time then.
    """
    token = _unrolls.set(True)
    try:
        yield
    finally:
        _unrolls.reset(token)


def unrolls_short_loops() -> bool:
    """Whether this is inside of `unroll_short_loops`."""
    return _unrolls.get()


def scan(step, state, inputs, select=lambda state: state, reverse=False, differentiable=True):
    """Iterates `state = step(state, x)` over the first axis of `inputs`.

    Args:
        step: function of the state and one input that returns the next state, of the same structure, shapes and dtypes.
        state: tensor, or nested tuples of tensors: the state before the first step.
        inputs: tensor with time first, of at least one step, or nested tuples of such.
        select: function that picks the parts of the state that are wanted for every step.
        reverse: begin with the last input. What is selected stands in the order of the inputs all the same.
        differentiable: whether autodiff may go through the loop; not where its gradient is written by hand.

    Returns:
        The state after the last step, and `select` of the states after every step, stacked on a new first axis.
    """
    backend = keras.backend.backend()
    length = keras.tree.flatten(inputs)[0].shape[0]
    if backend == "tensorflow" and not (unrolls_short_loops() and length and length <= _UNROLLED):
        return _tensorflow_scan(step, state, inputs, select, reverse, differentiable)
    if backend == "jax":

        def carry_and_output(state, x):
            with inside_of_a_loop():
                state = step(state, x)
            return state, select(state)

        return ops.scan(carry_and_output, state, inputs, reverse=reverse)
    # Torch has no graph that a loop would keep small.
    inputs = [
        keras.tree.pack_sequence_as(inputs, parts)
        for parts in zip(*map(ops.unstack, keras.tree.flatten(inputs)), strict=True)
    ]
    selected = []
    for x in reversed(inputs) if reverse else inputs:
        state = step(state, x)
        selected.append(select(state))
    if reverse:
        selected.reverse()
    return state, keras.tree.map_structure(lambda *steps: ops.stack(steps), *selected)


def delay_until(moment, *tensors):
    """The same tensors, not before the tensor `moment` is there.

    For what is computed twice to save memory: compilers would do it early, or once.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.control_dependencies([moment]):
            return [tf.identity(tensor) for tensor in tensors]
    if backend == "jax":
        import jax

        return jax.lax.optimization_barrier((*tensors, moment))[:-1]
    return tensors


def _tensorflow_scan(step, state, inputs, select, reverse, differentiable):
    """`keras.ops.scan` does not tell TensorFlow how long the loop is, so that its gradient does not compile under XLA,
    which Keras switches on by itself where there is a GPU; and it wants to put out the whole state."""
    import tensorflow as tf

    flat_inputs = tf.nest.flatten(inputs)
    if flat_inputs[0].shape[0] == 1:
        last = step(state, tf.nest.map_structure(lambda part: part[0], inputs))
        return last, tf.nest.map_structure(lambda part: part[None], select(last))
    length = flat_inputs[0].shape[0] or tf.shape(flat_inputs[0])[0]
    if differentiable:
        arrays = [tf.TensorArray(part.dtype, length).unstack(part).read for part in flat_inputs]
    else:
        # A slice is no copy. But its gradient would be a tensor of all steps, in every step.
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
