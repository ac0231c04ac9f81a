"""Keras on Torch."""

import contextlib
from collections.abc import Callable

import keras
import torch
from keras import ops

from keras_frnn.backend import common

# A step is one call that reads and writes every number once; doubling takes five calls that do so for all steps, each
# time that the distance doubles. On a GPU, short sequences spend their time in calls.
_STEPS = 32

accelerator = common.accelerator
as_one = common.as_one
batch_shards = common.batch_shards
batch_processes = common.batch_processes
export_options = common.export_options
tanh = ops.tanh
upsample = common.upsample
minimal_gates = common.minimal_gates
_all_at_once = common.all_at_once


def gradients(wanted: bool, *tensors):
    if wanted or any(getattr(tensor, "requires_grad", False) for tensor in keras.tree.flatten(tensors)):
        return contextlib.nullcontext()
    return torch.no_grad()


# Compilation.


def compiles(variables, arguments) -> bool:
    return False


def weights_to_pass(variables) -> list:
    raise NotImplementedError("Functions run as they are with Torch.")


def compile_function(function: Callable, jit_compile: bool) -> Callable:
    raise NotImplementedError("Functions run as they are with Torch.")


# Convolutions.


def same_conv(x, kernel):
    if not _convolves(x):
        return ops.cast(same_conv(ops.cast(x, "float32"), ops.cast(kernel, "float32")), x.dtype)
    if x.device.type == "cpu" and (x.dtype == torch.float64 or kernel.shape[-1] == 1):
        # Torch does not use oneDNN for float64 and for a single small picture, and the gradient of its own convolution
        # fails for some kernels of one output channel, unless their channels come first in memory.
        kernel = ops.convert_to_tensor(kernel).permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0)
    return _channels_last(lambda x: ops.conv(x, kernel, padding="same", data_format="channels_first"), x)


def _convolves(x) -> bool:
    """Whether Torch has fast convolutions for this tensor's device and dtype.

    Without oneDNN's, its own of 16-bit numbers are slow, and their gradients fail where channels come last. Then the
    convolution is computed in float32.
    """
    if x.device.type != "cpu":
        return True
    if x.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return x.dtype != torch.float16 or torch.ops.mkldnn._is_mkldnn_fp16_supported()


def _channels_last(function, x):
    # Torch names the channels first and convolves fastest where they lie last in memory, which this is: both transposes
    # change the names of axes only. Keras would move the data, before and after each call.
    return ops.transpose(function(ops.transpose(x, (0, 3, 1, 2))), (0, 2, 3, 1))


def input_gradient(gradient, flipped_kernel):
    return common.input_gradient(same_conv, gradient, flipped_kernel)


def kernel_gradient(x, gradient, kernel_size: tuple[int, int]):
    if not _convolves(x):
        gradient32 = kernel_gradient(ops.cast(x, "float32"), ops.cast(gradient, "float32"), kernel_size)
        return ops.cast(gradient32, x.dtype)
    padding = [(side - 1) // 2 for side in kernel_size]
    if any(side % 2 == 0 for side in kernel_size):
        # Torch pads equally on both sides; "same" pads one pixel more at the end.
        x = ops.pad(
            x, [[0, 0], *([before, side // 2] for before, side in zip(padding, kernel_size, strict=True)), [0, 0]]
        )
        padding = [0, 0]
    x, gradient = x.permute(0, 3, 1, 2), gradient.permute(0, 3, 1, 2)
    shape = (gradient.shape[1], x.shape[1], *kernel_size)
    return torch.nn.grad.conv2d_weight(x, shape, gradient, padding=padding).permute(2, 3, 1, 0)


def read_kernel(variable, dtype: str):
    # Views, so that the gradient gets the kernel's strides, also along axes of length 1. Those mean nothing, and Torch
    # leaves them as they are; but `DistributedDataParallel` compares them, and warns.
    return ops.cast(ops.reshape(ops.reshape(variable, (-1,)), variable.shape), dtype)


def packed(kernel):
    return kernel.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)


def flipped(kernel):
    return packed(common.transposed(kernel))


def split_channels(x, first: int):
    # `ops.split` makes a tensor of the place, which exporters do not know.
    return x.split([first, x.shape[-1] - first], dim=-1)


def max_pool(x, size: tuple[int, int]):
    return _channels_last(lambda x: ops.max_pool(x, size, strides=size, data_format="channels_first"), x)


# Gradients.


def sigmoid_gradient(y, upstream):
    return torch.ops.aten.sigmoid_backward(upstream, y)


def tanh_gradient(y, upstream):
    return torch.ops.aten.tanh_backward(upstream, y)


def custom_gradient(forward, backward, plain):
    return lambda *inputs: _CustomGradient.apply(forward, backward, plain, *inputs)


class _CustomGradient(torch.autograd.Function):
    # torch.compile goes through a class of a module, and not through one that a function makes.
    @staticmethod
    def forward(ctx, forward, backward, plain, *inputs):
        output, residuals = forward(*inputs)
        ctx.custom, ctx.plain = backward, plain
        ctx.save_for_backward(*inputs, *residuals)
        return output

    @staticmethod
    def backward(ctx, upstream):
        needed = ctx.needs_input_grad[3:]
        saved = ctx.saved_tensors  # Torch's checkpoints, as in `keras.RematScope`, return them only once.
        inputs, residuals = saved[: len(needed)], saved[len(needed) :]
        # What torch.compile makes has no second derivatives.
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return None, None, None, *ctx.custom(upstream, inputs, residuals)
        # These gradients are to be differentiated. Aliases, as one input may have been made from another.
        inputs = [tensor.view_as(tensor) for tensor in inputs]
        wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
        gradients = iter(torch.autograd.grad(ctx.plain(*inputs), wanted, upstream, create_graph=True))
        return None, None, None, *(next(gradients) if need else None for need in needed)


def delay_until(moment, *tensors):
    return tensors


# Loops over time.


def scan(step, state, inputs, select=lambda state: state, reverse=False, differentiable=True):
    # Torch has no graph that a loop would keep small.
    return common.unrolled_scan(step, state, inputs, select, reverse)


def linear_recurrence(a, b, h, reverse: bool = False):
    return _LinearRecurrence.apply(a, b, h, reverse)


def minimal_recurrence(h, x, mask=None):
    return common.minimal_recurrence(linear_recurrence, *minimal_gates(x), h, mask)


class _LinearRecurrence(torch.autograd.Function):
    # Keras' `custom_gradient` would also keep `b`.
    @staticmethod
    def forward(ctx, a, b, h, reverse):
        states = _compute(a, b, h, reverse)
        ctx.save_for_backward(a, states)
        ctx.reverse = reverse
        return states

    @staticmethod
    def backward(ctx, upstream):
        a, states = ctx.saved_tensors
        return *common.linear_recurrence_gradients(linear_recurrence, a, states, upstream, ctx.reverse), None


def _compute(a, b, h, reverse):
    at_once = len(a) > _STEPS and a.device.type != "cpu"
    return (_all_at_once if at_once else _step_by_step)(a, b, h, reverse)


def _step_by_step(a, b, h, reverse):
    states = b.new_empty((len(b) + 1, *h.shape))
    steps = range(len(b))
    before, after = (1, 0) if reverse else (0, 1)
    states[len(b) if reverse else 0] = h
    for t in reversed(steps) if reverse else steps:
        torch.addcmul(b[t], a[t], states[t + before], out=states[t + after])
    return states
