"""What 1,000 training steps cost on this machine: the table of docs/choosing.md.

    python benchmarks/training_cost.py --minutes=7

Each row is measured in a process of its own, cheapest first, until the minutes are spent or memory is short. The others
are computed: time is proportional to arithmetic, and memory grows linearly with the pixels. Run it while nothing else
runs. Writes benchmarks/results/training-cost-BACKEND.json, and the table between two comments in docs/choosing.md.
"""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time

from absl import app, flags

from keras_frnn import evaluation, models
from keras_frnn.command.train import NETWORKS
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine
from keras_frnn.models.topologies import topology_of

_MINUTES = flags.DEFINE_float("minutes", 7, "When to stop measuring.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 2, "Sequences per training step.")
_ONLY = flags.DEFINE_string("only", None, "Measure one row, such as quick:64:1, and print it as JSON.")
_PAGE = flags.DEFINE_string("page", "docs/choosing.md", "The page with the table.")

SIZES, FRAMES = (64, 128, 256), 10
_REPEATS = 2
_PRESET = "moving-pictures"
_BEGIN, _END = "<!-- Written by benchmarks/training_cost.py. -->", "<!-- End of the table. -->"


@dataclasses.dataclass
class Row:
    """A network on frames of a size. Seconds and bytes are None before they are known."""

    network: str
    size: int
    channels: int
    parameters: int
    macs: int
    step_seconds: float | None = None
    peak_bytes: float | None = None
    measured: bool = False

    @property
    def key(self) -> str:
        return f"{self.network}:{self.size}:{self.channels}"


def make(network: str, initializer: str) -> models.FoldedRNN:
    topology = topology_of(models.FoldedRNN.from_preset(network).stack) if network == _PRESET else NETWORKS[network]
    return models.FoldedRNN.from_topology(topology, FRAMES, kernel_initializer=initializer)


def cost(key: str, batch_size: int | None) -> evaluation.Cost:
    network, size, channels = key.split(":")
    shape = (int(size), int(size), int(channels))
    model = make(network, "GlorotUniform" if batch_size else "zeros")  # Drawing numbers takes longer than counting.
    return evaluation.cost(model, shape, FRAMES, FRAMES, batch_size, _REPEATS)


def count() -> list[Row]:
    rows = []
    for network in (*NETWORKS, _PRESET):
        for channels in (1, 3):
            counted = cost(f"{network}:{SIZES[0]}:{channels}", None)
            for size in SIZES:
                scale = (size // SIZES[0]) ** 2  # All layers are convolutions.
                rows.append(Row(network, size, channels, counted.weights, counted.macs * scale))
    return rows


def measure(rows: list[Row], minutes: float):
    """Measures rows, cheapest first, while the time that the next one will need is left."""
    begun = time.perf_counter()
    overhead = 20.0  # Seconds of a process besides its steps; learned from the first rows.
    memory = 0.6 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for row in sorted(rows, key=lambda row: row.macs):
        smaller = [other for other in rows if other.measured and other.network == row.network and other.size < row.size]
        if smaller and 4 * smaller[-1].peak_bytes > memory:
            continue
        known = [other for other in rows if other.measured and other.step_seconds]
        seconds_per_mac = known[-1].step_seconds / known[-1].macs if known else 1e-10
        # A warm-up and the repeats, each a step and a forecast, which costs a third of it.
        expected = overhead + (1 + _REPEATS) * 4 / 3 * row.macs * seconds_per_mac
        if time.perf_counter() - begun + 1.5 * expected > 60 * minutes:
            return
        started = time.perf_counter()
        command = [sys.executable, __file__, f"--only={row.key}", f"--batch_size={_BATCH_SIZE.value}"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        row.measured, row.step_seconds = True, found["training_step_seconds"]
        row.peak_bytes = found["peak_memory_bytes"]
        overhead = max(time.perf_counter() - started - (1 + _REPEATS) * 4 / 3 * row.step_seconds, 5)
        print(f"{row.key}: {row.step_seconds:.2f} s a step, {row.peak_bytes / 1e9:.2f} GB", flush=True)


def compute(rows: list[Row]):
    """Fills in rows that were not measured, from those that were, of the same network if there are."""
    measured = sorted((row for row in rows if row.measured), key=lambda row: row.macs)
    libraries = min(row.peak_bytes for row in measured)  # About what a process needs for the smallest frames.
    for row in rows:
        if row.measured:
            continue
        same = [other for other in measured if other.network == row.network]
        nearest = (same or measured)[-1]
        row.step_seconds = nearest.step_seconds * row.macs / nearest.macs
        if same:  # Its weights need little memory compared with the states of all frames.
            row.peak_bytes = libraries + (nearest.peak_bytes - libraries) * (row.size / nearest.size) ** 2


def table(rows: list[Row], batch_size: int) -> str:
    here = machine()
    rates = [6 * batch_size * row.macs / row.step_seconds / 1e9 for row in rows if row.measured]
    lines = [
        _BEGIN,
        "",
        "| network | frames | parameters | GMAC per sequence | memory in GB | minutes for 1,000 steps |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for row in sorted(rows, key=lambda row: (row.size, row.channels)):
        about = "" if row.measured else "about "
        memory = f"{about}{row.peak_bytes / 1e9:.1f}" if row.peak_bytes else ""
        frames = f"{row.size}x{row.size} {'gray' if row.channels == 1 else 'color'}"
        cells = [row.network, frames, f"{row.parameters:,}", f"{row.macs / 1e9:.1f}", memory]
        lines.append(f"| {' | '.join(cells)} | {about}{_rounded(1000 * row.step_seconds / 60)} |")
    lines += [
        "",
        f"{FRAMES} + {FRAMES} frames, batch {batch_size}, float32, on {here['cores']} cores ({here['processor']}) with",
        f"Keras {here['keras']} on {here['backend']}. Memory is the peak of the process, libraries included. Rows",
        f"with *about* are computed from measured ones. This machine trained at {min(rates):.0f} to {max(rates):.0f}",
        "GFLOP/s.",
        "",
        _END,
    ]
    return "\n".join(lines)


def _rounded(minutes: float) -> str:
    return f"{minutes:.1f}" if minutes < 10 else f"{float(f'{minutes:.2g}'):,.0f}"


def main(_):
    if _ONLY.value:
        print(json.dumps(dataclasses.asdict(cost(_ONLY.value, _BATCH_SIZE.value))))
        return
    rows = count()
    measure(rows, _MINUTES.value)
    compute(rows)
    text = table(rows, _BATCH_SIZE.value)
    print(text)
    results = {"machine": machine(), "batch_size": _BATCH_SIZE.value, "rows": [dataclasses.asdict(row) for row in rows]}
    path = pathlib.Path(__file__).parent / "results" / f"training-cost-{machine()['backend']}.json"
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    page = pathlib.Path(_PAGE.value)
    before, _, rest = page.read_text().partition(_BEGIN)
    page.write_text(before + text + rest.partition(_END)[2])


if __name__ == "__main__":
    app.run(main)
