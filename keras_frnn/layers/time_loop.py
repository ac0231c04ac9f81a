"""The loop over time: the one place where backends need different treatment."""

import keras
from keras import ops


def scan(step, state, inputs):
    """Iterates `state = step(state, x)` over the first axis of `inputs`.

    Args:
        step: function of the state and one input that returns the next state, of the same structure, shapes and dtypes.
        state: tensor, or tuple of tensors: the state before the first step.
        inputs: tensor with time first.

    Returns:
        The states after every step, stacked on a new first axis, in the structure of `state`.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        # `keras.ops.scan` does not tell TensorFlow how long the loop is, so its gradient does not compile under XLA,
        # which Keras switches on by itself where there is a GPU. `tf.scan` does.
        import tensorflow as tf

        return tf.scan(step, inputs, initializer=state)
    if backend == "jax" and not _jax_is_on_cpu():
        return ops.scan(lambda carry, x: (step(carry, x),) * 2, state, inputs)[1]
    # Torch has no graph that a loop would keep small. On a CPU, the gradient of a convolution inside `lax.scan` is
    # more than 20 times slower than written out.
    states = []
    for x in ops.unstack(inputs):
        state = step(state, x)
        states.append(state)
    return keras.tree.map_structure(lambda *steps: ops.stack(steps), *states)


def _jax_is_on_cpu() -> bool:
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())
