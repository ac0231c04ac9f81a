"""Torch's kind of a function with a gradient of its own; only Torch's part of `written_gradient` loads this."""

import torch


class CustomGradient(torch.autograd.Function):
    """`custom_gradient`, given its three functions before their inputs."""

    @staticmethod
    def forward(ctx, forward, backward, plain, *inputs):
        output, residuals = forward(*inputs)
        ctx.written, ctx.plain = backward, plain
        ctx.save_for_backward(*inputs, *residuals)
        return output

    @staticmethod
    def backward(ctx, upstream):
        needed = ctx.needs_input_grad[3:]
        saved = ctx.saved_tensors  # Torch's checkpoints, as in `keras.RematScope`, hand them out only once.
        inputs, residuals = saved[: len(needed)], saved[len(needed) :]
        # What torch.compile makes has no second derivatives.
        if torch.compiler.is_compiling() or not torch.is_grad_enabled():
            return None, None, None, *ctx.written(upstream, inputs, residuals)
        # These gradients are to be differentiated. Aliases, as one input may have been made from another.
        inputs = [tensor.view_as(tensor) for tensor in inputs]
        wanted = [tensor for tensor, need in zip(inputs, needed, strict=True) if need]
        gradients = iter(torch.autograd.grad(ctx.plain(*inputs), wanted, upstream, create_graph=True))
        return None, None, None, *(next(gradients) if need else None for need in needed)
