"""The ladder network with bridge connections on Moving MNIST: the paper's baseline, in the same topology.

    python recipes/mmnist_rladder.py --preset=quick     handwritten digits inside the package; minutes on two CPU cores
    python recipes/mmnist_rladder.py --preset=small     MNIST (downloaded), a quarter of the paper's width
    python recipes/mmnist_rladder.py --preset=paper     the published protocol: 500,000 steps of batch 6, for a GPU

Published, with the paper's protocol: a mean MSE of 0.04254, PSNR of 13.857 dB and DSSIM of 0.13788 over the ten
predicted frames. Where a finished run of mmnist_frnn.py stands beside this one's, scores and pictures show both. The
rest is as in mmnist_frnn.py.
"""

import experiment
from absl import app

from keras_frnn import models

BATCH_SIZE = {"paper": 6, "small": 6, "quick": 8}


def main(argv):
    experiment.moving_mnist(argv, "mmnist_rladder", models.LadderRNN, BATCH_SIZE)


if __name__ == "__main__":
    app.run(main)
