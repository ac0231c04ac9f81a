"""Training on a GPU against training on the CPU of the same machine. Runs wherever Keras finds a GPU."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_frnn import models


def losses(family: str, policy: str) -> list[float]:
    keras.utils.set_random_seed(0)
    topology = [("conv", 4, 5), ("pool", 2), ("recurrent", 8, 5), ("pool", 2), ("recurrent", 8, 3), ("recurrent", 8, 3)]
    model = getattr(models, family).from_topology(topology, horizon=5, dtype=policy)
    video = np.random.default_rng(0).uniform(-1, 1, (4, 10, 16, 16, 1)).astype("float32")
    model.compile(keras.optimizers.SGD(0.1), "mse")  # With XLA, by itself, on TensorFlow and JAX.
    return model.fit(video[:, :5], video[:, 5:], epochs=5, verbose=0).history["loss"]


# TensorFloat-32, in which GPUs convolve, has 10 bits of fraction; bfloat16 has 7.
@pytest.mark.parametrize(("policy", "tolerance"), [("float32", 2e-3), ("mixed_bfloat16", 2e-2)])
@pytest.mark.parametrize("family", ["FoldedRNN", "LadderRNN"])
@pytest.mark.accelerator
def test_trains_as_on_the_cpu(family, policy, tolerance):
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    output = subprocess.run([sys.executable, __file__, family], env=environment, check=True, stdout=subprocess.PIPE)
    expected = json.loads(output.stdout.splitlines()[-1])
    assert expected[-1] < expected[0]
    np.testing.assert_allclose(losses(family, policy), expected, rtol=tolerance)


if __name__ == "__main__":
    print(json.dumps(losses(sys.argv[1], "float32")))


def test_tensorflow_leaves_the_gpu_to_the_backend():
    """Without a GPU, what can be seen is that TensorFlow was told to see none."""
    code = (
        "import tensorflow as tf\ncalls = []\n"
        "tf.config.set_visible_devices = lambda devices, kind: calls.append((devices, kind))\n"
        "import numpy as np\nfrom keras_frnn import datasets\n"
        "datasets.from_arrays(np.zeros((1, 20, 8, 8, 1), 'uint8'), format='tf')\nprint('calls', calls)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    expected = [] if keras.backend.backend() == "tensorflow" else [([], "GPU")]
    assert f"calls {expected}" in output
