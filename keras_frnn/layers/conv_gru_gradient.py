"""The gradient of the gated update over all time steps, derived by hand.

One step, with `a_rz` and `a_c` for what the activations are taken of:

    r, z = s(a_rz)                  a_rz = x_rz + conv(h, W_rz)
    c = tanh(a_c)                   a_c = x_c + conv(r * h, W_c)
    h' = h + z * (c - h)

Write `dy` for the gradient of the loss with respect to `y`, and `conv^T` for the gradient of `conv` with respect to its
input. Given `dh'`, the chain rule goes through the step from the last line to the first:

    da_c = (1 - c^2) * (z * dh')                    through h' and tanh
    d(r * h) = conv^T(da_c, W_c)                    through a_c
    da_r = r * (1 - r) * d(r * h) * h               through r * h and s
    da_z = z * (1 - z) * dh' * (c - h)              through h' and s
    dh = (1 - z) * dh' + r * d(r * h) + conv^T(da_rz, W_rz)

A step needs from the step after it `dh'` alone, so this is what the loop back in time computes. All else can wait until
the loop has ended: `dx_rz = da_rz` and `dx_c = da_c`, and each kernel's gradient is that of one convolution over all
steps, of `h` for `W_rz` and of `r * h` for `W_c`. Autodiff would take it step by step, and add.
"""

import functools

from keras import ops

from keras_frnn import backend
from keras_frnn.layers import layout


def make_iterate(update):
    """A function that iterates the equation `update` over time, with the gradient above.

    Its residuals, which are kept for the gradient, are the states, the gates and the candidates.

    Args:
        update: `gated_update`.

    Returns:
        Function of `x_rz` and `x_c` of all steps, `(time, batch, ...)`, the state before the first step, `W_rz` and
        `W_c`, that returns the states after every step.
    """
    return backend.custom_gradient(*_functions(update))


@functools.cache  # The same functions in each trace: Torch checks an exported trace against a second one.
def _functions(update):
    return (
        lambda *inputs: _iterate_with_residuals(update, *inputs),
        _gradient,
        lambda *inputs: _iterate(update, *inputs),
    )


def make_recomputing_iterate(update, project, upsampling: tuple[int, int]):
    """As `make_iterate`, with less memory: its residuals are the states alone.

    All else is computed again for the gradient, for all steps at once, since their states are known by then.

    Args:
        update: `gated_update`.
        project: `project_inputs`.
        upsampling: factors by which height and width of the inputs are upsampled first.

    Returns:
        Function of the inputs of all steps, their kernel, the biases, the state before the first step, `W_rz` and
        `W_c`, that returns the states after every step.
    """

    def project_all(sequence, kernel, bias):
        return layout.over_time(lambda x: project(x, kernel, bias, upsampling), sequence)

    def iterate(sequence, kernel, bias, *others):
        return _iterate(update, *project_all(sequence, kernel, bias), *others)

    def iterate_with_residuals(sequence, kernel, bias, *others):
        states, _ = _iterate_with_residuals(update, *project_all(sequence, kernel, bias), *others)
        return states, (states,)

    def gradient(upstream, inputs, residuals):
        sequence, kernel, bias, h, *kernels = inputs
        now, states = backend.delay_until(upstream, sequence, *residuals)
        before = _states_before(h, states)
        _, rz, c = layout.over_time(lambda h, *x: update(h, *x, *kernels), before, *project_all(now, kernel, bias))
        da_rz, da_c, *others = _gradients(upstream, before, rz, c, *kernels)
        da = ops.concatenate([da_rz, da_c], axis=-1)
        dsequence, dkernel = backend.upsampled_conv_gradients(
            layout.merge_time(sequence), kernel, upsampling, layout.merge_time(da)
        )
        return layout.split_time(dsequence, *ops.shape(sequence)[:2]), dkernel, ops.sum(da, axis=(0, 1, 2, 3)), *others

    return backend.custom_gradient(iterate_with_residuals, gradient, iterate)


def _iterate(update, x_rz, x_c, h, *kernels):
    kernels = [backend.packed(kernel) for kernel in kernels]
    return backend.scan(lambda h, x: update(h, *x, *kernels)[0], h, (x_rz, x_c))[1]


def _iterate_with_residuals(update, x_rz, x_c, h, *kernels):
    kernels = [backend.packed(kernel) for kernel in kernels]
    _, (states, rz, c) = backend.scan(
        lambda state, x: update(state[0], *x, *kernels),
        (h, ops.concatenate([h, h], axis=-1), h),
        (x_rz, x_c),
        differentiable=False,
    )
    return states, (states, rz, c)


def _gradient(upstream, inputs, residuals):
    _, _, h, *kernels = inputs
    states, rz, c = residuals
    return _gradients(upstream, _states_before(h, states), rz, c, *kernels)


def _states_before(h, states):
    """The states before every step, given that before the first and those after every step."""
    return ops.concatenate([h[None], states[:-1]])


def _gradients(upstream, before, rz, c, w_rz, w_c):
    """The gradients of `x_rz`, `x_c`, the first state, `W_rz` and `W_c`, given that of the states after every step."""
    flipped = backend.flipped(w_rz), backend.flipped(w_c)
    zeros = ops.zeros_like(before[0])
    (dh, *_), (da_rz, da_c) = backend.scan(
        lambda gradients, step: _step_back(gradients[0], *step, *flipped),
        (zeros, ops.concatenate([zeros, zeros], axis=-1), zeros),
        (upstream, before, rz, c),
        select=lambda gradients: gradients[1:],
        reverse=True,
        differentiable=False,
    )

    def over_steps(inputs, gradients, kernel):
        return backend.kernel_gradient(layout.merge_time(inputs), layout.merge_time(gradients), kernel.shape[:2])

    r, _ = ops.split(rz, 2, axis=-1)
    return da_rz, da_c, dh, over_steps(before, da_rz, w_rz), over_steps(r * before, da_c, w_c)


def _step_back(dh, upstream, h, rz, c, flipped_w_rz, flipped_w_c):
    """`dh`, `da_rz` and `da_c` of a step, given `dh` of the step after it."""
    r, z = ops.split(rz, 2, axis=-1)
    dh = dh + upstream
    dhz = dh * z
    da_c = backend.tanh_gradient(c, dhz)
    drh = backend.input_gradient(da_c, flipped_w_c)
    da_rz = backend.sigmoid_gradient(rz, ops.concatenate([drh * h, dh * (c - h)], axis=-1))
    return dh - dhz + drh * r + backend.input_gradient(da_rz, flipped_w_rz), da_rz, da_c
