"""The cost of the networks on a GPU: the paper's fRNN, its minimal twin, and the baselines.

    KERAS_BACKEND=torch python benchmarks/gpu.py
    KERAS_BACKEND=torch python benchmarks/gpu.py --tiny      networks of a few channels, on any device

Measures training steps and forecasts in float32, with TensorFloat-32 off and on, and in bfloat16: times, arithmetic per
second and its ratio to the rate of matrix products, memory, CPU time per step, and the most expensive kernels; on Torch
also with torch.compile. Each measurement runs in a separate process.
Writes benchmarks/results/gpu-BACKEND.json and .md.
"""

import json
import os
import pathlib
import subprocess
import sys
import time

from absl import app, flags

_TINY = flags.DEFINE_bool("tiny", False, "Networks of a few channels on small frames, to test this program.")
_BATCHES = flags.DEFINE_list("batches", ["12", "48"], "Batch sizes of the paper's network and of its twin.")
_REPEATS = flags.DEFINE_integer("repeats", 10, "Number of measurements, of which the median is taken.")
_ONLY = flags.DEFINE_list("only", None, "Run only these measurements, such as fRNN/bfloat16/12.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder of the results [benchmarks/results].")
_MEASURE = flags.DEFINE_string("measure", None, "Run one measurement in this process and print it as JSON.")

STEPS = 500_000  # Steps of the paper's training.
PRECISIONS = ("float32", "tf32", "bfloat16")
NETWORKS = ("fRNN", "minimal", "RLadder", "ConvLSTM")
CONV_LSTM_FILTERS = 323  # Three layers with this number of channels have about as many parameters as the paper's fRNN.


def set_precision(precision: str):
    """Sets the dtype policy, and whether the device may multiply float32 as TensorFloat-32."""
    import keras

    keras.config.set_dtype_policy("mixed_bfloat16" if precision == "bfloat16" else "float32")
    fast, backend = precision != "float32", keras.backend.backend()
    if backend == "torch":
        import torch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = fast
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if fast else "float32")
    else:
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(fast)


def network(name: str):
    from keras_frnn import models

    width, horizon = (1 / 32, 2) if _TINY.value else (1, 10)
    if name == "ConvLSTM":
        return models.ConvLSTMForecaster(horizon, filters=(max(2, round(CONV_LSTM_FILTERS * width)),) * 3)
    topology = models.MINIMAL_TOPOLOGY if name == "minimal" else models.PAPER_TOPOLOGY
    family = models.LadderRNN if name == "RLadder" else models.FoldedRNN
    return family.from_topology(models.scale_topology(topology, width), horizon)


def measure(name: str, precision: str, batch: int, compiled: bool) -> dict:
    """Seconds, FLOPs, memory and CPU time of a training step and of a forecast of one network."""
    import keras
    import numpy as np

    from keras_frnn import evaluation
    from keras_frnn.machine import median_seconds

    set_precision(precision)
    size, frames = (16, 2) if _TINY.value else (64, 10)
    model = network(name)
    context, future = np.zeros((2, batch, frames, size, size, 1), "float32")
    model.build(context.shape)
    model.compile(keras.optimizers.RMSprop(1e-4), "mae")
    step = lambda: float(np.ravel(model.train_on_batch(context, future))[0])  # noqa: E731
    if compiled:
        step = _compiled_step(model, context, future)
    begun = time.perf_counter()
    step()
    first = time.perf_counter() - begun
    _reset_peak()
    seconds = median_seconds(_REPEATS.value, training=step, forecast=lambda: model.forecast(context))
    memory, before = _peak(), time.process_time()
    step()
    processor = time.process_time() - before
    macs = evaluation.cost(model, (size, size, 1), frames, frames).macs * batch
    return {
        "seconds": seconds,
        "first_step": first,
        "flops": {"training": 6 * macs, "forecast": 2 * macs},
        "memory": memory,
        "processor_seconds": processor,
        "kernels": _kernels(step),
    }


def _compiled_step(model, context, future):
    """A training step on Torch whose forward and backward passes are compiled into one graph each."""
    import torch
    from keras import ops

    forward = torch.compile(lambda x: model(x, training=True), dynamic=False)
    context, future = ops.convert_to_tensor(context), ops.convert_to_tensor(future)

    def step():
        model.zero_grad()
        loss = (forward(context) - future).abs().mean()
        loss.backward()
        with torch.no_grad():
            gradients = [variable.value.grad for variable in model.trainable_weights]
            model.optimizer.apply(gradients, model.trainable_weights)
        return float(loss)

    return step


def _reset_peak():
    if _on_cuda():
        import torch

        torch.cuda.reset_peak_memory_stats()


def _peak() -> int | None:
    """Peak memory of the device in bytes; on a CPU, that of the process."""
    import keras

    from keras_frnn.backend import accelerator
    from keras_frnn.machine import peak_memory_bytes

    if accelerator() is None:
        return peak_memory_bytes()
    if _on_cuda():
        import torch

        return torch.cuda.max_memory_allocated()
    if keras.backend.backend() == "jax":
        import jax

        return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    import tensorflow as tf

    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def _on_cuda() -> bool:
    import keras

    if keras.backend.backend() != "torch":
        return False
    import torch

    return torch.cuda.is_available()


def _kernels(step) -> list[dict]:
    """Names and seconds of the ten most expensive kernels of a step. Only on Torch: JAX writes traces for a viewer."""
    import keras

    if keras.backend.backend() != "torch":
        return []
    import torch

    activities = [torch.profiler.ProfilerActivity.CPU]
    if _on_cuda():
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        step()
    time_of = "self_device_time_total" if _on_cuda() else "self_cpu_time_total"
    events = sorted(profile.key_averages(), key=lambda event: getattr(event, time_of), reverse=True)[:10]
    return [{"name": event.key, "seconds": getattr(event, time_of) / 1e6, "calls": event.count} for event in events]


def matrix_products(precision: str) -> float:
    """FLOPs per second of products of large square matrices."""
    from keras import ops

    from keras_frnn.machine import median_seconds

    set_precision(precision)
    side = 256 if _TINY.value else 8192
    x = ops.ones((side, side), dtype="bfloat16" if precision == "bfloat16" else "float32")
    times = 10

    def multiply():
        y = x
        for _ in range(times):
            y = ops.matmul(y, x) * (1 / side)
        return ops.convert_to_numpy(ops.cast(y[0, :1], "float32"))  # Waits for the device.

    return times * 2 * side**3 / median_seconds(_REPEATS.value, multiply=multiply)["multiply"]


def in_a_process_of_its_own(what: str) -> dict:
    print(f"measuring {what} ...", flush=True)
    done = subprocess.run([sys.executable, *sys.argv, f"--measure={what}"], stdout=subprocess.PIPE, text=True)
    if done.returncode:  # For example, out of memory. Other measurements may work.
        return {"failed": done.returncode}
    return json.loads(done.stdout.splitlines()[-1])


def plan(backend: str) -> list[str]:
    """The measurements as NETWORK/PRECISION/BATCH, and on Torch also with /compiled."""
    first, *_ = _BATCHES.value
    found = [f"{name}/{p}/{batch}" for name in NETWORKS[:2] for p in PRECISIONS for batch in _BATCHES.value]
    found += [f"{name}/{p}/{first}" for name in NETWORKS[2:] for p in PRECISIONS]
    if backend == "torch":
        found += [f"{name}/bfloat16/{first}/compiled" for name in NETWORKS[:2]]
    if unknown := set(_ONLY.value or ()) - set(found):
        sys.exit(f"--only has unknown measurements: {', '.join(sorted(unknown))}. Expected {', '.join(found)}")
    return _ONLY.value or found


def main(_):
    if _MEASURE.value:
        name, precision, *rest = _MEASURE.value.split("/")
        if name == "matrix":
            print(json.dumps({"rate": matrix_products(precision)}))
        else:
            print(json.dumps(measure(name, precision, int(rest[0]), "compiled" in rest)))
        return
    from keras_frnn.files import atomic_path
    from keras_frnn.machine import machine

    here = machine()
    if "accelerator" not in here and not _TINY.value:
        sys.exit("Keras finds no GPU. Check KERAS_BACKEND and the installation of the backend, or pass --tiny.")
    rates = {precision: in_a_process_of_its_own(f"matrix/{precision}")["rate"] for precision in PRECISIONS}
    folder = pathlib.Path(_OUTPUT.value or pathlib.Path(__file__).parent / "results")
    folder.mkdir(parents=True, exist_ok=True)
    measured: dict[str, dict] = {}
    for what in plan(here["backend"]):
        measured[what] = in_a_process_of_its_own(what)
        # Written after each measurement, since rented machines with a GPU may disappear.
        results = {"machine": here, "tiny": _TINY.value, "matrix_products": rates, "measured": measured}
        with atomic_path(folder / f"gpu-{here['backend']}.json") as temporary:
            temporary.write_text(json.dumps(results, indent=2) + "\n")
        with atomic_path(folder / f"gpu-{here['backend']}.md") as temporary:
            temporary.write_text(page(measured, rates, here, _TINY.value))
    print(page(measured, rates, here, _TINY.value))


def page(measured: dict, rates: dict, here: dict, tiny: bool) -> str:
    """The tables. The arithmetic of a training step is three times that of the network's forward pass."""
    lines = [
        "# On an accelerator",
        "",
        "Machine: " + ", ".join(f"{name} {value}" for name, value in here.items()) + ".",
        *(["", "Tiny networks: these numbers only show that the program works."] if tiny else []),
        "",
        "Matrix products: " + ", ".join(f"{p} {rate / 1e12:.3g} TFLOP/s" for p, rate in rates.items()) + ".",
        "",
        "| network/precision/batch | step s | TFLOP/s | share | forecast s | share | CPU s | memory GB | days |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for what, of in measured.items():
        if "failed" in of:
            lines.append(f"| {what} | failed | | | | | | | |")
            continue
        rate = {kind: of["flops"][kind] / of["seconds"][kind] for kind in ("training", "forecast")}
        limit = rates[what.split("/")[1]]
        memory = "" if of["memory"] is None else f"{of['memory'] / 1e9:.2f}"
        seconds = of["seconds"]["training"]
        lines.append(
            f"| {what} | {seconds:.4f} | {rate['training'] / 1e12:.3g} | {rate['training'] / limit:.0%} | "
            f"{of['seconds']['forecast']:.4f} | {rate['forecast'] / limit:.0%} | {of['processor_seconds']:.4f} | "
            f"{memory} | {STEPS * seconds / 86400:.1f} |"
        )
    lines += ["", "Days are for the paper's 500,000 steps. If the CPU time is close to the time of the step, the step"]
    lines += ["is limited by kernel launches instead of the device.", ""]
    for what, of in measured.items():
        if of.get("kernels"):
            kernels = "; ".join(f"{k['name']} {k['seconds']:.4f} s in {k['calls']}" for k in of["kernels"][:5])
            lines.append(f"- {what}: {kernels}")
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app.run(main)
