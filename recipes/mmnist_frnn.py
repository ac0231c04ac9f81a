"""A folded recurrent network on Moving MNIST.

    python recipes/mmnist_frnn.py --preset=quick     handwritten digits inside the package; minutes on two CPU cores
    python recipes/mmnist_frnn.py --preset=small     MNIST (downloaded), a quarter of the paper's width
    python recipes/mmnist_frnn.py --preset=paper     the published protocol: 500,000 steps, for a GPU and days

The paper reports, on its test set and with the paper's protocol, a mean MSE of 0.00947, PSNR of 21.386 dB and DSSIM of
0.04376 over the ten predicted frames. To score on the public test sequences instead of generated ones, pass
--test_array=mnist_test_seq.npy.

Set KERAS_BACKEND to tensorflow, jax or torch. An interrupted run goes on with the same command.
"""

import pathlib

import experiment
import keras
from absl import app, flags

from keras_frnn import datasets, layers, models

PRESETS = {
    "paper": dict(
        topology=models.PAPER_TOPOLOGY,
        kernel_initializer=layers.ScaledOrthogonal,
        training=experiment.Training(
            steps=500_000,
            steps_per_epoch=1_000,
            batch_size=12,
            loss="mae",
            optimizer=lambda: keras.optimizers.RMSprop(1e-4),
        ),
        data=dict(digits="mnist", size=64),
        test_sequences=10_000,
    ),
    "small": dict(
        topology=models.scale_topology(models.PAPER_TOPOLOGY, 1 / 4),
        kernel_initializer=keras.initializers.GlorotUniform,
        training=experiment.Training(
            steps=20_000,
            steps_per_epoch=500,
            batch_size=12,
            loss="mse",
            optimizer=lambda: keras.optimizers.Adam(
                keras.optimizers.schedules.CosineDecay(1e-3, 20_000, alpha=0.02), clipnorm=1.0
            ),
        ),
        data=dict(digits="mnist", size=64),
        test_sequences=1_000,
    ),
    "quick": dict(
        topology=[
            ("conv", 16, 5),
            ("pool", 2),
            ("recurrent", 24, 5),
            ("pool", 2),
            ("recurrent", 48, 5),
        ],
        kernel_initializer=keras.initializers.GlorotUniform,
        training=experiment.Training(
            steps=600,
            steps_per_epoch=60,
            batch_size=16,
            loss="mse",
            optimizer=lambda: keras.optimizers.Adam(
                keras.optimizers.schedules.CosineDecay(3e-3, 600, alpha=0.02), clipnorm=1.0
            ),
        ),
        data=dict(digits="uci", size=32, speed=0.05),
        test_sequences=200,
    ),
}

_PRESET = flags.DEFINE_enum("preset", "quick", list(PRESETS), "Size of the network, its training and its data.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for everything that the run writes; runs/mmnist_frnn-PRESET.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the initial weights and of the training sequences.")
_TEST_ARRAY = flags.DEFINE_string("test_array", None, "Path of mnist_test_seq.npy, the public test sequences.")


def main(_):
    preset = PRESETS[_PRESET.value]
    training, data = preset["training"], preset["data"]

    def make_model():
        keras.utils.set_random_seed(_SEED.value)
        initializer = preset["kernel_initializer"]()
        return models.FoldedRNN.from_topology(preset["topology"], horizon=10, kernel_initializer=initializer)

    def train_data(steps_done):
        batch_size = training.batch_size
        return datasets.moving_mnist(
            "train", **data, batch_size=batch_size, seed=_SEED.value, start=steps_done * batch_size
        )

    experiment.run(
        make_model,
        training,
        train_data,
        datasets.moving_mnist(
            "test", **data, batch_size=50, sequences=preset["test_sequences"], path=_TEST_ARRAY.value
        ),
        settings={"recipe": "mmnist_frnn", "preset": _PRESET.value, "seed": _SEED.value},
        output=pathlib.Path(_OUTPUT.value or f"runs/mmnist_frnn-{_PRESET.value}"),
    )


if __name__ == "__main__":
    app.run(main)
