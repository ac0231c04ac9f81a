"""Functions that are the same for all engines, composed of theirs."""

from keras import ops

from keras_frnn.backend import engine
from keras_frnn.backend.common import depth_to_space, linear_recurrence_gradients, space_to_depth


def upsampled_conv(x, kernel, factors: tuple[int, int]):
    """`same_conv(upsample(x, factors), kernel)`, with less arithmetic where the kernel allows.

    Neighboring pixels of an upsampled image are equal, so the taps of the kernel that fall on equal ones can be summed
    first. Which do depends on the place of the output pixel among those that came from one: every such place has a
    smaller kernel of its own on the image as it was. For factors of 2, a 5x5 kernel becomes four of 3x3.
    """
    taps = _shared_taps(kernel, factors)
    if taps is None:
        return engine.same_conv(engine.upsample(x, factors), kernel)
    return depth_to_space(engine.same_conv(x, engine.packed(_kernels_of_places(kernel, *taps))), factors)


def upsampled_conv_gradients(x, kernel, factors: tuple[int, int], gradient):
    """The gradients of `upsampled_conv` with respect to `x` and the kernel, given that with respect to its output."""
    taps = _shared_taps(kernel, factors)
    if taps is None:
        batch, height, width, channels = ops.shape(x)
        dx = engine.input_gradient(gradient, engine.flipped(kernel))
        dx = ops.sum(ops.reshape(dx, (batch, height, factors[0], width, factors[1], channels)), axis=(2, 4))
        return dx, engine.kernel_gradient(engine.upsample(x, factors), gradient, kernel.shape[:2])
    rows, columns = taps
    kernels = _kernels_of_places(kernel, rows, columns)
    gradient = space_to_depth(gradient, factors)
    dkernels = engine.kernel_gradient(x, gradient, kernels.shape[:2])
    dkernels = ops.reshape(dkernels, (*kernels.shape[:3], *factors, -1))
    dkernel = ops.einsum("upa,vqb,uvipqo->abio", rows, columns, dkernels)
    return engine.input_gradient(gradient, engine.flipped(kernels)), dkernel


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


def minimal_recurrence_gradients(h, x, upstream):
    """The gradients of `minimal_recurrence` with respect to `h` and `x`, given that with respect to the states."""
    keep, c = engine.minimal_gates(x)
    states = engine.linear_recurrence(keep, c - keep * c, h)
    upstream = ops.concatenate([ops.zeros_like(h)[None], upstream])
    dkeep, db, dh = linear_recurrence_gradients(engine.linear_recurrence, keep, states, upstream)
    dkeep = dkeep - db * c
    dc = db * (1 - keep)
    return dh, ops.concatenate([-engine.sigmoid_gradient(keep, dkeep), engine.tanh_gradient(c, dc)], axis=-1)
