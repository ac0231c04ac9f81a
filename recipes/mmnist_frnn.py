"""A folded recurrent network on Moving MNIST.

    python recipes/mmnist_frnn.py --preset=quick     handwritten digits inside the package; minutes on two CPU cores
    python recipes/mmnist_frnn.py --preset=small     MNIST (downloaded), a quarter of the paper's width
    python recipes/mmnist_frnn.py --preset=paper     the published protocol: 500,000 steps of batch 12, for a GPU

The presets' networks and training are in experiment.py. Published, with the paper's protocol: a mean MSE of 0.00947,
PSNR of 21.386 dB and DSSIM of 0.04376 over the ten predicted frames. Reached here with `quick`: docs/results.md. To
score on the public test sequences instead of generated ones, pass --test_array=mnist_test_seq.npy.

Set KERAS_BACKEND to tensorflow, jax or torch. An interrupted run goes on with the same command.
"""

import experiment
from absl import app

from keras_frnn import models

BATCH_SIZE = {"paper": 12, "small": 12, "quick": 16}


def main(argv):
    experiment.moving_mnist(argv, "mmnist_frnn", models.FoldedRNN, BATCH_SIZE)


if __name__ == "__main__":
    app.run(main)
