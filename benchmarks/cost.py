"""The cost of an fRNN, an RLadder and a stock ConvLSTM: counted at the paper's size, measured at a reduced width.

    python benchmarks/cost.py --width=0.125 --batch_size=4

Each model is measured in a separate process. Writes benchmarks/results/cost-BACKEND.json and .md.
"""

import dataclasses
import json
import pathlib
import subprocess
import sys

from absl import app, flags

from keras_frnn import evaluation, models
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine

_WIDTH = flags.DEFINE_float("width", 1 / 8, "Channels of the measured networks, as a fraction of the paper's.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Sequences per training step and per forecast.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Number of measurements, of which the median is taken.")
_STEPS = flags.DEFINE_integer("steps", 10, "Number of given frames and of predicted frames.")
_ONLY = flags.DEFINE_enum("only", None, ["fRNN", "RLadder", "ConvLSTM"], "Measure one model and print it as JSON.")

FRAME = (64, 64, 1)
# Three layers with this number of channels have about as many parameters as the paper's fRNN.
CONV_LSTM_FILTERS = 323


def make(name: str, width: float):
    if name == "ConvLSTM":
        return models.ConvLSTMForecaster(_STEPS.value, filters=(round(CONV_LSTM_FILTERS * width),) * 3)
    family = {"fRNN": models.FoldedRNN, "RLadder": models.LadderRNN}[name]
    topology = models.scale_topology(models.PAPER_TOPOLOGY, width)
    return family.from_topology(topology, _STEPS.value)


def main(_):
    if _ONLY.value:
        model = make(_ONLY.value, _WIDTH.value)
        result = evaluation.cost(model, FRAME, _STEPS.value, _STEPS.value, _BATCH_SIZE.value, _REPEATS.value)
        print(json.dumps(dataclasses.asdict(result)))
        return
    names = ["fRNN", "RLadder", "ConvLSTM"]
    counted = {name: evaluation.cost(make(name, 1.0), FRAME, _STEPS.value, _STEPS.value) for name in names}
    measured = {name: _in_its_own_process(name) for name in names}
    setting = {"frame": FRAME, "context": _STEPS.value, "horizon": _STEPS.value}
    setting |= {"width": _WIDTH.value, "batch_size": _BATCH_SIZE.value, "repeats": _REPEATS.value}
    text = _table(counted, measured, setting)
    print(text)
    folder = pathlib.Path(__file__).parent / "results"
    results = {"machine": machine(), "setting": setting}
    for title, costs in (("counted", counted), ("measured", measured)):
        results[title] = {name: dataclasses.asdict(cost) for name, cost in costs.items()}
    with atomic_path(folder / f"cost-{machine()['backend']}.json") as temporary:
        temporary.write_text(json.dumps(results, indent=2) + "\n")
    with atomic_path(folder / f"cost-{machine()['backend']}.md") as temporary:
        temporary.write_text(text)


def _in_its_own_process(name: str) -> evaluation.Cost:
    command = [sys.executable, __file__, f"--only={name}", f"--width={_WIDTH.value}"]
    command += [f"--batch_size={_BATCH_SIZE.value}", f"--repeats={_REPEATS.value}", f"--steps={_STEPS.value}"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return evaluation.Cost(**json.loads(output.splitlines()[-1]))


def _table(counted: dict, measured: dict, setting: dict) -> str:
    height, width, channels = setting["frame"]
    base = measured["fRNN"]
    lines = [
        "# Cost",
        "",
        f"{setting['context']} given and {setting['horizon']} predicted frames of {height}x{width}x{channels}. "
        "Machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()) + ".",
        "",
        "Counted at the paper's size, for one sequence:",
        "",
        "| | parameters | encode GMAC | decode GMAC | total GMAC | states MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, cost in counted.items():
        numbers = [cost.encode_macs / 1e9, cost.decode_macs / 1e9, cost.macs / 1e9, cost.state_bytes / 1e6]
        lines.append(f"| {name} | {cost.weights:,} | " + " | ".join(f"{number:.1f}" for number in numbers) + " |")
    lines += [
        "",
        f"Measured at {setting['width']:g} of that width, batch {setting['batch_size']}, float32, median of "
        f"{setting['repeats']}; ratios to fRNN in brackets:",
        "",
        "| | parameters | GMAC per sequence | training step s | forecast s | peak memory of the process GB |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, cost in measured.items():
        cells = [f"{cost.weights:,}", f"{cost.macs / 1e9:.2f}"]
        for field, unit in (("training_step_seconds", 1), ("forecast_seconds", 1), ("peak_memory_bytes", 1e9)):
            value = getattr(cost, field)
            cells.append(f"{value / unit:.2f} ({value / getattr(base, field):.2f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main)
