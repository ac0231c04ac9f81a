"""The recurrence `h' = a * h + b` over time: what remains of a recurrent layer whose gates see the inputs alone."""

import functools

import keras
from keras import ops

from keras_frnn.backend.devices import accelerator
from keras_frnn.backend.time_loop import scan

# A step in Torch is one call that reads and writes every number once; doubling takes five calls that do so for all
# steps, each time that the distance doubles. On a GPU, calls are what short sequences wait for.
_TORCH_STEPS = 32


def linear_recurrence(a, b, h, reverse: bool = False):
    """Iterates `h = a[t] * h + b[t]`, all elementwise, over the first axis.

    On accelerators, all steps are computed at once, as a prefix scan. The gradient is the same recurrence in the other
    direction, and differentiable like this one. Only `a` and the result are kept for it.

    Args:
        a, b: tensors with time first, of at least one step, of the same shape and dtype.
        h: tensor: the state before the first step.
        reverse: begin with the last step. States stand in the order of the steps all the same.

    Returns:
        Tensor of one step more than `a` and `b`: `h` and the states after every step; in reverse, `h` comes last.
    """
    backend = keras.backend.backend()
    if backend == "torch":
        return _torch_function().apply(a, b, h, reverse)
    if backend == "jax":
        return ops.custom_gradient(lambda a, b, h: _compute_and_gradient(a, b, h, reverse))(a, b, h)
    states = _compute(ops.stop_gradient(a), ops.stop_gradient(b), ops.stop_gradient(h), reverse)
    return _with_gradient(states, a, b, h, reverse)


def linear_recurrence_gradients(a, states, upstream, reverse: bool = False):
    """The gradients of `linear_recurrence` with respect to `a`, `b` and `h`.

    Args:
        a, reverse: what it was given.
        states: what it returned.
        upstream: the gradient with respect to that, of its shape.
    """
    if reverse:
        of_states = linear_recurrence(a, upstream[1:], upstream[0])
        db, before, dh = of_states[:-1], states[1:], of_states[-1]
    else:
        of_states = linear_recurrence(a, upstream[:-1], upstream[-1], reverse=True)
        db, before, dh = of_states[1:], states[:-1], of_states[0]
    return db * before, db, dh


def _compute_and_gradient(a, b, h, reverse):
    states = _compute(a, b, h, reverse)
    return states, lambda upstream: linear_recurrence_gradients(a, states, upstream, reverse)


def _with_gradient(states, a, b, h, reverse):
    """`states`, which were computed from `a`, `b` and `h`, with the gradient of that.

    TensorFlow takes what the gradient reads for constants, unless it is an argument: so, for the gradient of the
    gradient, the states must get theirs once more.
    """

    def attach(a, b, h):
        def gradient(upstream):
            return linear_recurrence_gradients(a, _with_gradient(states, a, b, h, reverse), upstream, reverse)

        return states, gradient

    return ops.custom_gradient(attach)(a, b, h)


@functools.cache
def _torch_function():
    """Keras' `custom_gradient` would keep `b`, too."""
    import torch

    class LinearRecurrence(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, b, h, reverse):
            states = _compute(a, b, h, reverse)
            ctx.save_for_backward(a, states)
            ctx.reverse = reverse
            return states

        @staticmethod
        def backward(ctx, upstream):
            return *linear_recurrence_gradients(*ctx.saved_tensors, upstream, ctx.reverse), None

    return LinearRecurrence


def _compute(a, b, h, reverse):
    steps = a.shape[0]
    if keras.backend.backend() == "torch":
        at_once = steps > _TORCH_STEPS and a.device.type != "cpu"
    else:
        at_once = steps is not None and accelerator() is not None
    return (_all_at_once if at_once else _step_by_step)(a, b, h, reverse)


def _step_by_step(a, b, h, reverse):
    if keras.backend.backend() == "torch":
        import torch

        states = b.new_empty((len(b) + 1, *h.shape))
        steps = range(len(b))
        before, after = (1, 0) if reverse else (0, 1)
        states[len(b) if reverse else 0] = h
        for t in reversed(steps) if reverse else steps:
            torch.addcmul(b[t], a[t], states[t + before], out=states[t + after])
        return states
    _, states = scan(lambda h, x: x[0] * h + x[1], h, (a, b), reverse=reverse, differentiable=False)
    return ops.concatenate([states, h[None]] if reverse else [h[None], states])


def _all_at_once(a, b, h, reverse):
    """Two steps in a row are one: `a2 * (a1 * h + b1) + b2`. The start is a step that forgets what was before it."""
    start = ops.zeros_like(h)[None], h[None]
    a, b = (ops.concatenate([x, s] if reverse else [s, x]) for x, s in zip((a, b), start, strict=True))
    if keras.backend.backend() == "jax":
        import jax

        def both(first, second):
            return first[0] * second[0], second[0] * first[1] + second[1]

        return jax.lax.associative_scan(both, (a, b), reverse=reverse)[1]
    length, distance = a.shape[0], 1
    while distance < length:
        # Every state has taken in `distance` steps; now it takes in as many before those.
        if reverse:
            b = ops.concatenate([b[:-distance] + a[:-distance] * b[distance:], b[-distance:]])
            a = ops.concatenate([a[:-distance] * a[distance:], a[-distance:]])
        else:
            b = ops.concatenate([b[:distance], b[distance:] + a[distance:] * b[:-distance]])
            a = ops.concatenate([a[:distance], a[distance:] * a[:-distance]])
        distance *= 2
    return b
