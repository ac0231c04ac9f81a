"""A folder of videos to data/video_folder/train.hdf5 and test.hdf5 there, for videos_frnn.py.

    python recipes/prepare_videos.py my_videos data/video_folder --height=64 --width=64

An interrupted run goes on with the same command. Bad videos are named at the end, and the command fails for them,
unless --accept_bad_videos is given; all others are stored nevertheless.
"""

import preparation
from absl import app, flags

from keras_frnn import datasets

_HEIGHT = flags.DEFINE_integer("height", 64, "Of the stored frames, in pixels.", lower_bound=1)
_WIDTH = flags.DEFINE_integer("width", 64, "Of the stored frames, in pixels.", lower_bound=1)
_COLOR = flags.DEFINE_boolean("color", True, "Store colour; else grey.")
_TEST_FRACTION = flags.DEFINE_float("test_fraction", 0.2, "Part of the videos that is for testing.")


def main(argv):
    preparation.run(
        argv,
        datasets.prepare_videos,
        size=(_HEIGHT.value, _WIDTH.value),
        color=_COLOR.value,
        test_fraction=_TEST_FRACTION.value,
    )


if __name__ == "__main__":
    app.run(main)
