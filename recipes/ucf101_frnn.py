"""A folded recurrent network on UCF101, clips of human actions from the web.

    python recipes/prepare_ucf101.py videos/ucf101 data/ucf101
    python recipes/ucf101_frnn.py --preset=quick     a small network, minutes on two CPU cores
    python recipes/ucf101_frnn.py --preset=small     a quarter of the paper's width
    python recipes/ucf101_frnn.py --preset=paper     the published protocol: 500,000 steps of batch 12, for a GPU

Three quarters of the clips of each action are for training; frames are 64x80, in colour, every second one of the video.
The presets' networks and training are in experiment.py. Another folder than data/ucf101 is passed as --data, that of an
official split for example. Published, with the paper's protocol: a mean MSE of 0.00908, PSNR of
23.872 dB and DSSIM of 0.13055 over the ten predicted frames.

Set KERAS_BACKEND to tensorflow, jax or torch. An interrupted run goes on with the same command.
"""

import experiment
from absl import app

from keras_frnn import datasets, models

BATCH_SIZE = {"paper": 12, "small": 12, "quick": 4}
FIRST_STEPS = """\
UCF101 is at https://www.crcv.ucf.edu/data/UCF101.php: download UCF101.rar and unpack it into a folder, videos/ucf101
say. Then prepare it and try again:

    python recipes/prepare_ucf101.py videos/ucf101 data/ucf101
    python recipes/ucf101_frnn.py"""


def main(argv):
    experiment.videos(argv, "ucf101_frnn", models.FoldedRNN, BATCH_SIZE, datasets.ucf101, FIRST_STEPS)


if __name__ == "__main__":
    app.run(main)
