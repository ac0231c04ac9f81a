"""The ladder network with bridge connections on UCF101: the paper's baseline, in the same topology.

    python recipes/prepare_ucf101.py videos/ucf101 data/ucf101
    python recipes/ucf101_rladder.py --preset=quick     a small network, minutes on two CPU cores
    python recipes/ucf101_rladder.py --preset=small     a quarter of the paper's width
    python recipes/ucf101_rladder.py --preset=paper     the published protocol: 500,000 steps of batch 6, for a GPU

Published, with the paper's protocol: a mean MSE of 0.00918, PSNR of
23.558 dB and DSSIM of 0.13395 over the ten predicted frames. Where a finished run of
ucf101_frnn.py stands beside this one's, scores and pictures show both. The rest is as in ucf101_frnn.py.
"""

import experiment
from absl import app

from keras_frnn import datasets, models

BATCH_SIZE = {"paper": 6, "small": 6, "quick": 2}
FIRST_STEPS = """\
UCF101 is at https://www.crcv.ucf.edu/data/UCF101.php: download UCF101.rar and unpack it into a folder, videos/ucf101
say. Then prepare it and try again:

    python recipes/prepare_ucf101.py videos/ucf101 data/ucf101
    python recipes/ucf101_rladder.py"""


def main(argv):
    experiment.videos(argv, "ucf101_rladder", models.LadderRNN, BATCH_SIZE, datasets.ucf101, FIRST_STEPS)


if __name__ == "__main__":
    app.run(main)
