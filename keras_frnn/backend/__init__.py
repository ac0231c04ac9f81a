"""All that differs between TensorFlow, JAX and Torch. No other module of layers, models and metrics asks for a backend.

What the rest of the library calls:

    scan                        a loop over time
    delay_until                 tensors that are not read before another one is there
    same_conv, max_pool         of frames, `(batch, height, width, channels)`
    upsample, upsampled_conv    nearest-neighbour upsampling, and a convolution after it
    transposed                  the kernel of a transposed convolution
    packed, flipped             kernels as loops read them, forwards and backwards
    input_gradient, kernel_gradient, upsampled_conv_gradients
                                gradients of those convolutions, for gradients written by hand
    with_written_gradient       a function whose gradient is written by hand, which can be differentiated, too
    compiled_when_repeated      a function of a model, compiled for arguments of shapes that come again
    accelerator                 the GPU or TPU in use
"""

from keras_frnn.backend.compilation import compiled_when_repeated
from keras_frnn.backend.convolution import (
    flipped,
    input_gradient,
    kernel_gradient,
    max_pool,
    packed,
    same_conv,
    transposed,
    upsample,
    upsampled_conv,
    upsampled_conv_gradients,
)
from keras_frnn.backend.devices import accelerator
from keras_frnn.backend.time_loop import delay_until, scan
from keras_frnn.backend.written_gradient import with_written_gradient

__all__ = [
    "accelerator",
    "compiled_when_repeated",
    "delay_until",
    "flipped",
    "input_gradient",
    "kernel_gradient",
    "max_pool",
    "packed",
    "same_conv",
    "scan",
    "transposed",
    "upsample",
    "upsampled_conv",
    "upsampled_conv_gradients",
    "with_written_gradient",
]
