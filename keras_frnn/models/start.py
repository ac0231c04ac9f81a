"""Starting a network from the weights of another one."""

import numpy as np
from keras import ops

from keras_frnn.layers import layout
from keras_frnn.layers.folded_conv2d import FoldedConv2D
from keras_frnn.layers.folded_layer import FoldedKernelLayer, FoldedLayer
from keras_frnn.layers.folded_motion2d import FoldedMotion2D
from keras_frnn.layers.folded_residual2d import FoldedResidual2D
from keras_frnn.models.layer_stack import LayerStack


def start_from(model: LayerStack, source: LayerStack) -> list[str]:
    """Gives a network the weights of another one, as far as the two are alike.

    The layers are compared one by one, from the frame up, as far as the shorter network goes. The size of the frames
    does not matter.

    - Equal layers take over the weights.
    - A layer with more filters than the source's keeps the weights of the further ones, but the kernels that connect
      them to the others become zero. So a wider network of as many layers forecasts as the source does until it is
      trained.
    - Gray from color: kernels that read frames are summed over the colors, those that write frames are averaged. A gray
      video is forecast as the source forecasts it in color, as far as it predicts gray.
    - Color from gray: every color is written as the source writes gray, and the mean of the colors is read. A color's
      own past is read by this color alone.
    - From other numbers of channels, the first channels take over the weights.
    - A FoldedConv2D as the lowest layer reads and writes with the same kernel, so that the conversion of color is a
      compromise there: it needs more training.
    - A FoldedMotion2D that the source lacks is added below. The kernels between its estimates and the layer above are
      zero: nothing is read from them yet, and they are decoded as their update gates' bias says.
    - A FoldedResidual2D that the source lacks keeps its weights: a new one changes nothing.
    - Layers above those of the source keep their weights.

    Args:
        model: the network whose weights change; built.
        source: the other network; built.

    Returns:
        A sentence about each difference between the networks; an empty list if all weights are the source's.

    Raises:
        ValueError: a network is not built, the two are of different classes, or a layer differs from the source's in
            kind or kernel size, or has fewer filters.

    Example:

    >>> from keras_frnn import models
    >>> source = models.FoldedRNN.from_topology([("patch", 2), ("recurrent", 4, 3)], 10)
    >>> model = models.FoldedRNN.from_topology([("patch", 2), ("recurrent", 6, 3)], 10)
    >>> source.build((None, None, 32, 32, 3)); model.build((None, None, 64, 64, 1))
    >>> start_from(model, source)
    ["The source's frames have 3 channels, these 1.", 'Layer 2 has 6 filters, 4 of them from the source.']

    Reference: Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016, for the idea that a
    wider network starts from the function of a narrower one.
    """
    _check(model, source)
    channels, theirs = _channels(model), _channels(source)
    report = [f"The source's frames have {theirs} channels, these {channels}."] if channels != theirs else []
    estimates, their_estimates = _estimates(model), _estimates(source)
    added = _is_motion_added(model, source)
    pairs, lowest = _pairs(model, source), True
    for number, layer, other in pairs:
        if other is None:
            report.append(f"The source has no {type(layer).__name__} there: layer {number} is new.")
            continue
        for weight, initial in zip(layer.weights, other.weights, strict=True):
            new, old = (np.array(ops.convert_to_numpy(part)) for part in (weight, initial))
            if isinstance(layer, FoldedKernelLayer):
                tied = isinstance(layer, FoldedConv2D)
                old, axes = _split(weight.path, old, other, theirs + their_estimates if lowest else None)
                if lowest and channels != theirs:
                    old = _with_estimates(old, axes, channels, theirs, tied)
                new, _ = _split(weight.path, new, layer, channels + estimates if lowest else None)
                old = _widened(new, old, tied)
                if lowest and added and axes[-1] and old.ndim > 3:
                    old[..., -estimates:] = 0
                old = old.reshape(weight.shape)
            weight.assign(old)
        lowest = lowest and not layer.weights
        if getattr(layer, "filters", 0) != getattr(other, "filters", 0):
            report.append(f"Layer {number} has {layer.filters} filters, {other.filters} of them from the source.")
    depth, kept = sum(other is not None for *_, other in pairs), len(source.stack)
    if len(pairs) < len(model.stack):
        report.append(f"The source has {kept} layers; those above start with new weights.")
    if depth < kept:
        report.append(f"The source has {kept} layers, of which the lowest {depth} are used.")
    return report


def _split(path: str, array: np.ndarray, layer: FoldedKernelLayer, channels: int | None):
    """A weight with each axis of channels split into groups, such as gates; positions in a patch; and channels.

    Args:
        path: name of the weight with those of its layer and its direction.
        array: its value.
        layer: its layer.
        channels: of the frames, if the layer is the lowest one; of the layer's input if None.

    Returns:
        The array, `(height, width, 3 axes of input, 3 axes of output)` or `(3 axes of output)`, and for each axis of
        channels whether it is that of the layer's input.
    """
    *_, inputs = layer.size_and_channels(layer.sequence_shape)
    *_, direction, name = path.split("/")
    axes: tuple[bool, ...]
    if direction == "encoder":
        axes = (name == "kernel", False)
    elif direction == "decoder":
        axes = (name != "kernel", True)
    else:
        axes = (True, name in ("decoder_bias", "initial_decoder_state"))
    axes = axes if array.ndim > 1 else axes[1:]  # A bias, or an initial state, has one axis.
    shape = []
    for length, of_input in zip(array.shape[-len(axes) :], axes, strict=True):
        size = inputs if of_input else layer.filters
        positions = inputs // channels if of_input and channels else 1
        shape += [length // size, positions, size // positions]
    return array.reshape(*array.shape[: -len(axes)], *shape), axes


def _converted(old: np.ndarray, axes: tuple[bool, ...], channels: int, tied: bool) -> np.ndarray:
    """A weight of the lowest layer, split, for frames of another number of channels."""
    read, written = axes[0] and len(axes) == 2, axes[-1]
    if channels == 1:
        if read:
            old = old.sum(-4, keepdims=True) / (np.sqrt(old.shape[-4]) if tied else 1)
        return old.mean(-1, keepdims=True) if written else old
    if (old.shape[-4] if read else old.shape[-1]) == 1 and (read or written):
        if read and written:
            return old * np.eye(channels, dtype=old.dtype)[:, None, None, :]
        if read:
            return old.repeat(channels, -4) / (np.sqrt(channels) if tied else channels)
        return old.repeat(channels, -1)
    if read:
        old = old[..., :channels, :, :, :]
    return old[..., :channels] if written else old


def _with_estimates(old: np.ndarray, axes: tuple[bool, ...], channels: int, theirs: int, tied: bool) -> np.ndarray:
    """`_converted`, where channels of a FoldedMotion2D come after those of frames: they stay as they are."""

    def convert(part, axes):
        """Of one or both axes, a part that belongs to frames."""
        return _converted(part, axes, channels, tied) if any(axes) else part

    if len(axes) == 1:
        written, rest = np.split(old, [theirs], axis=-1) if axes[-1] else (old, old[..., :0])
        return np.concatenate([convert(written, axes), rest], axis=-1)
    rows = np.split(old, [theirs], axis=-4) if axes[0] else [old]
    converted = []
    for row, read in zip(rows, (axes[0], False), strict=False):
        blocks = np.split(row, [theirs], axis=-1) if axes[1] else [row]
        parts = [convert(block, (read, written)) for block, written in zip(blocks, (axes[1], False), strict=False)]
        converted.append(np.concatenate(parts, axis=-1))
    return np.concatenate(converted, axis=-4)


def _widened(new: np.ndarray, old: np.ndarray, tied: bool) -> np.ndarray:
    """The weight `new` with `old` as its part for the first channels, which nothing else influences; both split."""
    outputs = old.shape[-1]
    if old.ndim == 3:  # A bias, or an initial state.
        new[..., :outputs] = old
        return new
    inputs = old.shape[-4]
    new[..., inputs:, :, :, :outputs] = 0
    if tied:
        new[..., :inputs, :, :, outputs:] = 0
    new[..., :inputs, :, :, :outputs] = old
    return new


def _estimates(model: LayerStack) -> int:
    """The number of channels that the lowest layer adds to those of frames."""
    layer = model.stack[0]
    if not isinstance(layer, FoldedMotion2D):
        return 0
    shape = layer.encoded_shape(layer.sequence_shape)
    return layout.frame_size_and_channels(shape, layer.data_format)[2] - _channels(model)


def _is_motion_added(model: LayerStack, source: LayerStack) -> bool:
    """Whether the lowest layer is a FoldedMotion2D that the source lacks."""
    return bool(_estimates(model) and not _estimates(source))


def _pairs(model: LayerStack, source: LayerStack) -> list[tuple[int, FoldedLayer, FoldedLayer | None]]:
    """As far as the source goes: numbers of layers, the layers, and those to start from; None for a new one."""
    others, pairs = list(source.stack), []
    for number, layer in enumerate(model.stack, start=1):
        if not others:
            break
        is_new = isinstance(layer, FoldedResidual2D) and not isinstance(others[0], FoldedResidual2D)
        is_new = is_new or (number == 1 and _is_motion_added(model, source))
        pairs.append((number, layer, None if is_new else others.pop(0)))
    return pairs


def _channels(model: LayerStack) -> int:
    return model.stack[0].size_and_channels(model.stack[0].sequence_shape)[2]


def _check(model: LayerStack, source: LayerStack):
    for name, network in (("model", model), ("source", source)):
        if not isinstance(network, LayerStack):
            raise ValueError(f"`{name}` must be a FoldedRNN or a LadderRNN. Received: {name}={network!r}")
        if not network.built:
            raise ValueError(f"`{name}` has no weights yet. Call it on frames, or build it, before.")
    if type(model) is not type(source):
        raise ValueError(
            f"A {type(model).__name__} starts from a {type(model).__name__}. Received: a {type(source).__name__}"
        )
    for number, layer, other in _pairs(model, source):
        if other is None:
            continue
        ours, theirs = _kind(layer), _kind(other)
        fits = ours == theirs and getattr(layer, "filters", 0) >= getattr(other, "filters", 0)
        if not isinstance(layer, FoldedKernelLayer):
            fits = fits and [w.shape for w in layer.weights] == [w.shape for w in other.weights]
        if not fits:
            raise ValueError(
                f"Layer {number} cannot start from the source's. Expected: {_shown(other)}"
                f"{', or with more filters' * hasattr(other, 'filters')}. Received: {_shown(layer)}. Change the "
                "network's layers, or start from another network."
            )


def _kind(layer: FoldedLayer) -> tuple:
    return type(layer), getattr(layer, "kernel_size", None), layer.downsampling


def _shown(layer: FoldedLayer) -> str:
    details = []
    if isinstance(layer, FoldedKernelLayer):
        details.append(f"{layer.filters} filters, {'x'.join(map(str, layer.kernel_size))}")
    elif layer.weights:
        details.append(f"weights {[tuple(weight.shape) for weight in layer.weights]}")
    if layer.downsampling != (1, 1):
        details.append(f"size {'x'.join(map(str, layer.downsampling))}")
    return f"{type(layer).__name__}({', '.join(details)})"
