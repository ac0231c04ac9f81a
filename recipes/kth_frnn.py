"""A folded recurrent network on the KTH human action videos.

    python recipes/prepare_kth.py videos/kth data/kth
    python recipes/kth_frnn.py --preset=quick     a small network, minutes on two CPU cores
    python recipes/kth_frnn.py --preset=small     a quarter of the paper's width
    python recipes/kth_frnn.py --preset=paper     the published protocol: 500,000 steps of batch 12, for a GPU

Persons 1 to 16 are for training, 17 to 25 for testing; frames are 64x80, grey. The presets' networks and training are
in experiment.py. Another folder than data/kth is passed as --data. Published, with the paper's protocol: a mean MSE of
0.00175, PSNR of 29.299 dB and DSSIM of 0.07251 over the ten predicted frames.

Set KERAS_BACKEND to tensorflow, jax or torch. An interrupted run goes on with the same command.
"""

import experiment
from absl import app

from keras_frnn import datasets, models

BATCH_SIZE = {"paper": 12, "small": 12, "quick": 4}
FIRST_STEPS = """\
The KTH videos are at https://www.csc.kth.se/cvap/actions/: download walking.zip, jogging.zip, running.zip, boxing.zip,
handwaving.zip and handclapping.zip, and unpack them into one folder, videos/kth say. Then prepare them and try again:

    python recipes/prepare_kth.py videos/kth data/kth
    python recipes/kth_frnn.py"""


def main(argv):
    experiment.videos(argv, "kth_frnn", models.FoldedRNN, BATCH_SIZE, datasets.kth, FIRST_STEPS)


if __name__ == "__main__":
    app.run(main)
