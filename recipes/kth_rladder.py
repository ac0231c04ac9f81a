"""The ladder network with bridge connections on the KTH videos: the paper's baseline, in the same topology.

    python recipes/prepare_kth.py videos/kth data/kth
    python recipes/kth_rladder.py --preset=quick     a small network, minutes on two CPU cores
    python recipes/kth_rladder.py --preset=small     a quarter of the paper's width
    python recipes/kth_rladder.py --preset=paper     the published protocol: 500,000 steps of batch 6, for a GPU

Published, with the paper's protocol: a mean MSE of 0.00139, PSNR of
31.268 dB and DSSIM of 0.05945 over the ten predicted frames. Where a finished run of
kth_frnn.py stands beside this one's, scores and pictures show both. The rest is as in kth_frnn.py.
"""

import experiment
from absl import app

from keras_frnn import datasets, models

BATCH_SIZE = {"paper": 6, "small": 6, "quick": 2}
FIRST_STEPS = """\
The KTH videos are at https://www.csc.kth.se/cvap/actions/: download walking.zip, jogging.zip, running.zip, boxing.zip,
handwaving.zip and handclapping.zip, and unpack them into one folder, videos/kth say. Then prepare them and try again:

    python recipes/prepare_kth.py videos/kth data/kth
    python recipes/kth_rladder.py"""


def main(argv):
    experiment.videos(argv, "kth_rladder", models.LadderRNN, BATCH_SIZE, datasets.kth, FIRST_STEPS)


if __name__ == "__main__":
    app.run(main)
