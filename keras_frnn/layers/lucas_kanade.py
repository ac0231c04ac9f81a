"""Optical flow as functions of tensors: how far every pixel of a frame has moved since the frame before.

The flow `v` from a frame to the one before tells where each pixel came from: `before(p + v(p)) = after(p)`, in pixels.
Lucas and Kanade assume that all pixels of a small window moved alike. With `m` the mean of both frames, `d` their
difference and sums over the window, they solve

    [ sum mx mx + k   sum mx my     ] [vx]       [ sum mx d ]
    [ sum mx my       sum my my + k ] [vy]  =  - [ sum my d ]

where `k` keeps the flow at zero where there is nothing to see. Beginning with small copies of both frames, each level
of the pyramid moves `before` by the flow that is known and adds what is left.

Images here are `(..., height, width)`. They are blurred, halved and doubled by matrices from the left and from the
right: that takes less time than shifted copies of small images do, and compilers cannot merge it into loops that
compute everything again for every neighbor.

Reference: Bouguet, "Pyramidal Implementation of the Lucas Kanade Feature Tracker", Intel, 2000.
"""

import numpy as np
from keras import ops

from keras_frnn.layers import layout

_LEVELS = 3
_STIFFNESS = 1e-3  # `k`, for frames in [0, 1].
_LONGEST = 2.0  # Pixels that one level adds at most: beyond that, the linear model does not hold.
_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def optical_flow(video):
    """The flow from every frame but the first to the frame before it.

    Args:
        video: float32 or float64 tensor `(time + 1, batch, height, width, channels)`, values in [-1, 1], of which the
            mean of all channels counts.

    Returns:
        Tensor `(time, batch, height, width, 2)`: pixels to the right and down.
    """
    pyramid = [_blurred((ops.mean(video, axis=-1) + 1) / 2)]
    for _ in range(_LEVELS - 1):
        pyramid.append(_halved(_blurred(pyramid[-1])))
    flow = None  # Right and down first, then as the images.
    for images in reversed(pyramid):
        after, before = images[1:], images[:-1]
        if flow is None:
            flow = ops.stack(_missing_flow(after, before))
        else:
            flow = 2 * _doubled(flow, after)
            shown = layout.over_time(moved, before[..., None], ops.moveaxis(flow, 0, -1))[..., 0]
            flow = flow + ops.stack(_missing_flow(after, shown))
        flow = _blurred(flow)
    return ops.moveaxis(flow, 0, -1)


def moved(frames, flow):
    """Every pixel from where the flow says it came from, interpolated between four pixels; beyond edges, the edge's.

    Args:
        frames: tensor `(batch, height, width, channels)`.
        flow: tensor `(batch, height, width, 2)`, see `optical_flow`.

    Returns:
        Tensor `(batch, height, width, channels)`.
    """
    batch, height, width, channels = ops.shape(frames)
    left, right, x = _between(flow[..., 0] + ops.arange(width, dtype=flow.dtype), width)
    top, bottom, y = _between(flow[..., 1] + ops.arange(height, dtype=flow.dtype)[:, None], height)
    pixels = ops.reshape(frames, (-1, channels))
    first = ops.arange(batch, dtype="int32")[:, None, None] * (height * width)

    def row(index):
        at_left, at_right = (ops.take(pixels, first + index * width + column, axis=0) for column in (left, right))
        return at_left + x * (at_right - at_left)

    above = row(top)
    return above + y * (row(bottom) - above)


def local_mean(frames):
    """The mean around each pixel, over 9x9 pixels of which close ones count more; beyond edges, the edge's count.

    Args:
        frames: tensor `(batch, height, width)`.
    """
    return _blurred(_blurred(frames))


def _missing_flow(after, before):
    """The solution of the equations above at every pixel, of frames that are less than a pixel or two apart."""
    mean, difference = (after + before) / 2, before - after
    right, down = _slope(mean, axis=-1), _slope(mean, axis=-2)
    products = [right * right, right * down, down * down, right * difference, down * difference]
    xx, xy, yy, xd, yd = ops.unstack(local_mean(ops.stack(products)), 5)
    xx, yy = xx + _STIFFNESS, yy + _STIFFNESS
    determinant = xx * yy - xy * xy
    solution = (xy * yd - yy * xd) / determinant, (xy * xd - xx * yd) / determinant
    return [ops.clip(part, -_LONGEST, _LONGEST) for part in solution]


def _between(place, length):
    """For places along an axis: the pixels before and after each one, and how far it is from the first of them."""
    place = ops.clip(place, 0, ops.cast(length - 1, place.dtype))
    low = ops.floor(place)
    index = ops.cast(low, "int32")
    return index, ops.minimum(index + 1, length - 1), (place - low)[..., None]


def _blurred(image):
    return _on_both_axes(image, lambda length: _neighbors(length, _BINOMIAL))


def _slope(image, axis: int):
    matrix = ops.cast(_neighbors(ops.shape(image)[axis], (-1 / 2, 0, 1 / 2)), image.dtype)
    return ops.matmul(matrix, image) if axis == -2 else ops.matmul(image, ops.transpose(matrix))


def _halved(image):
    """Every second pixel of every second row; half the height and width, rounded up."""
    return image[..., ::2, ::2]


def _doubled(image, like):
    """The inverse of `_halved`, to the size of the image `like`: pixels in between are means of their neighbors."""

    def matrix(length):
        pixels = _neighbors(length, (1 / 2, 1, 1 / 2))[:, ::2]
        return pixels / _arrays(length).sum(pixels, axis=1, keepdims=True)  # The last pixel may have one neighbor only.

    return _on_both_axes(image, matrix, like)


def _on_both_axes(image, matrix, like=None):
    """The image times `matrix(length)` on each axis, of the lengths of the image `like`, or its own."""
    height, width = (
        ops.cast(matrix(length), image.dtype) for length in ops.shape(image if like is None else like)[-2:]
    )
    return ops.matmul(ops.matmul(height, image), ops.transpose(width))


def _neighbors(length, weights):
    """The matrix whose product with a column of pixels is, for each one, the weighted sum of it and its neighbors.

    Beyond the ends stands the last pixel.
    """
    arrays = _arrays(length)
    places = arrays.arange(length, dtype="int32")
    matrix = 0.0
    for shift, weight in enumerate(weights, start=-(len(weights) // 2)):
        neighbor = arrays.clip(places + shift, 0, length - 1)
        matrix = matrix + arrays.where(neighbor[:, None] == places, weight, 0.0)
    return matrix


def _arrays(length):
    """What to compute a matrix with: NumPy where the size of frames is known, so that it is a constant."""
    return np if isinstance(length, int) else ops
