"""The benchmarks, on networks of a few channels."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
from absl.testing import flagsaver

from keras_frnn import evaluation, models

pytestmark = pytest.mark.once
BENCHMARK = pathlib.Path(__file__).parent.parent / "benchmarks" / "cost.py"


@pytest.fixture(autouse=True)
def no_flags_stay():
    """Programs define flags of the same names."""
    with flagsaver.flagsaver():
        yield


def test_measures_one_model_in_a_process(monkeypatch):
    command = [sys.executable, BENCHMARK, "--only=fRNN", "--width=0.02", "--batch_size=1", "--repeats=1", "--steps=2"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    measured = evaluation.Cost(**json.loads(result.stdout.splitlines()[-1]))
    topology = models.scale_topology(models.PAPER_TOPOLOGY, 0.02)
    counted = evaluation.cost(models.FoldedRNN.from_topology(topology, 2), (64, 64, 1), context=2, horizon=2)
    assert (measured.weights, measured.macs) == (counted.weights, counted.macs)
    assert measured.training_step_seconds > 0

    monkeypatch.syspath_prepend(BENCHMARK.parent)
    import cost

    setting = {"frame": (64, 64, 1), "context": 2, "horizon": 2, "width": 0.02, "batch_size": 1, "repeats": 1}
    twice = evaluation.Cost(**{**measured.__dict__, "training_step_seconds": 2 * measured.training_step_seconds})
    table = cost._table({"fRNN": counted}, {"fRNN": measured, "slow": twice}, setting)
    assert f"| fRNN | {counted.weights:,} | {counted.encode_macs / 1e9:.1f} |" in table
    assert f"{twice.training_step_seconds:.2f} (2.00)" in table


def test_table_of_speed(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    import speed

    measured = [speed.row("rate", 0.8, 0.9, less=False), speed.row("memory", 1.25, 1.5, bound=1.0)]
    first_steps = {"full": {"seconds": 4.0, "stages": dict.fromkeys(speed.JAX_STAGES.values(), 1.25)}}
    table = speed._table(measured, first_steps, {"jax": {"fRNN float32": 0.25}})
    assert "| rate | 0.800 | 0.90 | missed |  |" in table
    assert "| memory | 1.250 | 1.50 | met | 1.000 |" in table
    assert "| full | 4.00 | 1.25 | 1.25 | 1.25 |" in table
    assert "| fRNN float32 | 0.2500 |" in table


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="the stages are JAX's")
def test_stages_of_a_first_step(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    import jax
    import speed

    seconds = speed.jax_stages()
    jax.jit(lambda x: x + 1)(np.float32(1))
    assert set(seconds) == set(speed.JAX_STAGES.values())
    assert min(seconds.values()) > 0


def test_time_major_baseline_has_the_weights_and_frames_of_the_network(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    import baselines

    topology = [("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3), ("recurrent", 4, 3)]
    plain = baselines.TimeMajorFoldedRNN(topology, 2)
    plain.build((1, 3, 8, 8, 1))
    network = models.FoldedRNN.from_topology(topology, 2)
    network.build((1, 3, 8, 8, 1))
    weights = sum(int(np.prod(weight.shape)) for weight in plain.trainable_variables)
    # It has no trainable initial states, and a kernel for each direction of the convolution.
    assert weights == network.count_params() - 3 - 4 + 3 * 3 * 1 * 2
    assert plain(np.zeros((1, 3, 8, 8, 1), "float32")).shape == (1, 2, 8, 8, 1)


def test_convolutions_alone_are_those_of_the_network(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    import baselines

    from keras_frnn import backend

    topology = [("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3), ("pool", 2), ("recurrent", 4, 3), ("recurrent", 2, 1)]
    network = models.FoldedRNN.from_topology(topology, 3)
    network.build((1, 4, 8, 8, 1))
    macs = {"forward": 0, "inputs": 0, "kernels": 0}

    def counted(kind, function, count):
        def run(*arguments):
            macs[kind] += count(*arguments)
            return function(*arguments)

        return run

    def size(*parts):
        return int(np.prod([np.prod(part) for part in parts]))

    # Frames, times pixels, times entries of the kernel; x is the input and y the output.
    for kind, name, count in (
        ("forward", "upsampled_conv", lambda x, kernel, factors: size(x.shape[:3], factors, kernel.shape)),
        ("inputs", "input_gradient", lambda y, kernel: size(y.shape[:3], kernel.shape)),
        ("kernels", "kernel_gradient", lambda x, y, side: size(x.shape, side, y.shape[3])),
    ):
        replaced = counted(kind, getattr(backend, name), count)
        for module in (backend, backend.engine) if hasattr(backend.engine, name) else (backend,):
            monkeypatch.setattr(module, name, replaced)
    baselines.convolutions(network.stack, 2, context=4, horizon=3, size=8, training=True)()
    forward = 2 * evaluation.cost(network, (8, 8, 1), context=4, horizon=3).macs
    # The gradient of the frames is not computed.
    frames = 2 * 4 * 8 * 8 * 3 * 3 * 2
    assert macs == {"forward": forward, "inputs": forward - frames, "kernels": forward}


def test_table_of_training_cost(monkeypatch, tmp_path):
    command = [sys.executable, BENCHMARK.with_name("training_cost.py"), "--only=quick:16:3", "--batch_size=1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    measured = evaluation.Cost(**json.loads(result.stdout.splitlines()[-1]))
    monkeypatch.syspath_prepend(BENCHMARK.parent)
    import training_cost
    from training_cost import Row

    counted = {row.key: row for row in training_cost.count()}
    assert len(counted) == 4 * 2 * 3
    for key in ("quick:128:1", "moving-pictures:256:3"):
        assert counted[key].macs == training_cost.cost(key, None).macs
    assert counted["moving-pictures:64:1"].parameters < counted["moving-pictures:64:3"].parameters
    assert measured.weights == counted["quick:64:3"].parameters
    assert 16 * measured.macs == counted["quick:64:3"].macs
    # Arithmetic and memory of what is not measured follow from what is.
    rows = [Row("a", 64, 1, 10, 10**9, 0.3, 1e9, True), Row("a", 128, 1, 10, 4 * 10**9, 1.2, 1.75e9, True)]
    rows += [Row("a", 256, 1, 10, 16 * 10**9), Row("b", 64, 3, 20, 2 * 10**9)]
    training_cost.compute(rows)
    table = training_cost.table(rows, batch_size=2)
    assert "| a | 128x128 gray | 10 | 4.0 | 1.8 | 20 |" in table
    assert "| a | 256x256 gray | 10 | 16.0 | about 4.0 | about 80 |" in table
    assert "| b | 64x64 color | 20 | 2.0 |  | about 10 |" in table
    assert "trained at 40 to 40 GFLOP/s" in table.replace("\n", " ")
