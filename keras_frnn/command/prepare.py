"""`keras-frnn prepare`: decodes videos once, for training and testing."""

from typing import Any

from keras_frnn import datasets
from keras_frnn.command.before_keras import preparing_settings
from keras_frnn.datasets.video_files.prepare import summary


def prepare(folder: str, output: str, dataset: str, accept_bad_videos: bool, workers: int | None, **flags: Any):
    """Decodes the videos of a folder with the `datasets.prepare_...` of a dataset.

    Args:
        folder: folder of the videos.
        output: folder to write to.
        dataset: `"videos"`, `"kth"` or `"ucf101"`.
        accept_bad_videos: store what can be read of bad videos, and end without an error.
        workers: decoding processes; None: one per core.
        flags: the flags of `before_keras.PREPARING`, None where one is not given.
    """
    settings = preparing_settings(dataset, flags)
    if "gray" in settings:
        settings["color"] = not settings.pop("gray")
    if "protocol" in settings:
        settings["split"] = settings.pop("protocol")
    decode = getattr(datasets, f"prepare_{dataset}")
    bad = decode(folder, output, **settings, accept_bad_videos=accept_bad_videos, workers=workers)
    print(summary(bad, folder, output))
