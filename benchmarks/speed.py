"""Speed of training, forecasting and streaming, each compared with a reference in the same process.

    python benchmarks/speed.py

Each measurement runs in a separate process with one backend; compared functions take turns, and medians are reported.
If a backend finds a GPU, the networks of the paper are measured on it as well. "R" is the rate of floating-point
operations at which stock keras ConvLSTM2D(64, 5) trains on TensorFlow. Rates count the operations of the equations,
three times the forward pass for training, so saved arithmetic counts as speed.
Writes benchmarks/results/speed.json and .md.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

import baselines
import keras
import numpy as np
from absl import app, flags

from keras_frnn import evaluation, layers, metrics, models
from keras_frnn.backend import accelerator
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine, median_seconds, peak_memory_bytes

_MEASUREMENT = flags.DEFINE_string("measurement", None, "Run one measurement in this process and print it as JSON.")
_ROUNDS = flags.DEFINE_integer("rounds", 3, "Number of measurements after one warm-up.")

INTRODUCTION = """\
Written by `python benchmarks/speed.py`. Widths are fractions of the paper's. Unless stated otherwise, 10 frames are
given and 10 predicted, 64x64x1, in float32; the batch size is 2 at half width, 4 at one eighth, 1 at one sixteenth.
R is the rate of floating-point operations at which stock `keras.layers.ConvLSTM2D(64, 5)` trains on TensorFlow, on
(4, 10, 32, 32, 64), in the same process. Rates count the operations of the equations, so saved arithmetic counts as
speed. *Time-major* is the same network step by step with one convolution per gate. The *PyTorch ConvLSTM* has 4 layers
of 128 channels, 5x5, at 16x16, and runs 19 steps of batch 2 (`benchmarks/baselines.py`). Memory is the peak of the
process. *Minimal* is the same network with minimal updates (`models.MINIMAL_TOPOLOGY`).
*Convolutions alone* is the result if a step consisted only of its convolutions, one after the other, in as few calls as
the equations allow (`baselines.convolutions`).
"""
TITLES = {"tensorflow": "TensorFlow", "jax": "JAX", "torch": "Torch"}
FRAMES = 10  # Number of given frames and of predicted frames.
JAX_STAGES = {
    "/jax/core/compile/jaxpr_trace_duration": "tracing",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowering",
    "/jax/core/compile/backend_compile_duration": "XLA compiling",
}


def folded(width: float, horizon: int = FRAMES, family=models.FoldedRNN, topology=models.PAPER_TOPOLOGY, **kwargs):
    return family.from_topology(models.scale_topology(topology, width), horizon, **kwargs)


def training_step(model, batch_size: int, context: int = FRAMES, horizon: int = FRAMES, shape=(64, 64, 1), watched=()):
    """A function that runs one optimizer step on random frames and waits until it is done."""
    generator = np.random.default_rng(0)
    inputs = generator.uniform(-1, 1, (batch_size, context, *shape)).astype("float32")
    model.build(inputs.shape)
    targets = generator.uniform(-1, 1, (batch_size, horizon, *model.compute_output_shape(inputs.shape)[2:]))
    model.compile(keras.optimizers.RMSprop(1e-4), "mae", metrics=list(watched))
    return lambda: model.train_on_batch(inputs, targets.astype("float32"))


def conv_lstm_step(unroll: bool = False):
    """A training step of ConvLSTM2D(64, 5) on (4, 10, 32, 32, 64), and its number of operations."""
    layer = keras.layers.ConvLSTM2D(64, 5, padding="same", return_sequences=True, unroll=unroll)
    step = training_step(keras.Sequential([layer]), 4, shape=(32, 32, 64))
    return step, 3 * 2 * 4 * FRAMES * 32 * 32 * 25 * (64 + 64) * 4 * 64


def gru():
    return keras.Sequential([layers.FoldedConvGRU(64, 5, return_sequences=True)])


def take_turns(rounds: int | None = None, **functions) -> dict[str, float]:
    """Median seconds of each function."""
    return median_seconds(rounds or _ROUNDS.value, **functions)


def operations(model, batch_size: int) -> float:
    return 2 * batch_size * evaluation.cost(model, (64, 64, 1), FRAMES, FRAMES).macs


def half_width_step(**kwargs):
    """The half-width network, its training step, and the peak memory of two steps in GB. Call it first in a process."""
    model = folded(1 / 2, **kwargs)
    step = training_step(model, 2)
    step()
    step()
    return model, step, peak_memory_bytes() / 1e9


def half_width() -> dict:
    """The training step and the forecast of the half-width network relative to R; the memory of the step."""
    model, step, memory = half_width_step()
    reference, reference_operations = conv_lstm_step()
    context = np.zeros((2, FRAMES, 64, 64, 1), "float32")
    seconds = take_turns(
        step=step,
        forecast=lambda: model.forecast(context),
        reference=reference,
        step_convolutions=baselines.convolutions(model.stack, 2, training=True),
        forecast_convolutions=baselines.convolutions(model.stack, 2),
    )
    rate = reference_operations / seconds["reference"]
    forward = operations(model, 2)
    return {
        "seconds": seconds,
        "R": rate / 1e9,
        "training": 3 * forward / seconds["step"] / rate,
        "training_bound": 3 * forward / seconds["step_convolutions"] / rate,
        "forecast": forward / seconds["forecast"] / rate,
        "forecast_bound": forward / seconds["forecast_convolutions"] / rate,
        "memory": memory,
    }


def remat() -> dict:
    """Memory of the half-width training step with recomputation, and its time relative to the step without."""
    _, step, memory = half_width_step(remat=True)
    seconds = take_turns(remat=step, plain=training_step(folded(1 / 2), 2))
    return {"seconds": seconds, "ratio": seconds["remat"] / seconds["plain"], "memory": memory}


def minimal() -> dict:
    """Memory of the half-width training step with minimal updates, and its time relative to full updates."""
    _, step, memory = half_width_step(topology=models.MINIMAL_TOPOLOGY)
    seconds = take_turns(minimal=step, full=training_step(folded(1 / 2), 2))
    return {"seconds": seconds, "ratio": seconds["minimal"] / seconds["full"], "memory": memory}


def with_metrics() -> dict:
    """The half-width training step with metrics on every predicted frame, relative to the step without."""
    watched = [metric(per_step=True) for metric in (metrics.MSE, metrics.PSNR, metrics.DSSIM)]
    steps = {"with": training_step(folded(1 / 2), 2, watched=watched), "without": training_step(folded(1 / 2), 2)}
    seconds = take_turns(**steps)
    return {"seconds": seconds, "ratio": seconds["with"] / seconds["without"]}


def bfloat16() -> dict:
    steps = {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        steps[policy] = training_step(folded(1 / 2), 2)
    keras.config.set_dtype_policy("float32")
    seconds = take_turns(**steps)
    return {"seconds": seconds, "ratio": seconds["mixed_bfloat16"] / seconds["float32"]}


def time_major() -> dict:
    model = folded(1 / 8)
    plain = baselines.TimeMajorFoldedRNN(models.scale_topology(models.PAPER_TOPOLOGY, 1 / 8), FRAMES)
    ours = training_step(model, 4)
    return ratio_and_bound(baselines.convolutions(model.stack, 4, training=True), ours, training_step(plain, 4))


def layer() -> dict:
    model = gru()
    ours = training_step(model, 4, shape=(32, 32, 64))
    if keras.backend.backend() != "jax":
        alone = baselines.convolutions(model.layers, 4, size=32, training=True, gradient_of_frames=False)
        return ratio_and_bound(alone, ours, conv_lstm_step()[0])
    # On JAX and a CPU, stock ConvLSTM2D takes half a minute per step unless it is unrolled.
    seconds = take_turns(ours=ours, unrolled=conv_lstm_step(unroll=True)[0])
    slow = take_turns(2, ours=ours, stock=conv_lstm_step()[0])
    return {"ratio": slow["ours"] / slow["stock"], "unrolled": seconds["ours"] / seconds["unrolled"]}


def ratio_and_bound(convolutions, ours, reference) -> dict:
    seconds = take_turns(ours=ours, reference=reference, convolutions=convolutions)
    ratio, bound = (seconds[name] / seconds["reference"] for name in ("ours", "convolutions"))
    return {"seconds": seconds, "ratio": ratio, "bound": bound}


def step_of(family) -> dict:
    idle = peak_memory_bytes()
    seconds = take_turns(step=training_step(folded(1 / 8, family=family), 4))
    return {"seconds": seconds["step"], "memory": (peak_memory_bytes() - idle) / 1e9}


def torch_lstm() -> dict:
    model, step, memory = half_width_step()
    reference, macs = baselines.torch_conv_lstm()
    result = ratio_and_bound(baselines.convolutions(model.stack, 2, training=True), step, reference)
    a_gmac = macs / evaluation.cost(model, (64, 64, 1), FRAMES, FRAMES).macs
    return result | {"ratio": result["ratio"] * a_gmac, "bound": result["bound"] * a_gmac, "memory": memory}


def first_step(topology=models.PAPER_TOPOLOGY) -> dict:
    """Seconds of the first training step, and on JAX those of its stages."""
    step = training_step(folded(1 / 8, topology=topology), 4)
    stages = jax_stages()
    begun = time.perf_counter()
    step()
    return {"seconds": time.perf_counter() - begun, "stages": stages}


def jax_stages() -> dict[str, float]:
    """A dictionary to which JAX adds the seconds of each stage before it runs the step."""
    seconds = {}
    if keras.backend.backend() == "jax":
        import jax

        def add(event, duration, **_):
            if event in JAX_STAGES:
                seconds[JAX_STAGES[event]] = seconds.get(JAX_STAGES[event], 0) + duration

        jax.monitoring.register_event_duration_secs_listener(add)
    return seconds


def length() -> dict:
    """A training step with this number of given frames and of predicted frames."""
    frames = int(_MEASUREMENT.value.split("-")[1])
    seconds = take_turns(3, step=training_step(folded(1 / 16, frames), 1, frames, frames))
    return {"seconds": seconds["step"], "memory": peak_memory_bytes() / 1e9}


def horizons() -> dict:
    """Seconds per frame of a training step with minimal updates: 40 predicted frames relative to 10."""
    seconds = take_turns(
        **{
            name: training_step(folded(1 / 16, horizon, topology=models.MINIMAL_TOPOLOGY), 1, horizon=horizon)
            for name, horizon in (("short", FRAMES), ("long", 4 * FRAMES))
        }
    )
    return {"seconds": seconds, "ratio": seconds["long"] / 5 / (seconds["short"] / 2)}


def encode() -> dict:
    frames = int(_MEASUREMENT.value.split("-")[1])
    model = folded(1 / 8)
    video = np.zeros((1, frames, 64, 64, 1), "float32")
    model.build(video.shape)
    idle = peak_memory_bytes()
    model.encode(video)
    return {"memory": (peak_memory_bytes() - idle) / 1e6}


def streaming() -> dict:
    """A stream with one frame in and ten out, relative to the same convolutions alone, one after the other."""
    model = folded(1 / 8)
    stream, frame = model.stream((64, 64, 1)), np.zeros((64, 64, 1), "float32")
    stream.update(frame)  # Later frames, which continue from a state, are compiled separately.

    def step():
        stream.update(frame)
        return stream.forecast(FRAMES)

    seconds = take_turns(20, stream=step, convolutions=baselines.convolutions(model.stack, 1, context=1))
    return {"seconds": seconds, "ratio": seconds["stream"] / seconds["convolutions"]}


def has_accelerator() -> dict:
    return {"has": accelerator() is not None}


def on_accelerator() -> dict:
    """Training steps of the paper's networks with batches of 6."""
    seconds = {}
    for policy in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(policy)
        for name, family in (("fRNN", models.FoldedRNN), ("RLadder", models.LadderRNN)):
            seconds |= take_turns(**{f"{name} {policy}": training_step(folded(1, family=family), 6)})
    return {"seconds": seconds}


MEASUREMENTS = {
    "half-width": half_width,
    "remat": remat,
    "minimal": minimal,
    "metrics": with_metrics,
    "bfloat16": bfloat16,
    "time-major": time_major,
    "layer": layer,
    "step-frnn": lambda: step_of(models.FoldedRNN),
    "step-rladder": lambda: step_of(models.LadderRNN),
    "torch-lstm": torch_lstm,
    "first-step": first_step,
    "first-step-minimal": lambda: first_step(models.MINIMAL_TOPOLOGY),
    "horizons-minimal": horizons,
    "length-10": length,
    "length-50": length,
    "length-100": length,
    "encode-50": encode,
    "encode-100": encode,
    "streaming": streaming,
    "has-accelerator": has_accelerator,
    "accelerator": on_accelerator,
}


def measure(name: str, backend: str) -> dict:
    print(f"measuring {name} on {backend} ...", flush=True)
    command = [sys.executable, __file__, f"--measurement={name}", f"--rounds={_ROUNDS.value}"]
    environment = os.environ | {"KERAS_BACKEND": backend}
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return json.loads(output.splitlines()[-1])


def rows() -> tuple[list[dict], dict[str, dict]]:
    """The measurements in the order of the table, and the stages of the first steps on JAX."""
    half = measure("half-width", "tensorflow")
    result = [
        row(
            "half width, training step on TensorFlow: rate / R",
            half["training"],
            0.90,
            less=False,
            bound=half["training_bound"],
        ),
        row(
            "half width, forecast on TensorFlow: rate / R",
            half["forecast"],
            1.0,
            less=False,
            bound=half["forecast_bound"],
        ),
        row("half width, training step on TensorFlow: peak memory of the process, GB", half["memory"], 1.6),
    ]
    again = measure("remat", "tensorflow")
    result.append(row("the same with recomputation: peak memory of the process, GB", again["memory"], 1.3))
    result.append(row("the same with recomputation: seconds / without", again["ratio"], 1.35))
    ratio = measure("metrics", "tensorflow")["ratio"]
    name = "half width, training step on TensorFlow: seconds with MSE, PSNR and DSSIM of every frame / without"
    result.append(row(name, ratio, 1.02))
    for backend in ("tensorflow", "torch"):
        ratio = measure("bfloat16", backend)["ratio"]
        result.append(row(f"half width, training step on {TITLES[backend]}: mixed_bfloat16 / float32", ratio, 0.65))
    eighth = measure("time-major", "tensorflow")
    name = "one-eighth width, training step on TensorFlow / the same, time-major"
    result.append(row(name, eighth["ratio"], 0.9, bound=eighth["bound"]))
    for backend, target in zip(("tensorflow", "torch", "jax"), (0.70, 0.55, 0.03), strict=True):
        single = measure("layer", backend)
        name = f"FoldedConvGRU(64, 5) / ConvLSTM2D(64, 5), training step on {TITLES[backend]}"
        result.append(row(name, single["ratio"], target, bound=single.get("bound")))
    name = "FoldedConvGRU(64, 5) / ConvLSTM2D(64, 5, unroll=True), training step on JAX"
    result.append(row(name, single["unrolled"], 0.65))
    frnn, rladder = (measure(f"step-{name}", "tensorflow") for name in ("frnn", "rladder"))
    for what, target in (("seconds", 3.0), ("memory", 2.0)):
        ratio = rladder[what] / frnn[what]
        result.append(row(f"RLadder / fRNN, training step on TensorFlow: {what}", ratio, target, less=False))
    lstm = measure("torch-lstm", "torch")
    name = "half width, training step on Torch / a PyTorch ConvLSTM's: time a GMAC"
    result.append(row(name, lstm["ratio"], 0.90, bound=lstm["bound"]))
    result.append(row("half width, training step on Torch: peak memory of the process, GB", lstm["memory"], 1.4))
    firsts = {}
    for backend, target in zip(TITLES, (8.0, 12.0, 1.5), strict=True):
        firsts[backend] = measure("first-step", backend)
        name = f"one-eighth width, first training step on {TITLES[backend]}: seconds"
        result.append(row(name, firsts[backend]["seconds"], target))
    lengths = {frames: measure(f"length-{frames}", "tensorflow") for frames in (10, 50, 100)}
    for what in ("seconds", "memory"):
        ten, fifty, hundred = (lengths[frames][what] for frames in (10, 50, 100))
        line = ten + (hundred - ten) * 40 / 90
        result.append(row(f"training step with 50 + 50 frames / the line from 10 to 100: {what}", fifty / line, 1.15))
    ratio = measure("encode-100", "tensorflow")["memory"] / measure("encode-50", "tensorflow")["memory"]
    result.append(row("encoding 100 frames / 50 frames on TensorFlow: peak memory above idle", ratio, 1.15))
    ratio = measure("streaming", "tensorflow")["ratio"]
    result.append(row("streaming, one frame in, ten out, on TensorFlow / its convolutions alone", ratio, 1.3))
    on_jax = {"full": firsts["jax"], "minimal": measure("first-step-minimal", "jax")}
    return result + minimal_rows({"tensorflow": half["memory"], "torch": lstm["memory"]}, on_jax), on_jax


def minimal_rows(memory: dict[str, float], first_steps: dict[str, dict]) -> list[dict]:
    """Minimal updates relative to full ones, whose half-width training step uses `memory` GB on each backend."""
    result = []
    for backend, full in memory.items():
        measured, where = measure("minimal", backend), f"half width, training step on {TITLES[backend]}"
        result.append(row(f"minimal / full, {where}: seconds", measured["ratio"], 0.36))
        result.append(row(f"minimal / full, {where}: peak memory of the process", measured["memory"] / full, 1.0))
    ratio = first_steps["minimal"]["seconds"] / first_steps["full"]["seconds"]
    result.append(row("minimal / full, one-eighth width, first training step on JAX: seconds", ratio, 0.5))
    ratio = measure("horizons-minimal", "tensorflow")["ratio"]
    name = "minimal, training step on TensorFlow: seconds a frame with 10 + 40 frames / with 10 + 10"
    return [*result, row(name, ratio, 1.1)]


def accelerator_seconds() -> dict[str, dict[str, float]]:
    """The seconds on each backend that finds an accelerator."""
    found = [backend for backend in TITLES if measure("has-accelerator", backend)["has"]]
    return {backend: measure("accelerator", backend)["seconds"] for backend in found}


def row(what: str, value: float, target: float, less: bool = True, bound: float | None = None) -> dict:
    """`less`: whether lower is better; `bound`: the value if only the convolutions took time."""
    met = value <= target if less else value >= target
    return {"what": what, "value": value, "target": target, "met": met, "bound": bound}


def main(_):
    if _MEASUREMENT.value:
        print(json.dumps(MEASUREMENTS[_MEASUREMENT.value]()))
        return
    (measured, first_steps), accelerated = rows(), accelerator_seconds()
    text = _table(measured, first_steps, accelerated)
    print(text)
    results = pathlib.Path(__file__).parent / "results"
    with atomic_path(results / "speed.json") as temporary:
        temporary.write_text(
            json.dumps(
                {
                    "machine": machine(),
                    "rows": measured,
                    "first steps on JAX": first_steps,
                    "accelerator": accelerated,
                },
                indent=2,
            )
            + "\n"
        )
    with atomic_path(results / "speed.md") as temporary:
        temporary.write_text(text)


def _table(measured: list[dict], first_steps: dict[str, dict], accelerated: dict) -> str:
    here = {name: value for name, value in machine().items() if name != "backend"}
    lines = [
        "# Speed",
        "",
        INTRODUCTION,
        "Machine: " + ", ".join(f"{name} {value}" for name, value in here.items()) + ".",
        "",
    ]
    lines += ["| | measured | target | | convolutions alone |", "| --- | ---: | ---: | --- | ---: |"]
    for entry in measured:
        met = "met" if entry["met"] else "missed"
        bound = "" if entry["bound"] is None else f"{entry['bound']:.3f}"
        lines.append(f"| {entry['what']} | {entry['value']:.3f} | {entry['target']:.2f} | {met} | {bound} |")
    stages = list(JAX_STAGES.values())
    lines += [
        "",
        "Seconds of the first training steps on JAX at one-eighth width. The rest is building and running.",
        "",
    ]
    lines += [f"| | total | {' | '.join(stages)} |", "| --- |" + " ---: |" * (1 + len(stages))]
    for name, entry in first_steps.items():
        seconds = [entry["seconds"], *(entry["stages"][stage] for stage in stages)]
        lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in seconds)} |")
    for backend, seconds in accelerated.items():
        lines += [
            "",
            f"Seconds per training step of the paper's networks on the accelerator, {TITLES[backend]}, batch 6.",
        ]
        lines += ["", "| | seconds |", "| --- | ---: |"]
        lines += [f"| {name} | {value:.4f} |" for name, value in seconds.items()]
    if not accelerated:
        lines += ["", "No GPU was found. With a GPU, the paper's networks are measured on it as well."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main)
