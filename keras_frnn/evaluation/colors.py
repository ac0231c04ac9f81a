"""A model has the same colour in all pictures."""

from collections.abc import Iterable

_KNOWN = {
    "truth": "#000000",
    "copy_last_frame": "#7f7f7f",
    "black_frame": "#bcbd22",
    "fRNN": "#1f77b4",
    "RLadder": "#d95f02",
    "ConvLSTM": "#2ca02c",
    "shipped": "#1f77b4",  # An fRNN, too.
    "trained_now": "#9467bd",
}
# The first is an fRNN's: who shows a single network, or one cut to several depths, mostly shows that first.
_OTHERS = ("#1f77b4", "#e377c2", "#17becf", "#8c564b", "#d62728", "#2ca02c", "#9467bd", "#d95f02")


def model_colors(names: Iterable[str]) -> dict[str, str]:
    """Colours by name, as hexadecimal RGB: names used throughout have one of their own, others one by their order."""
    names = list(names)
    taken = {_KNOWN[name] for name in names if name in _KNOWN}
    free = [color for color in _OTHERS if color not in taken]
    others = [name for name in names if name not in _KNOWN]
    return {name: _KNOWN.get(name) or free[others.index(name) % len(free)] for name in names}
