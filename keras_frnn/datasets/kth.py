"""The KTH human action videos: 25 persons, 6 actions, 4 scenarios; 120x160 pixels, grey, 25 frames a second."""

import os
import re

from keras_frnn.datasets.faces import Dataset
from keras_frnn.datasets.protocols import apply_protocol
from keras_frnn.datasets.video_files.clips import Clip, Format, find_videos, shown
from keras_frnn.datasets.video_files.prepare import prepare
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.datasets.windows import window_dataset

PROTOCOLS = {"paper": dict(context=10, horizon=10, frame_step=1, crop=None, mirror=True)}
# Of 600, one was never published: person 13, handclapping, scenario 3.
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

    Five pixels are cut off left and right; what remains is shrunk to 64x80 grey pixels. The rest is as in
    `prepare_videos`; the attributes are `label` (the action), `person` and `scenario`.

    Args:
        source: folder with the published files, `person01_boxing_d1_uncomp.avi` and so on, in subfolders or not.
        output: folder to write to.
        accept_bad_videos: store what can be read of bad videos, and do not raise an error for them.
        workers: decoding processes; by default one a core.
        progress: draw a progress bar.

    Returns:
        The bad videos, name to reason; with `accept_bad_videos=False`, an empty dictionary.

    Raises:
        FileNotFoundError, ValueError, OSError: as `prepare_videos`. Bad are also videos whose frames are not 120x160
            (height x width), names that are not KTH's, and second copies.

    Reference: Schuldt, Laptev and Caputo, "Recognizing Human Actions: A Local SVM Approach", ICPR 2004.
    """
    clips: list[Clip] = []
    bad: dict[str, str] = {}
    seen: dict[str, str] = {}
    for path in find_videos(source):
        name = path.relative_to(source).as_posix()
        match = _NAME.match(path.stem)
        if not match or not 1 <= int(match["person"]) <= 25:
            bad[name] = "is not named as KTH's videos are, personNN_action_dN"
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
    """Windows of the KTH videos: 64x80 grey frames.

    Args:
        path: folder that `prepare_kth` wrote, or one with the authors' `kth_train.hdf5` and `kth_test.hdf5`.
        split: `"train"`: persons 1 to 16, endless and permuted; or `"test"`: persons 17 to 25, once and in order.
        protocol: `"paper"`: 10 + 10 frames, every frame, every window, mirrored at random in training.
        reader: as in `video_folder`.
        **windows: the arguments of `video_folder` from `batch_size` to `format`. What differs from the protocol
            is named in the log (`absl.logging.info`).

    Returns:
        Dataset of `(context, future)`, as `format` says: float32 `(batch, context, 64, 80, 1)` and
        `(batch, horizon, 64, 80, 1)` in [-1, 1].

    Raises:
        FileNotFoundError, ValueError, ImportError: as `video_folder`; or the protocol is unknown.
    """
    store = open_store(path, split, reader, "kth")
    options = apply_protocol("KTH", protocol, PROTOCOLS, windows, store, (64, 80, 1), _VIDEOS)
    return window_dataset(store, split, **options)
