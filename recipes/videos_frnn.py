"""A folded recurrent network on videos of one's own.

    python recipes/prepare_videos.py my_videos data/video_folder
    python recipes/videos_frnn.py --preset=quick     a small network, minutes on two CPU cores
    python recipes/videos_frnn.py --preset=small     a quarter of the paper's width
    python recipes/videos_frnn.py --preset=paper     the published protocol: 500,000 steps of batch 12, for a GPU

One video in five is for testing. The presets' networks and training are in experiment.py. Another folder than
data/video_folder is passed as --data. Height and width of the prepared frames must be divisible by 16, or by 4 for
`quick`. With --mirror, half of the training sequences are mirrored left to right.

Set KERAS_BACKEND to tensorflow, jax or torch. An interrupted run goes on with the same command.
"""

import experiment
from absl import app, flags

from keras_frnn import datasets, models

_MIRROR = flags.DEFINE_boolean("mirror", False, "Train on mirrored videos, too: not where left and right matter.")

BATCH_SIZE = {"paper": 12, "small": 12, "quick": 4}
FIRST_STEPS = """\
Prepare your videos and try again:

    python recipes/prepare_videos.py my_videos data/video_folder
    python recipes/videos_frnn.py"""


def main(argv):
    experiment.videos(
        argv,
        "videos_frnn",
        models.FoldedRNN,
        BATCH_SIZE,
        datasets.video_folder,
        FIRST_STEPS,
        mirror=_MIRROR.value,
    )


if __name__ == "__main__":
    app.run(main)
