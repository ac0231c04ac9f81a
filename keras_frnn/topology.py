"""The networks of the paper as lists of layers. Recipes use them before Keras is loaded: nothing here imports it."""

from collections.abc import Sequence

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

MINIMAL_TOPOLOGY = tuple(("minimal", *entry[1:]) if entry[0] == "recurrent" else entry for entry in PAPER_TOPOLOGY)
"""The network of the paper with minimal updates: a third of its arithmetic and of its parameters."""


def scale_topology(topology: Sequence[tuple], factor: float) -> list[tuple]:
    """The same network with `factor` times as many channels in every layer that has `filters`, at least one.

    >>> scale_topology([("conv", 32, 5), ("pool", 2), ("recurrent", 128, 3)], 1 / 4)
    [('conv', 8, 5), ('pool', 2), ('recurrent', 32, 3)]
    """
    return [
        tuple(entry)
        if entry[0] in ("pool", "patch", "motion", "residual")
        else (entry[0], max(1, round(entry[1] * factor)), *entry[2:])
        for entry in topology
    ]
