"""The minimal update, `h' = z * c + (1 - z) * h`, whose gates see the inputs alone."""

import keras
from keras import ops

from keras_frnn.backend.activation_gradients import sigmoid_gradient, tanh, tanh_gradient
from keras_frnn.backend.custom_gradient import custom_gradient
from keras_frnn.backend.devices import jax_is_on_cpu
from keras_frnn.backend.linear_recurrence import linear_recurrence, linear_recurrence_gradients


def minimal_gates(x):
    """The share of the state that stays, `1 - z`, and the candidate `c`.

    Args:
        x: tensor, `(..., 2 * filters)`: what z and c are the logistic function and the hyperbolic tangent of.
    """
    if keras.backend.backend() == "jax":
        return _keep_and_candidate(_one_tangent(x))
    x_z, x_c = ops.split(x, 2, axis=-1)
    return ops.sigmoid(-x_z), tanh(x_c)


def minimal_recurrence(h, x, mask=None):
    """The states after every step, `(time, ..., filters)`.

    Args:
        h: the state before the first step, `(..., filters)`.
        x: of every step what `minimal_gates` takes, `(time, ..., 2 * filters)`.
        mask: booleans that broadcast to the states, false where a step leaves the state as it is.
    """
    if keras.backend.backend() == "jax" and jax_is_on_cpu() and mask is None:
        iterate = custom_gradient(_iterate_with_residuals, _gradient, _iterate)
        return ops.reshape(iterate(_pixels(h), _pixels(x, 1)), (x.shape[0], *h.shape))
    keep, c = minimal_gates(x)
    if mask is not None:
        keep = ops.where(mask, keep, 1)
    # Not z * c: autodiff keeps what enters products, and these two it keeps anyway.
    return linear_recurrence(keep, c - keep * c, h)[1:]


def minimal_recurrence_gradients(h, x, upstream):
    """The gradients of `minimal_recurrence` with respect to `h` and `x`, given that with respect to the states."""
    keep, c = minimal_gates(x)
    states = linear_recurrence(keep, c - keep * c, h)
    upstream = ops.concatenate([ops.zeros_like(h)[None], upstream])
    dkeep, db, dh = linear_recurrence_gradients(keep, states, upstream)
    dkeep = dkeep - db * c
    dc = db * (1 - keep)
    return dh, ops.concatenate([-sigmoid_gradient(keep, dkeep), tanh_gradient(c, dc)], axis=-1)


# For JAX on CPUs, where compiling takes longer than many steps of training. XLA takes its time for every function of
# every layer, and more of it where tensors have many axes: so there is one tangent, pixels are one axis, and the
# gradient is one loop.


def _pixels(x, before: int = 0):
    """With one axis for all pixels, after so many others."""
    return ops.reshape(x, (*x.shape[:before], -1, x.shape[-1]))


def _one_tangent(x):
    """`tanh(x / 2)` of the first half of the channels, `tanh(x)` of the second."""
    half = x.shape[-1] // 2
    return tanh(x * ops.convert_to_tensor([0.5] * half + [1.0] * half, x.dtype))


def _keep_and_candidate(y):
    """`minimal_gates`, of what `_one_tangent` returned: `1 - sigmoid(x)` is `1/2 - tanh(x / 2) / 2`."""
    half = y.shape[-1] // 2
    return 0.5 - 0.5 * y[..., :half], y[..., half:]


def _iterate(h, x):
    return _iterate_with_residuals(h, x)[0]


def _iterate_with_residuals(h, x):
    def step(h, y):
        keep, c = _keep_and_candidate(y)
        h = c + keep * (h - c)
        return h, h

    y = _one_tangent(x)
    _, states = ops.scan(step, h, y)
    return states, (states, y)


def _gradient(upstream, inputs, residuals):
    def step(dh, inputs):
        upstream, h, y = inputs
        keep, c = _keep_and_candidate(y)
        dh = dh + upstream
        # With h' - c for keep * (h - c), so that the states before the steps need not be kept, too.
        dx = dh * (1 - keep) * (c - h), dh * (1 - keep) * (1 - c * c)
        return keep * dh, ops.concatenate(dx, axis=-1)

    return ops.scan(step, ops.zeros_like(inputs[0]), (upstream, *residuals), reverse=True)
