"""Colors of the models, the same in all pictures."""

from collections.abc import Iterable

_KNOWN = {
    "truth": "#000000",
    "copy_last_frame": "#7f7f7f",
    "black_frame": "#bcbd22",
    "fRNN": "#1f77b4",
    "RLadder": "#d95f02",
    "ConvLSTM": "#2ca02c",
    "shipped": "#1f77b4",  # Also an fRNN.
    "trained_now": "#9467bd",
}
# The first is the fRNN's, since a single network, or the first of several depths, is usually an fRNN.
_OTHERS = ("#1f77b4", "#e377c2", "#17becf", "#8c564b", "#d62728", "#2ca02c", "#9467bd", "#d95f02")


def model_colors(names: Iterable[str]) -> dict[str, str]:
    """Colors by name as hexadecimal RGB: well-known names have fixed colors, others get one by their order."""
    names = list(names)
    taken = {_KNOWN[name] for name in names if name in _KNOWN}
    free = [color for color in _OTHERS if color not in taken]
    others = [name for name in names if name not in _KNOWN]
    return {name: _KNOWN.get(name) or free[others.index(name) % len(free)] for name in names}
