"""Training on several devices: virtual CPUs on TensorFlow and JAX, processes on Torch."""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys

import h5py
import keras
import numpy as np
import pytest
import videos_frnn

from keras_frnn.experiments import devices, run_folder
from keras_frnn.experiments.command_line import main

RECIPES = pathlib.Path(videos_frnn.__file__).parent
BACKEND = keras.backend.backend()
# Two logical CPUs of TensorFlow can be made inside a program only.
VIRTUAL = (
    "import runpy, sys, tensorflow as tf; (cpu,) = tf.config.list_physical_devices('CPU'); "
    "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2); "
    "sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)


# In a process of its own: another script's flags may have the same names.
MEASURE = """
import json, sys
import scaling
sys.argv = [scaling.__file__, "--filters=4", "--size=16"]
scaling.flags.FLAGS(sys.argv)
print(json.dumps(scaling.in_processes_of_its_own(sys.stdin.read())))
"""


def test_several_devices_train_as_one_does():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(RECIPES.parent / "benchmarks"), *sys.path])}
    command = [sys.executable, "-c", MEASURE]
    result = subprocess.run(command, input=BACKEND, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    measured = json.loads(result.stdout.splitlines()[-1])
    assert measured["devices"] == (4 if BACKEND == "jax" else 2)
    assert measured["losses"][0][0] > measured["losses"][0][-1]
    assert measured["loss_difference"] < 1e-5
    assert measured["weight_difference"] < 1e-5
    assert not [warning for warning in measured["warnings"] if "strides" in warning]
    if BACKEND == "jax":
        assert measured["share"] <= 0.27
        assert measured["gathered"] < 8 * 16 * 16  # One step's frames of the batch.


def flags(folder, data) -> list[str]:
    return [
        "train",
        f"--output={folder}",
        f"--data={data}",
        "--topology=(('conv',2,3),('pool',2),('recurrent',3,3))",
        "--crop=none",
        "--context=2",
        "--horizon=2",
        "--batch_size=4",
        "--iterations=4",
        "--checkpoint_every=2",
        "--optimizer=RMSprop",
    ]


def weights(folder):
    return run_folder.load(folder / "model.keras", compile=False)[0].get_weights()


@pytest.fixture
def data(tmp_path):
    for split in ("train", "test"):
        with h5py.File(tmp_path / f"{split}.hdf5", "w") as file:
            file["video"] = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1), "uint8")
    return tmp_path


def train_on_one_device(folder, data):
    presets = dict(paper=videos_frnn.PAPER, small=videos_frnn.SMALL, quick=videos_frnn.QUICK)
    main("recipes/videos_frnn.py", argv=flags(folder, data), **presets)


def assert_same_weights(one, other):
    for a, b in zip(weights(one), weights(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("count", [pytest.param(2, marks=[] if BACKEND == "torch" else pytest.mark.slow)])
def test_goes_on_with_another_number_of_devices(tmp_path, data, count):
    one, several = tmp_path / "one", tmp_path / "several"
    train_on_one_device(one, data)
    shutil.copytree(one, several)
    (several / "model.keras").unlink()
    (several / "checkpoints" / "00000004.keras").unlink()
    program = ["-c", VIRTUAL] if BACKEND == "tensorflow" else []
    command = [sys.executable, *program, str(RECIPES / "videos_frnn.py"), *flags(several, data)]
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
    command.append(f"--devices={count}")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "Going on from iteration 2 of 4." in done.stdout
    assert done.stdout.count("iteration 4 of 4") == 1
    assert_same_weights(one, several)
    settings = json.loads((several / "settings.json").read_text())
    assert settings["experiment"]["devices"] == 1


@pytest.mark.slow
def test_two_hosts_train_as_one_device_does(tmp_path, data):
    # Two processes of this machine, each told that it is a host.
    one, several = tmp_path / "one", tmp_path / "several"
    train_on_one_device(one, data)
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports.append(free.getsockname()[1])
    addresses = [f"127.0.0.1:{port}" for port in ports]
    hosts = []
    for index in range(2):
        worker = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {
            "tensorflow": {"TF_CONFIG": json.dumps(worker)},
            "jax": {
                "KERAS_DISTRIBUTION_JOB_ADDRESSES": addresses[0],
                "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
                "KERAS_DISTRIBUTION_PROCESS_ID": f"{index}",
            },
            "torch": {},
        }[BACKEND]
        launcher = []
        if BACKEND == "torch":
            where = ["--nnodes=2", f"--node-rank={index}", "--master-addr=127.0.0.1", f"--master-port={ports[0]}"]
            launcher = ["-m", "torch.distributed.run", *where, "--nproc-per-node=1"]
        command = [sys.executable, *launcher, str(RECIPES / "videos_frnn.py"), *flags(several, data)]
        pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
        hosts.append(subprocess.Popen(command, env=os.environ | environment, **pipes))
    try:
        outputs = [host.communicate(timeout=500)[0] for host in hosts]
    finally:
        for host in hosts:
            host.kill()
    assert [host.returncode for host in hosts] == [0, 0], outputs
    assert ["iteration 4 of 4" in output for output in outputs] == [True, False]
    assert_same_weights(one, several)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 4), "3 devices cannot share a batch of 4 sequences equally. Pass .*--batch_size=6, or other --devices"),
        ((64, 64, "gpu"), "--devices=64, but .* has 0 GPUs here. Pass --devices=1, or"),
    ],
)
def test_devices_that_are_not_there_or_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        devices.join(*arguments)
