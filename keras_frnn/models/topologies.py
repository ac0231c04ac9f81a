"""Layers from lists of `("conv", filters, kernel_size)`, `("pool", size)`, `("patch", size)`, `("motion",)`,
`("residual", expansion, kernel_size)`, `("recurrent", filters, kernel_size)` and `("minimal", filters, kernel_size)`.
"""

from collections.abc import Sequence
from typing import Any

import keras

from keras_frnn.layers.bridge_ladder import BridgeLadder
from keras_frnn.layers.folded_conv2d import FoldedConv2D
from keras_frnn.layers.folded_conv_gru import FoldedConvGRU
from keras_frnn.layers.folded_max_pooling2d import FoldedMaxPooling2D
from keras_frnn.layers.folded_min_conv_gru import FoldedMinConvGRU
from keras_frnn.layers.folded_motion2d import FoldedMotion2D
from keras_frnn.layers.folded_patch2d import FoldedPatch2D
from keras_frnn.layers.folded_residual2d import FoldedResidual2D
from keras_frnn.layers.initializers import independent_initializers

_KINDS = {
    FoldedConv2D: "conv",
    FoldedMinConvGRU: "minimal",
    FoldedMotion2D: "motion",
    FoldedPatch2D: "patch",
    FoldedMaxPooling2D: "pool",
    FoldedResidual2D: "residual",
    FoldedConvGRU: "recurrent",
    BridgeLadder: "recurrent",
}
_LENGTHS = {"conv": 3, "minimal": 3, "motion": 1, "patch": 2, "pool": 2, "recurrent": 3, "residual": 3}


def layers_from_topology(topology: Sequence[tuple], recurrent_layer, **kwargs) -> list:
    """Layers for the entries of a topology.

    Args:
        topology: see this module.
        recurrent_layer: class of the layers for `"recurrent"` entries. `"minimal"` entries require `FoldedConvGRU`.
        kwargs: arguments of every layer that has a kernel; `update_bias` and `decoder_update_bias` only of those with a
            state, `data_format` and `dtype` of all layers.

    Raises:
        ValueError: an entry that is not one of these kinds.
    """
    names = ("update_bias", "decoder_update_bias")
    of_states: dict[str, Any] = {name: kwargs.pop(name) for name in names if name in kwargs}
    general = {key: kwargs[key] for key in ("data_format", "dtype") if key in kwargs}
    # One initializer object would draw the same values for every layer.
    initializer = keras.initializers.get(kwargs.pop("kernel_initializer", "glorot_uniform"))
    initializers = independent_initializers(initializer, len(topology))
    layers = []
    for index, entry in enumerate(topology):
        kind = entry[0] if isinstance(entry, (tuple, list)) and entry else None
        if kind not in _LENGTHS or len(entry) != _LENGTHS[kind]:
            raise ValueError(
                "A topology's entries are ('conv', filters, kernel_size), ('pool', size), ('patch', size), "
                "('motion',), ('residual', expansion, kernel_size), ('recurrent', filters, kernel_size) and "
                "('minimal', filters, kernel_size). "
                f"Received: entry {index} = {entry!r}"
            )
        if kind == "minimal" and recurrent_layer is not FoldedConvGRU:
            raise ValueError(
                "Minimal updates are for a FoldedRNN: in a ladder network, gates read what is predicted step by step. "
                f"Make it ('recurrent', filters, kernel_size). Received: entry {index} = {entry!r}"
            )
        if kind == "pool":
            layers.append(FoldedMaxPooling2D(entry[1], **general))
        elif kind == "motion":
            layers.append(FoldedMotion2D(**general))
        elif kind == "patch":
            layers.append(FoldedPatch2D(entry[1], **general))
        else:
            layer = {
                "conv": FoldedConv2D,
                "minimal": FoldedMinConvGRU,
                "recurrent": recurrent_layer,
                "residual": FoldedResidual2D,
            }[kind]
            arguments = kwargs if kind in ("conv", "residual") else {**kwargs, **of_states}
            layers.append(layer(*entry[1:], kernel_initializer=initializers[index], **arguments))
    return layers


def topology_of(layers: Sequence[keras.layers.Layer]) -> list[tuple]:
    """The topology of a network's layers: their kinds and sizes, without their other arguments.

    Raises:
        ValueError: a layer is not one of those that topologies have.
    """
    topology: list[tuple] = []
    for index, layer in enumerate(layers):
        kind = _KINDS.get(type(layer))
        if kind is None:
            raise ValueError(
                f"Topologies have layers of the kinds {', '.join(_LENGTHS)}. Received: layer {index + 1} is a "
                f"{type(layer).__name__}"
            )
        if kind == "motion":
            topology.append((kind,))
        elif kind in ("patch", "pool"):
            topology.append((kind, _side(layer.downsampling)))
        elif kind == "residual":
            topology.append((kind, layer.expansion, _side(layer.kernel_size)))
        else:
            topology.append((kind, layer.filters, _side(layer.kernel_size)))
    return topology


def _side(size: tuple[int, int]) -> int | tuple[int, int]:
    return size[0] if size[0] == size[1] else size
