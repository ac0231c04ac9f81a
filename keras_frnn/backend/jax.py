"""Keras on JAX."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterator

import jax
import keras
from keras import ops

from keras_frnn.backend import common

# Numbers of values of a convolution's inputs and gradients. In float32 these are 2 MB, common for a core's cache, and
# 32 MB, common for the cache that all cores share.
_CACHED_VALUES, _CACHED_BY_ALL = 2**19, 2**23
_is_in_loop = contextvars.ContextVar("is_in_loop", default=False)

tanh = jax.numpy.tanh  # That of `keras.ops` makes float32 of float64.


def accelerator() -> str | None:
    # What is being traced for compilation is not on any device yet.
    with jax.ensure_compile_time_eval():
        return common.accelerator()


def _is_on_cpu() -> bool:
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def batch_shards() -> int:
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    mesh = distribution.device_mesh
    return mesh.shape[mesh.axis_names.index(distribution.batch_dim_name)]


def batch_processes() -> int:
    return 1 if batch_shards() == 1 else jax.process_count()


def export_options(format: str, options: dict) -> dict:
    if format != "tf_saved_model":
        return options
    # A gradient, which is not used, would double the model.
    return {**options, "jax2tf_kwargs": {"with_gradient": False, **options.get("jax2tf_kwargs", {})}}


def gradients(wanted: bool, *tensors):
    return contextlib.nullcontext()


# Compilation.


def as_one(function: Callable) -> Callable:
    return jax.jit(function)


def compiles(variables, arguments) -> bool:
    tensors = [*(variable.value for variable in variables), *keras.tree.flatten(arguments)]
    return not any(isinstance(tensor, jax.core.Tracer) for tensor in tensors)


def weights_to_pass(variables) -> list:
    return [variable.value for variable in variables]


def compile_function(function: Callable, jit_compile: bool) -> Callable:
    return jax.jit(function)


# Convolutions.


def same_conv(x, kernel):
    # JAX's own gradient would take the kernel's from all frames at once, see `kernel_gradient`. The gradient is traced
    # later, so it is told now whether this is inside of a loop.
    return ops.custom_gradient(functools.partial(_conv_and_gradient, in_loop=_is_in_loop.get()))(x, kernel)


def _conv_and_gradient(x, kernel, in_loop):
    def gradient(upstream):
        return input_gradient(upstream, flipped(kernel)), _kernel_gradient(x, upstream, kernel.shape[:2], in_loop)

    return _conv(x, kernel), gradient


def _conv(x, kernel):
    return ops.conv(x, kernel, padding="same", data_format="channels_last")


def input_gradient(gradient, flipped_kernel):
    return common.input_gradient(same_conv, gradient, flipped_kernel)


def kernel_gradient(x, gradient, kernel_size: tuple[int, int]):
    return _kernel_gradient(x, gradient, kernel_size, in_loop=False)


def _kernel_gradient(x, gradient, kernel_size, in_loop):
    """XLA for CPUs has no fast one inside of loops: there, it is one product of matrices for each row of the kernel."""

    def of_frames(x, gradient):
        kernel = jax.ShapeDtypeStruct((*kernel_size, x.shape[-1], gradient.shape[-1]), x.dtype)
        return jax.linear_transpose(lambda kernel: _conv(x, kernel), kernel)(gradient)[0]

    if not _is_on_cpu():
        return of_frames(x, gradient)
    if in_loop:
        return _by_matrix_products(x, gradient, kernel_size)
    # XLA for CPUs is much faster at this on what fits its caches: on some frames of each device at a time. But each
    # part takes its time to compile.
    a_frame = x[0].size + gradient[0].size
    frames = len(x) if len(x) * a_frame <= _CACHED_BY_ALL else max(1, _CACHED_VALUES // a_frame)
    shards = batch_shards() if len(x) % batch_shards() == 0 else 1
    x, gradient = (ops.reshape(part, (shards, -1, *part.shape[1:])) for part in (x, gradient))

    def some(part, first):
        return ops.reshape(part[:, first : first + frames], (-1, *part.shape[2:]))

    return sum(of_frames(some(x, i), some(gradient, i)) for i in range(0, x.shape[1], frames))


def _by_matrix_products(x, gradient, kernel_size: tuple[int, int]):
    _, height, width, _ = x.shape
    padding = [((side - 1) // 2, side // 2) for side in kernel_size]
    x = ops.pad(x, [(0, 0), *padding, (0, 0)])
    # All columns of the kernel are one product, which compiles faster than one of each.
    x = ops.concatenate([x[:, :, column : column + width] for column in range(kernel_size[1])], axis=-1)
    rows = [
        ops.tensordot(x[:, row : row + height], gradient, axes=[[0, 1, 2], [0, 1, 2]]) for row in range(kernel_size[0])
    ]
    return ops.reshape(ops.stack(rows), (*kernel_size, -1, gradient.shape[-1]))


def read_kernel(variable, dtype: str):
    return ops.cast(variable, dtype)


def packed(kernel):
    return kernel


def flipped(kernel):
    return common.transposed(kernel)


def split_channels(x, first: int):
    return x[..., :first], x[..., first:]


def max_pool(x, size: tuple[int, int]):
    if _is_on_cpu():
        return ops.custom_gradient(functools.partial(_max_pool_and_gradient, size=size))(x)
    return _max_pool(x, size)


def _max_pool(x, size):
    return ops.max_pool(x, size, strides=size, data_format="channels_last")


def _max_pool_and_gradient(x, size):
    """The maxima, and a function that hands their gradients to the first of the greatest of each block.

    JAX's own gradient scatters them, which on CPUs takes many times as long, both to compile and to run.
    """

    def gradient(upstream):
        *places, channels = upstream.shape
        blocks = ops.reshape(common.space_to_depth(x, size), (*places, -1, channels))
        greatest = ops.argmax(blocks, axis=3)[:, :, :, None]
        here = ops.arange(size[0] * size[1], dtype=greatest.dtype)[:, None] == greatest
        return common.depth_to_space(ops.reshape(ops.where(here, upstream[:, :, :, None], 0), (*places, -1)), size)

    return _max_pool(x, size), gradient


def upsample(x, factors: tuple[int, int]):
    for axis, factor in enumerate(factors, start=len(x.shape) - 3):
        x = x if factor == 1 else ops.repeat(x, factor, axis=axis)
    return x


# Gradients.


def sigmoid_gradient(y, upstream):
    return upstream * (y * (1 - y))


def tanh_gradient(y, upstream):
    return upstream * (1 - y * y)


def custom_gradient(forward, backward, plain):
    def autodiff(upstream, inputs):
        return jax.vjp(plain, *inputs)[1](upstream)

    @jax.custom_vjp
    def first_order(upstream, inputs, residuals):
        return tuple(backward(upstream, inputs, residuals))

    first_order.defvjp(
        lambda *arguments: (first_order(*arguments), arguments[:2]),
        lambda arguments, upstreams: (*jax.vjp(autodiff, *arguments)[1](upstreams), None),
    )

    @jax.custom_vjp
    def with_residuals(*inputs):
        return forward(*inputs)

    @jax.custom_vjp
    def run(*inputs):
        return forward(*inputs)[0]

    def run_forward(*inputs):
        # JAX differentiates this in turn for second order, which must not go through `forward`, either.
        output, residuals = with_residuals(*inputs)
        return output, (inputs, residuals)

    def with_residuals_forward(*inputs):
        output, residuals = with_residuals(*inputs)
        return (output, residuals), (inputs, residuals)

    with_residuals.defvjp(with_residuals_forward, lambda saved, upstreams: first_order(upstreams[0], *saved))
    run.defvjp(run_forward, lambda saved, upstream: first_order(upstream, *saved))
    return run


def delay_until(moment, *tensors):
    return jax.lax.optimization_barrier((*tensors, moment))[:-1]


# Loops over time.


@contextlib.contextmanager
def _inside_of_a_loop() -> Iterator[None]:
    token = _is_in_loop.set(True)
    try:
        yield
    finally:
        _is_in_loop.reset(token)


def scan(step, state, inputs, select=lambda state: state, reverse=False, differentiable=True):
    def carry_and_output(state, x):
        with _inside_of_a_loop():
            state = step(state, x)
        return state, select(state)

    return ops.scan(carry_and_output, state, inputs, reverse=reverse)


def linear_recurrence(a, b, h, reverse: bool = False):
    def states_and_gradient(a, b, h):
        states = _compute(a, b, h, reverse)
        return states, lambda upstream: common.linear_recurrence_gradients(
            linear_recurrence, a, states, upstream, reverse
        )

    return ops.custom_gradient(states_and_gradient)(a, b, h)


def _compute(a, b, h, reverse):
    return (_step_by_step if accelerator() is None else _all_at_once)(a, b, h, reverse)


def _step_by_step(a, b, h, reverse):
    return common.step_by_step(scan, a, b, h, reverse)


def _all_at_once(a, b, h, reverse):
    def both(first, second):
        return first[0] * second[0], second[0] * first[1] + second[1]

    return jax.lax.associative_scan(both, common.with_first_step(a, b, h, reverse), reverse=reverse)[1]


# Minimal updates. On CPUs, compiling takes longer than many steps of training. XLA takes its time for every function of
# every layer, and more of it where tensors have many axes: so there is one tangent, pixels are one axis, and the
# gradient is one loop.


def minimal_gates(x):
    return _keep_and_candidate(_one_tangent(x))


def minimal_recurrence(h, x, mask=None):
    if mask is None and _is_on_cpu():
        iterate = custom_gradient(_iterate_with_residuals, _gradient, lambda h, x: _iterate_with_residuals(h, x)[0])
        pixels = ops.reshape(h, (-1, h.shape[-1])), ops.reshape(x, (x.shape[0], -1, x.shape[-1]))
        return ops.reshape(iterate(*pixels), (x.shape[0], *h.shape))
    return common.minimal_recurrence(linear_recurrence, *minimal_gates(x), h, mask)


def _one_tangent(x):
    """`tanh(x / 2)` of the first half of the channels, `tanh(x)` of the second."""
    half = x.shape[-1] // 2
    return tanh(x * ops.convert_to_tensor([0.5] * half + [1.0] * half, x.dtype))


def _keep_and_candidate(y):
    """`minimal_gates`, given what `_one_tangent` returned: `1 - sigmoid(x)` is `1/2 - tanh(x / 2) / 2`."""
    half = y.shape[-1] // 2
    return 0.5 - 0.5 * y[..., :half], y[..., half:]


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
        # With h' - c for keep * (h - c), so that the states before the steps are not among the residuals.
        dx = dh * (1 - keep) * (c - h), dh * (1 - keep) * (1 - c * c)
        return keep * dh, ops.concatenate(dx, axis=-1)

    return ops.scan(step, ops.zeros_like(inputs[0]), (upstream, *residuals), reverse=True)
