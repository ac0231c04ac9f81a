"""The loop over time: the one place where backends need different treatment.

TensorFlow and JAX on an accelerator scan, which keeps the graph small. Torch has no graph to keep small, and the
gradient of a convolution inside `lax.scan` is 20 times slower than unrolled on JAX's CPU backend.
"""

import keras
from keras import ops


def unrolls() -> bool:
    """Whether `scan` writes out its steps instead of building a loop."""
    backend = keras.backend.backend()
    if backend == "jax":
        return all(device.startswith("cpu") for device in keras.distribution.list_devices())
    return backend == "torch"


def scan(step, state, inputs=None, length: int | None = None):
    """Iterates `state = step(state, x)` over the first axis of `inputs`.

    Args:
        step: function of the state and one input (None without `inputs`) that returns the next state, of the same
            structure, shapes and dtypes.
        state: tensor, or tuple of tensors: the state before the first step.
        inputs: tensor with time first, or None to run `length` steps without input.
        length: number of steps; may be left out where `inputs` knows its first dimension.

    Returns:
        The last state and the states of all steps stacked on a new first axis, each in the structure of `state`.
    """
    if length is None:
        length = inputs.shape[0]
    if not unrolls():
        # TensorFlow's scan wants each step to put out what it carries, so all states are what scan returns here.
        return ops.scan(lambda carry, x: (step(carry, x),) * 2, state, inputs, length)
    states = []
    for x in [None] * length if inputs is None else ops.unstack(inputs, length):
        state = step(state, x)
        states.append(state)
    return state, keras.tree.map_structure(lambda *steps: ops.stack(steps), *states)
