"""All that differs between TensorFlow, JAX and Torch. No other module of layers, models and metrics asks for a backend.

What the rest of the library calls:

    scan                        a loop over time
    unroll_short_loops     a context in which TensorFlow gets those of few steps without a loop
    minimal_update, minimal_recurrence, minimal_recurrence_gradients
                                minimal updates: a step, all of them, and their gradients
    delay_until                 tensors that are not read before another one is there
    same_conv, max_pool         of frames, `(batch, height, width, channels)`
    upsample, upsampled_conv    nearest-neighbour upsampling, and a convolution after it
    space_to_depth, depth_to_space
                                blocks of pixels as channels, and back
    split_channels              two groups of channels
    transposed                  the kernel of a transposed convolution
    read_kernel                 a kernel as a tensor
    packed, flipped             kernels as loops read them, forwards and backwards
    input_gradient, kernel_gradient, upsampled_conv_gradients
                                gradients of those convolutions, for gradients written by hand
    tanh                        the hyperbolic tangent
    sigmoid_gradient, tanh_gradient
                                gradients of activations
    custom_gradient       a function whose gradient is written by hand, which can be differentiated, too
    CompiledCalls               functions of a model, compiled for arguments of shapes that come again
    gradients                   a context in which Torch records no gradient that nobody takes
    accelerator                 the GPU or TPU in use
    batch_shards, batch_processes
                                among how many devices, and from how many processes, JAX splits a batch
    export_refusal, missing_export_modules, export_options
                                the formats that a model can be exported to
"""

from keras_frnn.backend.activation_gradients import sigmoid_gradient, tanh, tanh_gradient
from keras_frnn.backend.compilation import CompiledCalls, gradients
from keras_frnn.backend.convolution import (
    depth_to_space,
    flipped,
    input_gradient,
    kernel_gradient,
    max_pool,
    packed,
    read_kernel,
    same_conv,
    space_to_depth,
    split_channels,
    transposed,
    upsample,
    upsampled_conv,
    upsampled_conv_gradients,
)
from keras_frnn.backend.custom_gradient import custom_gradient
from keras_frnn.backend.devices import accelerator, batch_processes, batch_shards
from keras_frnn.backend.exports import export_options, export_refusal, missing_export_modules
from keras_frnn.backend.minimal_update import minimal_recurrence, minimal_recurrence_gradients
from keras_frnn.backend.time_loop import delay_until, scan, unroll_short_loops

__all__ = [
    "CompiledCalls",
    "accelerator",
    "batch_processes",
    "batch_shards",
    "custom_gradient",
    "delay_until",
    "depth_to_space",
    "export_options",
    "export_refusal",
    "flipped",
    "gradients",
    "input_gradient",
    "kernel_gradient",
    "max_pool",
    "minimal_recurrence",
    "minimal_recurrence_gradients",
    "missing_export_modules",
    "packed",
    "read_kernel",
    "same_conv",
    "scan",
    "sigmoid_gradient",
    "space_to_depth",
    "split_channels",
    "tanh",
    "tanh_gradient",
    "transposed",
    "unroll_short_loops",
    "upsample",
    "upsampled_conv",
    "upsampled_conv_gradients",
]
