"""Networks as lists of `("conv", filters, kernel_size)`, `("pool", size)` and `("recurrent", filters, kernel_size)`."""

from collections.abc import Sequence

from keras_frnn.layers.folded_conv2d import FoldedConv2D
from keras_frnn.layers.folded_max_pooling2d import FoldedMaxPooling2D

PAPER_TOPOLOGY = (
    ("conv", 32, 5),
    ("conv", 64, 5),
    ("pool", 2),
    ("recurrent", 128, 5),
    ("recurrent", 128, 5),
    ("pool", 2),
    ("recurrent", 256, 5),
    ("recurrent", 256, 5),
    ("pool", 2),
    ("recurrent", 512, 3),
    ("recurrent", 512, 3),
    ("pool", 2),
    ("recurrent", 256, 3),
    ("recurrent", 256, 3),
)
"""The network of the paper, the same for its three datasets."""

_LENGTHS = {"conv": 3, "pool": 2, "recurrent": 3}


def layers_from_topology(topology: Sequence[tuple], recurrent_layer, **kwargs) -> list:
    """Layers for the entries of a topology.

    Args:
        topology: see this module.
        recurrent_layer: class of the layers for `"recurrent"` entries.
        kwargs: passed on to every layer that has a kernel; `data_format` and `dtype` to all layers.

    Raises:
        ValueError: an entry that is not one of the three kinds.
    """
    general = {key: kwargs[key] for key in ("data_format", "dtype") if key in kwargs}
    layers = []
    for index, entry in enumerate(topology):
        kind = entry[0] if isinstance(entry, (tuple, list)) and entry else None
        if kind not in _LENGTHS or len(entry) != _LENGTHS[kind]:
            raise ValueError(
                "A topology's entries are ('conv', filters, kernel_size), ('pool', size) and "
                f"('recurrent', filters, kernel_size). Received: entry {index} = {entry!r}"
            )
        if kind == "pool":
            layers.append(FoldedMaxPooling2D(entry[1], **general))
        else:
            layer = FoldedConv2D if kind == "conv" else recurrent_layer
            layers.append(layer(*entry[1:], **kwargs))
    return layers
