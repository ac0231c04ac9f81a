"""Convolutions of `(batch, height, width, channels)`, and their gradients: what loops over time are made of."""

import contextlib
import contextvars
import functools
from collections.abc import Iterator

import keras
from keras import ops

from keras_frnn.backend.devices import batch_shards, jax_is_on_cpu

# Values of inputs and gradients, in float32 the 2 MB and 32 MB that are common for a core's cache and for that of all.
_CACHED_VALUES, _CACHED_BY_ALL = 2**19, 2**23
_is_in_loop = contextvars.ContextVar("is_in_loop", default=False)


@contextlib.contextmanager
def inside_of_a_loop() -> Iterator[None]:
    """A context in which JAX traces the body of a loop, see `kernel_gradient`."""
    token = _is_in_loop.set(True)
    try:
        yield
    finally:
        _is_in_loop.reset(token)


def same_conv(x, kernel):
    """Stride-1 convolution that keeps height and width; the kernel is `(kh, kw, inputs, outputs)`."""
    if keras.backend.backend() == "jax":
        # JAX's own gradient would take the kernel's from all frames at once, see `kernel_gradient`. It is traced later,
        # so that it is asked here whether this is a loop.
        return ops.custom_gradient(functools.partial(_conv_and_gradient, in_loop=_is_in_loop.get()))(x, kernel)
    return _conv(x, kernel)


def _conv_and_gradient(x, kernel, in_loop):
    def gradient(upstream):
        return input_gradient(upstream, flipped(kernel)), kernel_gradient(x, upstream, kernel.shape[:2], in_loop)

    return _conv(x, kernel), gradient


def _conv(x, kernel):
    if keras.backend.backend() == "torch" and not torch_convolves(x):
        return ops.cast(_conv(ops.cast(x, "float32"), ops.cast(kernel, "float32")), x.dtype)
    if _torch_reads_channels_first(x):
        kernel = ops.convert_to_tensor(kernel).permute(3, 2, 0, 1).contiguous().permute(2, 3, 1, 0)
    return _channels_last(lambda x, data_format: ops.conv(x, kernel, padding="same", data_format=data_format), x)


def max_pool(x, size: tuple[int, int]):
    """Maxima over blocks. Frames of another size than was known when this was compiled must be divisible, too."""
    x = _divisible(x, size)
    if keras.backend.backend() == "jax" and jax_is_on_cpu():
        return ops.custom_gradient(functools.partial(_max_pool_and_gradient, size=size))(x)
    return _max_pool(x, size)


def _max_pool(x, size):
    return _channels_last(lambda x, data_format: ops.max_pool(x, size, strides=size, data_format=data_format), x)


def _max_pool_and_gradient(x, size):
    """The maxima, and a function that hands their gradients to the first of the greatest of each block.

    JAX's own gradient scatters them, which on CPUs takes many times as long, both to compile and to run.
    """

    def gradient(upstream):
        *places, channels = upstream.shape
        blocks = ops.reshape(space_to_depth(x, size), (*places, -1, channels))
        greatest = ops.argmax(blocks, axis=3)[:, :, :, None]
        here = ops.arange(size[0] * size[1], dtype=greatest.dtype)[:, None] == greatest
        return depth_to_space(ops.reshape(ops.where(here, upstream[:, :, :, None], 0), (*places, -1)), size)

    return _max_pool(x, size), gradient


def _divisible(x, factors: tuple[int, int]):
    """The same frames; TensorFlow checks while it runs what it did not know when it compiled."""
    if None not in x.shape[-3:-1]:
        return x
    import tensorflow as tf

    size = tf.shape(x)[-3:-1]
    fits = tf.debugging.assert_equal(
        size % factors, [0, 0], message=f"Height and width of what is pooled must be multiples of {factors}."
    )
    with tf.control_dependencies([fits]):
        return tf.identity(x)


def _channels_last(function, x):
    if keras.backend.backend() != "torch":
        return function(x, "channels_last")
    # Torch names the channels first and convolves fastest where they lie last in memory, which this is: both transposes
    # change the names of axes only. Keras would move the data, before and after each call.
    return ops.transpose(function(ops.transpose(x, (0, 3, 1, 2)), "channels_first"), (0, 2, 3, 1))


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


def upsample(x, factors: tuple[int, int]):
    """Nearest-neighbour upsampling of `(..., height, width, channels)`."""
    for axis, factor in enumerate(factors, start=len(x.shape) - 3):
        if factor == 1:
            continue
        if keras.backend.backend() == "jax":
            x = ops.repeat(x, factor, axis=axis)
        else:
            # Inside a loop, TensorFlow's gradient of `ops.repeat` does not compile under XLA.
            x = ops.stack([x] * factor, axis=axis + 1)
            shape = ops.shape(x)
            x = ops.reshape(x, (*shape[:axis], shape[axis] * factor, *shape[axis + 2 :]))
    return x


def upsampled_conv(x, kernel, factors: tuple[int, int]):
    """`same_conv(upsample(x, factors), kernel)`, with less arithmetic where the kernel allows.

    Neighbouring pixels of an upsampled image are equal, so the taps of the kernel that fall on equal ones can be summed
    first. Which do depends on the place of the output pixel among those that came from one: every such place has a
    smaller kernel of its own on the image as it was. For factors of 2, a 5x5 kernel becomes four of 3x3.
    """
    taps = _shared_taps(kernel, factors)
    if taps is None:
        return same_conv(upsample(x, factors), kernel)
    return depth_to_space(same_conv(x, packed(_kernels_of_places(kernel, *taps))), factors)


def upsampled_conv_gradients(x, kernel, factors: tuple[int, int], gradient):
    """The gradients of `upsampled_conv` with respect to `x` and the kernel, given that with respect to its output."""
    taps = _shared_taps(kernel, factors)
    if taps is None:
        batch, height, width, channels = ops.shape(x)
        dx = input_gradient(gradient, flipped(kernel))
        dx = ops.sum(ops.reshape(dx, (batch, height, factors[0], width, factors[1], channels)), axis=(2, 4))
        return dx, kernel_gradient(upsample(x, factors), gradient, kernel.shape[:2])
    rows, columns = taps
    kernels = _kernels_of_places(kernel, rows, columns)
    gradient = space_to_depth(gradient, factors)
    dkernels = kernel_gradient(x, gradient, kernels.shape[:2])
    dkernels = ops.reshape(dkernels, (*kernels.shape[:3], *factors, -1))
    dkernel = ops.einsum("upa,vqb,uvipqo->abio", rows, columns, dkernels)
    return input_gradient(gradient, flipped(kernels)), dkernel


def _shared_taps(kernel, factors: tuple[int, int]):
    """For rows and columns, which taps of the kernel fall on one pixel; None if summing them saves nothing."""
    sides = kernel.shape[:2]
    small = [2 * -(-(side // 2) // factor) + 1 for side, factor in zip(sides, factors, strict=True)]
    if any(side % 2 == 0 for side in sides) or small[0] * small[1] >= sides[0] * sides[1]:
        return None
    return [
        ops.cast(ops.convert_to_tensor(_taps_to_pixels(*sizes), "bool"), kernel.dtype)
        for sizes in zip(sides, factors, small, strict=True)
    ]


def _kernels_of_places(kernel, rows, columns):
    # An einsum of all three takes several times as long on TensorFlow; and `ops.tensordot` returns float32 on Torch.
    kernels = ops.einsum("uvpqab,abio->uvipqo", ops.einsum("upa,vqb->uvpqab", rows, columns), kernel)
    return ops.reshape(kernels, (rows.shape[0], columns.shape[0], kernel.shape[2], -1))


def _taps_to_pixels(side: int, factor: int, small: int) -> list:
    """1 where a tap of the kernel falls on a pixel before upsampling: `(pixels, places, taps)`."""

    def pixel(place: int, tap: int) -> int:
        return (place + tap - side // 2) // factor + small // 2

    # Lists, because torch.compile does not go through what NumPy makes.
    return [[[pixel(i, j) == p for j in range(side)] for i in range(factor)] for p in range(small)]


def split_channels(x, first: int):
    """The first channels, and the others.

    Not slices: their gradients would be two tensors of zeros, filled in and added. And not `ops.split`, which makes a
    tensor of the place on Torch, whose exporters then do not know it.
    """
    backend, sizes = keras.backend.backend(), [first, x.shape[-1] - first]
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.split(x, sizes, axis=-1)
    if backend == "torch":
        return x.split(sizes, dim=-1)
    return x[..., :first], x[..., first:]


def torch_convolves(x) -> bool:
    """Whether Torch has fast convolutions for this tensor's device and dtype.

    Without oneDNN's, its own of 16-bit numbers are slow, and their gradients fail where channels come last. Then the
    convolution is computed in float32.
    """
    import torch

    if x.device.type != "cpu":
        return True
    if x.dtype == torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return x.dtype != torch.float16 or torch.ops.mkldnn._is_mkldnn_fp16_supported()


def _torch_reads_channels_first(x) -> bool:
    """Whether Torch wants the kernel for this tensor with its channels first in memory.

    oneDNN has no float64, and the gradient of Torch's own convolution fails for some kernels of one output channel that
    lie otherwise.
    """
    return keras.backend.backend() == "torch" and x.device.type == "cpu" and str(x.dtype) == "torch.float64"


def read_kernel(variable, dtype: str):
    """The tensor of a kernel. In Torch, its gradient gets the kernel's strides, also along axes of length 1.

    Those mean nothing, and Torch leaves them as they are; but `DistributedDataParallel` compares them, and warns.
    """
    if keras.backend.backend() == "torch":
        variable = ops.reshape(ops.reshape(variable, (-1,)), variable.shape)  # Both are views.
    return ops.cast(variable, dtype)


def packed(kernel):
    """The same kernel, in memory as convolutions read it. For a loop: packing costs as much as a small convolution."""
    if keras.backend.backend() != "torch":
        return kernel
    return kernel.permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0)


def transposed(kernel):
    """The kernel of the transposed convolution: flipped in height and width, with its channel axes swapped."""
    height, width, inputs, outputs = kernel.shape
    places = ops.flip(ops.reshape(kernel, (height * width, inputs, outputs)), axis=0)
    return ops.reshape(ops.transpose(places, (0, 2, 1)), (height, width, outputs, inputs))


def flipped(kernel):
    """The kernel as `input_gradient` takes it."""
    if keras.backend.backend() == "tensorflow":
        return kernel
    return packed(transposed(kernel))


def input_gradient(gradient, flipped_kernel):
    """The gradient of `same_conv` with respect to its input, given that with respect to its output.

    It is `same_conv` with the `transposed` kernel; TensorFlow has an operation for it that spares
    the copy of the kernel.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        shape = (*ops.shape(gradient)[:3], flipped_kernel.shape[2])
        return tf.raw_ops.Conv2DBackpropInput(
            input_sizes=shape, filter=flipped_kernel, out_backprop=gradient, strides=[1, 1, 1, 1], padding="SAME"
        )
    # Where a side is even, "same" pads one pixel more at the end, and the gradient needs it at the beginning.
    extra = [[1 - side % 2, 0] for side in flipped_kernel.shape[:2]]
    if extra == [[0, 0], [0, 0]]:
        return same_conv(gradient, flipped_kernel)
    height, width = ops.shape(gradient)[1:3]
    return same_conv(ops.pad(gradient, [[0, 0], *extra, [0, 0]]), flipped_kernel)[:, :height, :width]


def kernel_gradient(x, gradient, kernel_size: tuple[int, int], in_loop: bool = False):
    """The gradient of `same_conv` with respect to its kernel, `(kh, kw, inputs, outputs)`.

    `keras.ops` has no operation for it, so each backend's own is called. Inside of loops, XLA for CPUs has no fast one:
    there, it is one product of matrices for each row of the kernel.
    """
    shape = (*kernel_size, x.shape[-1], gradient.shape[-1])
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.raw_ops.Conv2DBackpropFilter(
            input=x, filter_sizes=shape, out_backprop=gradient, strides=[1, 1, 1, 1], padding="SAME"
        )
    if backend == "jax":
        import jax

        def of_frames(x, gradient):
            kernel = jax.ShapeDtypeStruct(shape, x.dtype)
            return jax.linear_transpose(lambda kernel: _conv(x, kernel), kernel)(gradient)[0]

        if not jax_is_on_cpu():
            return of_frames(x, gradient)
        if in_loop:
            return _by_matrix_products(x, gradient, kernel_size)
        # XLA for CPUs is much faster at this on no more than what their caches hold: of each device's frames some. But
        # every part takes its time to compile.
        a_frame = x[0].size + gradient[0].size
        frames = len(x) if len(x) * a_frame <= _CACHED_BY_ALL else max(1, _CACHED_VALUES // a_frame)
        shards = batch_shards() if len(x) % batch_shards() == 0 else 1
        x, gradient = (ops.reshape(part, (shards, -1, *part.shape[1:])) for part in (x, gradient))

        def some(part, first):
            return ops.reshape(part[:, first : first + frames], (-1, *part.shape[2:]))

        return sum(of_frames(some(x, i), some(gradient, i)) for i in range(0, x.shape[1], frames))
    import torch

    if not torch_convolves(x):
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
    result = torch.nn.grad.conv2d_weight(x, (shape[3], shape[2], *kernel_size), gradient, padding=padding)
    return result.permute(2, 3, 1, 0)


def _by_matrix_products(x, gradient, kernel_size: tuple[int, int]):
    _, height, width, _ = x.shape
    padding = [((side - 1) // 2, side // 2) for side in kernel_size]
    x = ops.pad(x, [(0, 0), *padding, (0, 0)])
    # All columns of the kernel are one product, which compiles sooner than one of each.
    x = ops.concatenate([x[:, :, column : column + width] for column in range(kernel_size[1])], axis=-1)
    rows = [
        ops.tensordot(x[:, row : row + height], gradient, axes=[[0, 1, 2], [0, 1, 2]]) for row in range(kernel_size[0])
    ]
    return ops.reshape(ops.stack(rows), (*kernel_size, -1, gradient.shape[-1]))
