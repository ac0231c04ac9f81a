"""Draws the pictures of docs/idea.md.

python docs/idea_figures.py
"""

import pathlib

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from keras_frnn.files import atomic_path

FIGURES = pathlib.Path(__file__).parent / "figures"
ENCODE, DECODE, FRAME, BRIDGE, IDLE, INK = "#2f6fb3", "#e08a1e", "#444444", "#b3243b", "#eceff2", "#222222"
GIVEN, AHEAD, LAYERS = 4, 4, 3


def main(folder: pathlib.Path = FIGURES):
    for name, draw in {"layer": layer, "schedule": schedule, "order": order, "removal": removal}.items():
        figure = draw()
        with atomic_path(folder / f"idea-{name}.png") as temporary:
            figure.savefig(temporary, dpi=110)


def layer() -> Figure:
    """One folded layer in both directions."""
    figure = Figure(figsize=(10, 3.9))
    for axes, direction in zip(figure.subplots(1, 2), ("encode", "decode"), strict=True):
        encode = direction == "encode"
        color = ENCODE if encode else DECODE
        _blank(axes, (0, 10), (-1.1, 8.2))
        axes.set_title("encode: a frame goes in" if encode else "decode: a frame comes out", color=color, weight="bold")
        axes.add_patch(FancyBboxPatch((0.6, 1.9), 8.8, 4.0, boxstyle="round,pad=0.1", fc="#f7f7f7", ec="#999999"))
        _state(axes, (1.2, 2.5), "input state", "i", color if not encode else None)
        _state(axes, (6.0, 2.5), "output state", "o", color if encode else None)
        if encode:
            _arrow(axes, (2.6, 0.0), (2.6, 2.5), color, dashed=True)
            _arrow(axes, (2.6, 0.0), (7.0, 2.5), color)
            _arrow(axes, (7.4, 5.1), (7.4, 7.2), color)
            axes.text(2.6, -0.6, "x, from the layer below", ha="center")
            axes.text(7.4, 7.4, "o, to the layer above", ha="center")
            axes.text(5.0, 5.35, "o = update(o, x)", ha="center", color=color, family="monospace")
            axes.text(1.2, 1.25, "i = x", ha="center", color=color, family="monospace")
        else:
            _arrow(axes, (7.4, 7.1), (3.0, 5.1), color)
            _arrow(axes, (2.6, 2.5), (2.6, 0.1), color)
            axes.text(7.4, 7.4, "y, from the layer above", ha="center")
            axes.text(2.6, -0.6, "i, to the layer below", ha="center")
            axes.text(7.4, 5.35, "i = update(i, y)", ha="center", color=color, family="monospace")
            axes.text(7.4, 1.2, "o is neither read nor changed", ha="center", color="#777777", size=9)
    figure.subplots_adjust(0.01, 0.02, 0.99, 0.9, 0.04)
    return figure


def schedule() -> Figure:
    """The updates at each frame: the ladder at the top, the folded network below."""
    figure = Figure(figsize=(10.5, 6.6))
    rows = figure.subplots(2, 1)
    _schedule(rows[0], folded=False)
    _schedule(rows[1], folded=True)
    figure.subplots_adjust(0.09, 0.07, 0.985, 0.94, hspace=0.3)
    return figure


def _schedule(axes, folded: bool):
    total = GIVEN + AHEAD
    _blank(axes, (-0.1, total + 0.05), (-1.15, LAYERS + 0.15))
    runs = 0
    for time in range(total if folded else total - 1):
        for level in range(LAYERS):
            top, ahead = level == LAYERS - 1, time >= GIVEN
            # In a ladder, the last given frame already yields the first prediction.
            first = time == GIVEN
            encode = not ahead or (top and not first) if folded else True
            decode = ahead if folded else True
            for active, left, color, text in ((encode, 0.06, ENCODE, "up"), (decode, 0.49, DECODE, "down")):
                fc = color if active else IDLE
                axes.add_patch(Rectangle((time + left, level + 0.08), 0.41, 0.78, fc=fc, ec="white"))
                if active:
                    runs += 1
                    axes.text(time + left + 0.205, level + 0.47, text, ha="center", va="center", color="white", size=9)
    for time in range(total):
        given = time < GIVEN
        fc, ec, ink = ("#777777", "#777777", "white") if given else ("white", DECODE, DECODE)
        axes.add_patch(Rectangle((time + 0.2, -0.78), 0.56, 0.56, fc=fc, ec=ec, lw=2))
        axes.text(time + 0.48, -0.5, str(time + 1), ha="center", va="center", color=ink, weight="bold")
        if given:
            _arrow(axes, (time + 0.27, -0.2), (time + 0.27, 0.08), ENCODE)
    for time in range(GIVEN, total):
        if folded:
            _arrow(axes, (time + 0.7, 0.08), (time + 0.7, -0.2), DECODE)
        else:
            _arrow(axes, (time - 1 + 0.7, 0.08), (time + 0.3, -0.2), DECODE)
            if time < total - 1:
                _arrow(axes, (time + 0.27, -0.2), (time + 0.27, 0.08), BRIDGE)
    axes.axvline(GIVEN - 0.02, color="#999999", ls=":", ymin=0.02)
    axes.text(GIVEN / 2, -1.08, "given frames", ha="center", color="#555555")
    axes.text(GIVEN + AHEAD / 2, -1.08, "predicted frames", ha="center", color=DECODE)
    for level in range(LAYERS):
        axes.text(-0.12, level + 0.47, f"layer {level + 1}", ha="right", va="center")
    name = "Folded network" if folded else "Ladder with bridges"
    what = (
        "up for given frames, down for predicted frames"
        if folded
        else "up and down at every frame; predictions are fed back"
    )
    axes.set_title(f"{name}: {what} ({runs} updates)", loc="left", weight="bold")


def order() -> Figure:
    """The order of the updates."""
    figure = Figure(figsize=(10.5, 3.3))
    for axes, folded in zip(figure.subplots(1, 2), (False, True), strict=True):
        _blank(axes, (-0.1, GIVEN + 0.1), (-0.35, LAYERS + 0.1))
        name, steps = ("Folded: layer by layer", LAYERS) if folded else ("Ladder: frame by frame", GIVEN)
        axes.set_title(f"{name}, {steps} big steps", loc="left", weight="bold")
        for time in range(GIVEN):
            for level in range(LAYERS):
                fc = [ENCODE, "#5c91c8", "#8db4dc", "#b9d2ec"][level if folded else time]
                axes.add_patch(Rectangle((time + 0.1, level + 0.12), 0.8, 0.72, fc=fc, ec="white"))
        if folded:
            for level in range(LAYERS):
                _arrow(axes, (0.2, level + 0.48), (GIVEN - 0.2, level + 0.48), "white")
                axes.text(-0.15, level + 0.48, f"step {level + 1}", ha="right", va="center")
        else:
            for time in range(GIVEN):
                _arrow(axes, (time + 0.38, 0.2), (time + 0.38, LAYERS - 0.2), "white")
                _arrow(axes, (time + 0.62, LAYERS - 0.2), (time + 0.62, 0.2), "white")
                axes.text(time + 0.5, LAYERS + 0.02, f"step {time + 1}", ha="center", va="center", size=9)
        for time in range(GIVEN):
            axes.text(time + 0.5, -0.2, f"frame {time + 1}", ha="center", size=9, color="#555555")
    figure.subplots_adjust(0.01, 0.03, 0.99, 0.88, 0.17)
    return figure


def removal() -> Figure:
    """A network whose top layers were removed."""
    figure = Figure(figsize=(10, 3.4))
    for axes, cut in zip(figure.subplots(1, 3), (0, 1, 2), strict=True):
        _blank(axes, (0, 6), (-1.1, LAYERS + 0.2))
        title = f"cut to {LAYERS - cut}, not retrained" if cut else f"trained with {LAYERS} layers"
        axes.set_title(title, weight="bold")
        for level in range(LAYERS):
            kept = level < LAYERS - cut
            style = dict(fc="#d9e6f4", ec=ENCODE) if kept else dict(fc="none", ec="#bbbbbb", ls="--")
            axes.add_patch(Rectangle((1.4 - 0.3 * level, level + 0.1), 3.2 + 0.6 * level, 0.72, **style))
            axes.text(3, level + 0.46, f"layer {level + 1}" if kept else "removed", ha="center", va="center")
        last = LAYERS - cut
        _arrow(axes, (1.5, -0.45), (1.5, last - 0.05), ENCODE)
        _arrow(axes, (4.5, last - 0.05), (4.5, -0.45), DECODE)
        axes.text(1.5, -0.85, "frames in", ha="center", color=ENCODE)
        axes.text(4.5, -0.85, "frames out", ha="center", color=DECODE)
    figure.subplots_adjust(0.01, 0.02, 0.99, 0.9)
    return figure


def _blank(axes, x: tuple, y: tuple):
    axes.set(xlim=x, ylim=y)
    axes.axis("off")


def _state(axes, corner: tuple, name: str, symbol: str, color: str | None):
    style = dict(fc=color, ec=color) if color else dict(fc="white", ec="#999999")
    axes.add_patch(FancyBboxPatch(corner, 2.8, 2.4, boxstyle="round,pad=0.1", **style))
    ink = "white" if color else INK
    axes.text(corner[0] + 1.4, corner[1] + 1.45, symbol, ha="center", size=17, color=ink, style="italic")
    axes.text(corner[0] + 1.4, corner[1] + 0.4, name, ha="center", color=ink)


def _arrow(axes, start: tuple, end: tuple, color: str, dashed: bool = False):
    style = dict(arrowstyle="-|>", mutation_scale=13, lw=1.8, color=color, ls="--" if dashed else "-", zorder=5)
    axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))


if __name__ == "__main__":
    main()
