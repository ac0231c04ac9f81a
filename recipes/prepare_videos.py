"""A folder of videos to data/video_folder/train.hdf5 and test.hdf5 there, for videos_frnn.py.

    python recipes/prepare_videos.py my_videos data/video_folder --size=64x64

An interrupted run goes on with the same command. Bad videos are named at the end, and the command fails for them,
unless --accept_bad_videos is given; all others are stored nevertheless.
"""

import re

import preparing_command
from absl import app, flags

from keras_frnn import datasets

_SIZE = flags.DEFINE_string("size", "64x64", "HEIGHTxWIDTH of the stored frames, in pixels.")
flags.register_validator(
    "size", lambda size: re.fullmatch(r"[1-9]\d*x[1-9]\d*", size), "is HEIGHTxWIDTH, such as 64x80"
)
_COLOR = flags.DEFINE_boolean("color", True, "Store colour; else grey.")
_TEST_FRACTION = flags.DEFINE_float("test_fraction", 0.2, "About what part of the videos is for testing.")
_GROUP = flags.DEFINE_string("group", None, "Regular expression: videos with the same match stay on one side.")
_TEST = flags.DEFINE_multi_string("test", None, "Pattern of videos for testing, such as 'tuesday/*'; repeatable.")
_RATE = flags.DEFINE_float("rate", None, "Frames per second to store; all frames by default.")


def main(argv):
    size = tuple(int(side) for side in _SIZE.value.split("x"))
    arguments = dict(
        size=size,
        color=_COLOR.value,
        test_fraction=_TEST_FRACTION.value,
        group=_GROUP.value,
        test=_TEST.value,
        rate=_RATE.value,
    )
    preparing_command.run(argv, datasets.prepare_videos, **arguments)


if __name__ == "__main__":
    app.run(main)
