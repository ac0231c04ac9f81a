"""The KTH human action videos to data/kth/train.hdf5 and data/kth/test.hdf5, for kth_frnn.py.

    python recipes/prepare_kth.py videos/kth data/kth

An interrupted run goes on with the same command. Bad videos are named at the end, and the command fails for them,
unless --accept_bad_videos is given; all others are stored nevertheless.
"""

import preparing_command
from absl import app

from keras_frnn import datasets


def main(argv):
    preparing_command.run(argv, datasets.prepare_kth)


if __name__ == "__main__":
    app.run(main)
