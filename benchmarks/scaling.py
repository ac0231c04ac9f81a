"""How several devices share the work: compares training on them with training on one device, at the same batch size.

    python benchmarks/scaling.py

On each backend, a small network trains for a few steps on one device, and with the same initial weights on several:
virtual CPUs on TensorFlow and JAX, processes on Torch. With enough GPUs, `--kind=gpu` uses these.
Writes benchmarks/results/scaling.json and docs/speed.md.
"""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import warnings

from absl import app, flags

_BACKENDS = flags.DEFINE_list("backends", ["tensorflow", "jax", "torch"], "Backends to measure.")
_KIND = flags.DEFINE_enum("kind", "cpu", ["cpu", "gpu"], "Devices to train on.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 8, "Sequences per step, on all devices together.")
_STEPS = flags.DEFINE_integer("steps", 3, "Training steps.")
_SIZE = flags.DEFINE_integer("size", 16, "Side of the frames in pixels.")
_FILTERS = flags.DEFINE_integer("filters", 8, "Channels of the recurrent layers.")
_MEASURE = flags.DEFINE_integer("measure", None, "Measure with this number of devices in this process and print JSON.")

ROOT = pathlib.Path(__file__).parent.parent
DEVICES = {"tensorflow": 2, "jax": 4, "torch": 2}
WAYS = {
    "tensorflow": "TensorFlow, MirroredStrategy",
    "jax": "JAX, DataParallel",
    "torch": "Torch, DistributedDataParallel",
}
CONTEXT = HORIZON = 4


def measure(count: int) -> dict:
    """Trains on one device, then on several, in this process and its peers."""
    import keras

    from keras_frnn.experiments import devices

    if keras.backend.backend() == "tensorflow" and _KIND.value == "cpu":
        import tensorflow as tf

        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    place = devices.join(count, _BATCH_SIZE.value, _KIND.value)
    one = train(devices.Place())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        several = train(place)
    return {
        "devices": place.devices,
        "losses": [one["losses"], several["losses"]],
        "loss_difference": max(abs(a - b) for a, b in zip(one["losses"], several["losses"], strict=True)),
        "weight_difference": max(
            float(abs(a - b).max()) for a, b in zip(one["weights"], several["weights"], strict=True)
        ),
        "share": several["flops"] / one["flops"],
        "gathered": several["gathered"],
        "warnings": sorted({str(warning.message) for warning in caught}),
    }


def train(place) -> dict:
    import keras
    import numpy as np

    from keras_frnn import models

    recurrent = [("recurrent", _FILTERS.value, 5), ("pool", 2), ("minimal", _FILTERS.value, 3)]
    keras.utils.set_random_seed(0)
    size, batch = _SIZE.value, _BATCH_SIZE.value
    video = np.random.default_rng(0).uniform(-1, 1, (batch, CONTEXT + HORIZON, size, size, 1)).astype("float32")
    video = video[place.process :: place.processes]
    context, future = video[:, :CONTEXT], video[:, CONTEXT:]
    with place.scope():
        model = models.FoldedRNN.from_topology([("conv", 4, 3), ("pool", 2), *recurrent, recurrent[0]], HORIZON)
        model.build(context.shape)
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
        place.prepare(model)
        history = model.fit(context, future, batch_size=len(video), epochs=_STEPS.value, verbose=0)
        # Backends that do not compile the whole step share the arithmetic in proportion to the batch.
        compiled = _compiled(model, context, future) if keras.backend.backend() == "jax" else None
        weights = model.get_weights()
    return {
        "losses": history.history["loss"],
        "weights": weights,
        "flops": compiled.cost_analysis()["flops"] if compiled else batch / place.devices,
        "gathered": _gathered(compiled.as_text()) if compiled else 0,
    }


def _compiled(model, context, future):
    """JAX's training step, for these devices."""
    import jax
    import keras

    kinds = ("trainable_variables", "non_trainable_variables", "optimizer_variables", "metrics_variables")
    state = tuple([variable.value for variable in getattr(model, kind, model.optimizer.variables)] for kind in kinds)
    data = (context, future)
    if distribution := keras.distribution.distribution():
        data = tuple(jax.device_put(part, distribution.get_data_layout(part.shape).backend_layout) for part in data)
    return jax.jit(model.train_step).lower(state, data).compile()


def _gathered(program: str) -> int:
    """Count of numbers that are transferred between devices, except for the gradients that they add."""
    moved = re.findall(r"= (\S+) (?:all-gather|all-to-all|collective-permute)(?:-start)?\(", program)
    count = 0
    for shape in moved:
        for sides in re.findall(r"\[([\d,]*)\]", shape):
            number = 1
            for side in filter(None, sides.split(",")):
                number *= int(side)
            count += number
    return count


def in_processes_of_its_own(backend: str) -> dict:
    count = DEVICES[backend]
    command = [sys.executable, *sys.argv, f"--measure={count}"]
    environment = os.environ | {"KERAS_BACKEND": backend}
    if backend == "jax" and _KIND.value == "cpu":
        flag = f"--xla_force_host_platform_device_count={count}"
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    if backend == "torch":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    processes = []
    for number in range(count if backend == "torch" else 1):
        ranks = {"RANK": str(number), "LOCAL_RANK": str(number)} if backend == "torch" else {}
        processes.append(subprocess.Popen(command, env=environment | ranks, stdout=subprocess.PIPE, text=True))
    try:
        output, *_ = [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
    if any(process.returncode for process in processes):
        raise RuntimeError(f"Training on {count} devices failed on {backend}.")
    return json.loads(output.splitlines()[-1])


def main(_):
    if _MEASURE.value:
        print(json.dumps(measure(_MEASURE.value)))
        return
    from keras_frnn.files import atomic_path
    from keras_frnn.machine import machine

    results = {backend: in_processes_of_its_own(backend) for backend in _BACKENDS.value}
    here = {name: value for name, value in machine().items() if name != "backend"}
    text = _page(results, here)
    print(text)
    folder = pathlib.Path(__file__).parent / "results"
    with atomic_path(folder / "scaling.json") as temporary:
        temporary.write_text(json.dumps({"machine": here, "kind": _KIND.value, "measured": results}, indent=2) + "\n")
    with atomic_path(ROOT / "docs" / "speed.md") as temporary:
        temporary.write_text(text)


def _page(results: dict, here: dict) -> str:
    lines = [
        "# Speed on several devices",
        "",
        f"A small network is trained for {_STEPS.value} steps with batches of {_BATCH_SIZE.value} sequences on several "
        "devices and on one device, with the same initial weights. On JAX, the share of the arithmetic is counted in "
        "the step compiled for each device; elsewhere it is the share of the batch. Numbers moved are those of frames "
        "and features that go from device to device, in addition to the gradients. Virtual devices on one processor "
        "say nothing about time: see docs/gpu.md. Written by `python benchmarks/scaling.py`.",
        "",
        "Machine: " + ", ".join(f"{name} {value}" for name, value in here.items()) + f". Devices: {_KIND.value}.",
        "",
        "| | devices | share of the arithmetic | numbers moved | difference of losses | of weights |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for backend, of in results.items():
        lines.append(
            f"| {WAYS[backend]} | {of['devices']} | {of['share']:.3f} | {of['gathered']:,} | "
            f"{of['loss_difference']:.1e} | {of['weight_difference']:.1e} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main)
