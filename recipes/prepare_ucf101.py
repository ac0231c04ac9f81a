"""UCF101 to data/ucf101/train.hdf5 and data/ucf101/test.hdf5, for ucf101_frnn.py.

    python recipes/prepare_ucf101.py videos/ucf101 data/ucf101
    python recipes/prepare_ucf101.py videos/ucf101 data/ucf101-official-1 --split=official-1

The paper's split puts clips of one scene on both sides; the official ones do not.

An interrupted run goes on with the same command. Bad videos are named at the end, and the command fails for them,
unless --accept_bad_videos is given; all others are stored nevertheless.
"""

import preparing_command
from absl import app, flags

from keras_frnn import datasets

_SPLIT = flags.DEFINE_enum(
    "split", "paper", ["paper", "official-1", "official-2", "official-3"], "Which clips are for training."
)
_LISTS = flags.DEFINE_string("lists", None, "Folder of trainlist01.txt and so on; in or beside the videos' by default.")
_SEED = flags.DEFINE_integer("split_seed", 0, "Of the paper's split.")


def main(argv):
    preparing_command.run(argv, datasets.prepare_ucf101, split=_SPLIT.value, lists=_LISTS.value, seed=_SEED.value)


if __name__ == "__main__":
    app.run(main)
