"""What the engines share: functions of `keras.ops`, and loops made of functions that an engine passes in."""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import keras
from keras import ops

_UNROLLED = 16  # Steps at most: the graph grows with them.
_unrolls = contextvars.ContextVar("unrolls", default=False)


def accelerator() -> str | None:
    """The GPU or TPU that Keras puts tensors on; None if that is the CPU."""
    device = str(ops.convert_to_tensor(0.0).device)
    return None if "cpu" in device.lower() else device


def as_one(function: Callable) -> Callable:
    return function


def batch_shards() -> int:
    return 1


def batch_processes() -> int:
    return 1


def export_options(format: str, options: dict) -> dict:
    return options


@contextlib.contextmanager
def unroll_short_loops() -> Iterator[None]:
    """A context in which TensorFlow unrolls loops of few steps.

    For a network that is called again and again on one small frame, where the bookkeeping of TensorFlow's loops takes
    about a tenth of the time.
    """
    token = _unrolls.set(True)
    try:
        yield
    finally:
        _unrolls.reset(token)


def unrolls_short_loops() -> bool:
    """Whether this is inside of `unroll_short_loops`."""
    return _unrolls.get()


def is_unrolled(inputs) -> bool:
    """Whether a loop over these inputs is to be unrolled."""
    length = keras.tree.flatten(inputs)[0].shape[0]
    return bool(_unrolls.get() and length and length <= _UNROLLED)


def unrolled_scan(step, state, inputs, select, reverse):
    """`scan` in Python."""
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


def upsample(x, factors: tuple[int, int]):
    for axis, factor in enumerate(factors, start=len(x.shape) - 3):
        if factor > 1:
            # Inside of a loop, TensorFlow's gradient of `ops.repeat` does not compile under XLA.
            x = ops.stack([x] * factor, axis=axis + 1)
            shape = ops.shape(x)
            x = ops.reshape(x, (*shape[:axis], shape[axis] * factor, *shape[axis + 2 :]))
    return x


def space_to_depth(x, size: tuple[int, int]):
    """Blocks of that size, one after the other in the channels: `(batch, height, width, channels)`, rows first."""
    (rows, columns), (batch, height, width, channels) = size, ops.shape(x)
    x = ops.reshape(x, (batch, height // rows, rows, width // columns, columns, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (batch, height // rows, width // columns, rows * columns * channels))


def depth_to_space(x, size: tuple[int, int]):
    """The inverse of `space_to_depth`."""
    (rows, columns), (batch, height, width, channels) = size, ops.shape(x)
    x = ops.reshape(x, (batch, height, width, rows, columns, channels // (rows * columns)))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (batch, height * rows, width * columns, channels // (rows * columns)))


def transposed(kernel):
    """The kernel of the transposed convolution: flipped in height and width, with its channel axes swapped."""
    height, width, inputs, outputs = kernel.shape
    places = ops.flip(ops.reshape(kernel, (height * width, inputs, outputs)), axis=0)
    return ops.reshape(ops.transpose(places, (0, 2, 1)), (height, width, outputs, inputs))


def input_gradient(same_conv, gradient, flipped_kernel):
    """The gradient of `same_conv` with respect to its input: `same_conv` with the `transposed` kernel."""
    # Where a side is even, "same" pads one pixel more at the end, and the gradient needs it at the beginning.
    extra = [[1 - side % 2, 0] for side in flipped_kernel.shape[:2]]
    if extra == [[0, 0], [0, 0]]:
        return same_conv(gradient, flipped_kernel)
    height, width = ops.shape(gradient)[1:3]
    return same_conv(ops.pad(gradient, [[0, 0], *extra, [0, 0]]), flipped_kernel)[:, :height, :width]


def minimal_gates(x):
    """The share of the state that stays, `1 - z`, and the candidate `c`.

    Args:
        x: tensor, `(..., 2 * filters)`: what z and c are the logistic function and the hyperbolic tangent of.
    """
    x_z, x_c = ops.split(x, 2, axis=-1)
    return ops.sigmoid(-x_z), ops.tanh(x_c)


def minimal_recurrence(linear_recurrence, keep, c, h, mask):
    """The states after every step, given `minimal_gates` of every step and the state before the first."""
    if mask is not None:
        keep = ops.where(mask, keep, 1)
    # `z * c` would be one more residual: autodiff keeps what enters products, and keeps `keep` and `c` anyway.
    return linear_recurrence(keep, c - keep * c, h)[1:]


def linear_recurrence_gradients(linear_recurrence, a, states, upstream, reverse: bool = False):
    """The gradients of `linear_recurrence` with respect to `a`, `b` and `h`.

    Args:
        linear_recurrence: that of the engine.
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


def step_by_step(scan, a, b, h, reverse):
    """`linear_recurrence` as a loop."""
    _, states = scan(lambda h, x: x[0] * h + x[1], h, (a, b), reverse=reverse, differentiable=False)
    return ops.concatenate([states, h[None]] if reverse else [h[None], states])


def with_first_step(a, b, h, reverse):
    """`a` and `b` with a step before the first: it forgets what was before it, and its state is `h`."""
    start = ops.zeros_like(h)[None], h[None]
    return [ops.concatenate([x, s] if reverse else [s, x]) for x, s in zip((a, b), start, strict=True)]


def all_at_once(a, b, h, reverse):
    """`linear_recurrence` as a prefix scan. Two steps in a row are one: `a2 * (a1 * h + b1) + b2`."""
    a, b = with_first_step(a, b, h, reverse)
    length, distance = a.shape[0], 1
    while distance < length:
        # Every state contains `distance` steps; now it takes in as many before those.
        if reverse:
            b = ops.concatenate([b[:-distance] + a[:-distance] * b[distance:], b[-distance:]])
            a = ops.concatenate([a[:-distance] * a[distance:], a[-distance:]])
        else:
            b = ops.concatenate([b[:distance], b[distance:] + a[distance:] * b[:-distance]])
            a = ops.concatenate([a[:distance], a[distance:] * a[:-distance]])
        distance *= 2
    return b
