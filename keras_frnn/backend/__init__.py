"""All that differs between TensorFlow, JAX and Torch. No other module of layers, models and metrics asks for a backend.

`engine` is the module of the backend in use, `tensorflow`, `jax` or `torch`, which have the same names. What they share
is in `common`; what is composed of their functions is in `composed` and `compilation`. What each function does:

    accelerator()
        The GPU or TPU in use, as the backend names it; None on CPUs.
    batch_shards(), batch_processes()
        Among how many devices, and from how many processes, JAX splits a batch, by `keras.distribution`; 1 elsewhere.
    gradients(wanted, *tensors)
        A context in which Torch records gradients only if they are wanted, because weights are trained by what is
        computed, or if one of the tensors, in nested tuples, requires one. TensorFlow and JAX record none by
        themselves.
    export_refusal, missing_export_modules, export_options
        What a model can be exported to, and with what.

Compilation:

    CompiledCalls
        The functions of a model, compiled for shapes that come again; made of the engine's `compiles`,
        `weights_to_pass` and `compile_function`.
    as_one(function)
        A function of tensors. JAX, which compiles each operation outside of a compiled function by itself, compiles it
        as a whole.

Convolutions of frames, `(batch, height, width, channels)`, with kernels `(kh, kw, inputs, outputs)`:

    same_conv(x, kernel)
        Stride 1; keeps height and width.
    input_gradient(gradient, flipped_kernel), kernel_gradient(x, gradient, kernel_size)
        Gradients of `same_conv` given that of its output, for custom gradients. `keras.ops` has no operations for them.
    read_kernel(variable, dtype), packed(kernel), flipped(kernel)
        A kernel as a tensor; in memory as convolutions read it; as `input_gradient` takes it. For loops: packing costs
        as much as a small convolution, and is done once before the loop.
    transposed(kernel)
        Flipped in height and width, channel axes swapped.
    upsample(x, factors), upsampled_conv(x, kernel, factors), upsampled_conv_gradients
        Nearest-neighbor upsampling of `(..., height, width, channels)`, a convolution after it, and its gradients.
    split_channels(x, first)
        The first channels, and the others. The gradients of slices would be tensors of zeros, filled and added.
    max_pool(x, size), space_to_depth(x, size), depth_to_space(x, size)
        Maxima of blocks; blocks of pixels as channels, and back.

Gradients:

    tanh(x)
        The hyperbolic tangent, in the dtype of `x`.
    sigmoid_gradient(y, upstream), tanh_gradient(y, upstream)
        Gradients of activations given what they returned: one operation, where autodiff takes three.
    custom_gradient(forward, backward, plain)
        `plain`, a function of tensors that returns one tensor, with a gradient written by hand. `forward` returns its
        output and a tuple of residuals; `backward` takes the output's gradient, the inputs and the residuals, and
        returns the gradients of all inputs. The gradient of that gradient is autodiff's of `plain`.
        (`keras.ops.custom_gradient` would differentiate `backward`, with residuals as constants.) JAX refuses its
        forward mode, `jax.jvp`.
    delay_until(moment, *tensors)
        The same tensors, but not before the tensor `moment` is computed. What is computed twice to save memory,
        compilers would compute early, or once.

Loops over time:

    scan(step, state, inputs, select, reverse, differentiable)
        Iterates `state = step(state, x)` over the first axis of `inputs`; all may be nested tuples. Returns the last
        state and `select` of every state. With `reverse`, it begins with the last input; outputs have the order of
        inputs. `differentiable=False` if autodiff does not go through the loop.
    unroll_short_loops()
        A context in which TensorFlow unrolls loops of few steps.
    linear_recurrence(a, b, h, reverse)
        Iterates `h = a[t] * h + b[t]` elementwise: as a prefix scan on accelerators, else step by step. Returns `h` and
        the states after every step, of one step more than `a` and `b`; in reverse, `h` comes last. Its gradient is the
        same recurrence in the other direction; its residuals are `a` and the result.
    minimal_gates(x), minimal_recurrence(h, x, mask), minimal_recurrence_gradients
        The gates of minimal updates, all states given the state before the first step, and their gradients. `mask` is
        false where a step leaves the state as it is.
"""

from keras_frnn.backend.chosen import engine
from keras_frnn.backend.common import depth_to_space, space_to_depth, transposed, unroll_short_loops
from keras_frnn.backend.compilation import CompiledCalls
from keras_frnn.backend.composed import minimal_recurrence_gradients, upsampled_conv, upsampled_conv_gradients
from keras_frnn.backend.exports import export_refusal, missing_export_modules

accelerator = engine.accelerator
as_one = engine.as_one
batch_processes = engine.batch_processes
batch_shards = engine.batch_shards
custom_gradient = engine.custom_gradient
delay_until = engine.delay_until
export_options = engine.export_options
flipped = engine.flipped
gradients = engine.gradients
input_gradient = engine.input_gradient
kernel_gradient = engine.kernel_gradient
linear_recurrence = engine.linear_recurrence
max_pool = engine.max_pool
minimal_gates = engine.minimal_gates
minimal_recurrence = engine.minimal_recurrence
packed = engine.packed
read_kernel = engine.read_kernel
same_conv = engine.same_conv
scan = engine.scan
sigmoid_gradient = engine.sigmoid_gradient
split_channels = engine.split_channels
tanh = engine.tanh
tanh_gradient = engine.tanh_gradient
upsample = engine.upsample

__all__ = [
    "CompiledCalls",
    "accelerator",
    "as_one",
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
    "linear_recurrence",
    "max_pool",
    "minimal_gates",
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
