"""The KTH human action videos: 25 persons, 6 actions, 4 scenarios; 120x160 pixels, gray, 25 frames per second."""

import os
import re

from keras_frnn.datasets.formats import Dataset
from keras_frnn.datasets.protocols import apply_protocol
from keras_frnn.datasets.video_files.clips import Clip, Format, find_videos, shown
from keras_frnn.datasets.video_files.prepare import prepare
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.datasets.windows import window_dataset

PROTOCOLS = {"paper": dict(context=10, horizon=10, frame_step=1, crop=None, mirror=True)}
# One of the 600 was never published: person 13, handclapping, scenario 3.
_VIDEOS = 599
_TRAINING_PERSONS = 16
_NAME = re.compile(r"person(?P<person>\d{2})_(?P<action>[a-z]+)_(?P<scenario>d[1-4])", re.IGNORECASE)


def prepare_kth(
    source: str | os.PathLike,
    output: str | os.PathLike,
    *,
    accept_bad_videos: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Decodes the KTH videos into `train.hdf5` (persons 1 to 16) and `test.hdf5` (persons 17 to 25), for `kth`.

    Five pixels are cropped at the left and the right; the rest is shrunk to 64x80 gray pixels. The attributes are
    `label` (the action), `person` and `scenario`. Everything else is as in `prepare_videos`.

    Args:
        source: folder with the published files, `person01_boxing_d1_uncomp.avi` and so on, with or without subfolders.
        output: folder to write to.
        accept_bad_videos: store the readable part of bad videos instead of raising an error.
        workers: number of decoding processes; by default one per core.
        progress: draw a progress bar.

    Returns:
        The reason for each bad video, by name; with `accept_bad_videos=False`, an empty dictionary.

    Raises:
        FileNotFoundError, ValueError, OSError: as in `prepare_videos`. Videos whose frames are not 120x160
            (height x width), files that are not named like KTH's, and second copies are bad, too.

    Reference: Schuldt, Laptev and Caputo, "Recognizing Human Actions: A Local SVM Approach", ICPR 2004.
    """
    clips: list[Clip] = []
    bad: dict[str, str] = {}
    seen: dict[str, str] = {}
    for path in find_videos(source):
        name = path.relative_to(source).as_posix()
        match = _NAME.match(path.stem)
        if not match or not 1 <= int(match["person"]) <= 25:
            bad[name] = "is not named like KTH's videos, personNN_action_dN"
            continue
        key = match[0].lower()
        if key in seen:
            bad[name] = f"is a second copy of {shown(seen[key])}"
            continue
        seen[key] = name
        person = int(match["person"])
        split = "train" if person <= _TRAINING_PERSONS else "test"
        clips.append(
            Clip(
                path, split, {"label": match["action"].lower(), "person": person, "scenario": match["scenario"].lower()}
            )
        )
    return prepare(
        source,
        output,
        clips=clips,
        format=Format(dataset="kth", protocol="paper", height=64, width=80, channels=1, frame_size=(120, 160), cut=5),
        bad=bad,
        accept_bad_videos=accept_bad_videos,
        workers=workers,
        progress=progress,
    )


def kth(path: str | os.PathLike, split: str, protocol: str = "paper", *, reader: str = "h5py", **windows) -> Dataset:
    """Windows of the KTH videos: 64x80 gray frames.

    Args:
        path: folder written by `prepare_kth`, or one with the authors' `kth_train.hdf5` and `kth_test.hdf5`.
        split: `"train"`: persons 1 to 16, endless and shuffled; or `"test"`: persons 17 to 25, once and in order.
        protocol: `"paper"`: 10 + 10 frames, every frame, every window, randomly mirrored in training.
        reader: as in `video_folder`.
        **windows: the arguments of `video_folder` from `batch_size` to `format`. Deviations from the protocol are
            logged (`absl.logging.info`).

    Returns:
        Dataset of `(context, future)` in the requested format: float32 `(batch, context, 64, 80, 1)` and
        `(batch, horizon, 64, 80, 1)` in [-1, 1].

    Raises:
        FileNotFoundError, ValueError, ImportError: as in `video_folder`; or the protocol is unknown.
    """
    store = open_store(path, split, reader, "kth")
    options = apply_protocol("KTH", protocol, PROTOCOLS, windows, store, (64, 80, 1), _VIDEOS)
    return window_dataset(store, split, **options)
