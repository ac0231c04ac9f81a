"""UCF101: 13,320 clips of 101 human actions from the web; 240x320 pixels, color, 25 or 30 frames per second."""

import os
import pathlib
import re

import numpy as np

from keras_frnn.datasets.formats import Dataset
from keras_frnn.datasets.protocols import apply_protocol
from keras_frnn.datasets.video_files.clips import Clip, Format, find_videos, shown
from keras_frnn.datasets.video_files.prepare import prepare
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.datasets.windows import window_dataset

SPLITS = ("paper", "official-1", "official-2", "official-3")
_WINDOWS = dict(context=10, horizon=10, frame_step=2, crop=(64, 80), mirror=True)
PROTOCOLS = {split: _WINDOWS for split in SPLITS}
_VIDEOS = 13_320
_NAME = re.compile(r"v_(?P<label>[A-Za-z]+)_g(?P<group>\d{2})_c(?P<clip>\d{2})")


def prepare_ucf101(
    source: str | os.PathLike,
    output: str | os.PathLike,
    split: str = "paper",
    *,
    lists: str | os.PathLike | None = None,
    seed: int = 0,
    accept_bad_videos: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Decodes the clips of UCF101 into `train.hdf5` and `test.hdf5`, for `ucf101`.

    Frames are shrunk to 64x85 RGB pixels; `ucf101` crops 64x80 from them. The attributes are `label` (the action),
    `group` (clips of one group show the same scene) and `clip`. Everything else is as in `prepare_videos`.

    Beware of the paper's split: it draws single clips, so both sides have clips of the same group, and a network is
    tested on scenes that it was trained on. The official splits keep groups apart.

    Args:
        source: folder with the published files, `v_ApplyEyeMakeup_g01_c01.avi` and so on, with or without subfolders.
        output: folder to write to.
        split: `"paper"`: 75% of the clips of each action for training, drawn with `seed`; or `"official-1"` to
            `"official-3"`: the published lists.
        lists: for the official splits, the folder of `trainlist01.txt` and the other lists; by default they are
            searched in the source and beside it.
        seed: seed of the paper's split; any integer.
        accept_bad_videos: store the readable part of bad videos instead of raising an error.
        workers: number of decoding processes; by default one per core.
        progress: draw a progress bar.

    Returns:
        The reason for each bad video, by name; with `accept_bad_videos=False`, an empty dictionary.

    Raises:
        FileNotFoundError, ValueError, OSError: as in `prepare_videos`. Videos whose frames are not 240x320
            (height x width), files that are not named like UCF101's, second copies, and listed files that are missing
            are bad, too.

    Reference: Soomro, Zamir and Shah, "UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild", 2012.
    """
    if split not in SPLITS:
        raise ValueError(f"`split` must be one of {SPLITS}. Received: split={split!r}")
    found: dict[str, tuple] = {}
    bad: dict[str, str] = {}
    for path in find_videos(source):
        name = path.relative_to(source).as_posix()
        match = _NAME.match(path.stem)
        # The lists spell HandstandPushups as HandStandPushups.
        key = path.stem.lower()
        if not match:
            bad[name] = "is not named like UCF101's clips, v_Action_gNN_cNN"
        elif key in found:
            bad[name] = f"is a second copy of {shown(found[key][0].relative_to(source).as_posix())}"
        else:
            found[key] = path, match
    if split == "paper":
        sides = _paper_split({key: match["label"].lower() for key, (_, match) in found.items()}, seed)
        protocol = f"paper, seed={seed}"
    else:
        sides = _official_split(split, pathlib.Path(source), lists)
        bad.update({key: "is in the official lists, but not among the videos" for key in sides if key not in found})
        protocol = split
    clips = [
        Clip(path, sides[key], {"label": match["label"], "group": int(match["group"]), "clip": int(match["clip"])})
        for key, (path, match) in found.items()
        if key in sides
    ]
    return prepare(
        source,
        output,
        clips=clips,
        format=Format(
            dataset="ucf101", protocol=protocol, height=64, width=85, channels=3, frame_size=(240, 320), cut=0
        ),
        bad=bad,
        accept_bad_videos=accept_bad_videos,
        workers=workers,
        progress=progress,
    )


def _paper_split(labels: dict[str, str], seed: int) -> dict[str, str]:
    """The split of each clip: for each label, the first 75% of a random order are for training."""
    generator = np.random.default_rng(seed)
    sides = {}
    for label in sorted(set(labels.values())):
        clips = generator.permutation(sorted(clip for clip, its_label in labels.items() if its_label == label))
        training = max(int(0.75 * len(clips)), 1)
        sides.update({str(clip): "train" if i < training else "test" for i, clip in enumerate(clips)})
    return sides


def _official_split(split: str, source: pathlib.Path, lists) -> dict[str, str]:
    """The split of each clip, from lines such as `ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1`."""
    sides = {}
    for side in ("train", "test"):
        name = f"{side}list0{split[-1]}.txt"
        folders = [source, source.parent] if lists is None else [pathlib.Path(lists)]
        candidates = [path for folder in folders for path in (folder / name, *sorted(folder.glob(f"*/{name}")))]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(
                f"There is no {name} in {' or '.join(map(str, folders))}. Download UCF101's train/test splits for "
                "action recognition, UCF101TrainTestSplits-RecognitionTask.zip, from "
                "https://www.crcv.ucf.edu/data/UCF101.php, unpack them there, or pass their folder as `lists`."
            )
        for line in path.read_text().split("\n"):
            if line.strip():
                sides[pathlib.PurePosixPath(line.split()[0]).stem.lower()] = side
    return sides


def ucf101(
    path: str | os.PathLike, split: str, protocol: str | None = None, *, reader: str = "h5py", **windows
) -> Dataset:
    """Windows of the clips of UCF101: 64x80 RGB frames, cropped from 64x85.

    Args:
        path: folder written by `prepare_ucf101`, or one with the authors' `ucf101_train.hdf5` and `ucf101_test.hdf5`.
        split: `"train"`: endless and shuffled; or `"test"`: once and in order.
        protocol: `"paper"` or `"official-1"` to `"official-3"`; must be the split that was prepared, which is the
            default. All use 10 + 10 frames, every second frame and every window; crops are random in training and
            central in testing; training windows are randomly mirrored.
        reader: as in `video_folder`.
        **windows: the arguments of `video_folder` from `batch_size` to `format`. Deviations from the protocol are
            logged (`absl.logging.info`).

    Returns:
        Dataset of `(context, future)` in the requested format: float32 `(batch, context, 64, 80, 3)` and
        `(batch, horizon, 64, 80, 3)` in [-1, 1].

    Raises:
        FileNotFoundError, ValueError, ImportError: as in `video_folder`; or the protocol is unknown, or the videos were
            prepared for a different one.
    """
    store = open_store(path, split, reader, "ucf101")
    prepared = store.protocol or "paper"
    options = apply_protocol("UCF101", protocol or prepared, PROTOCOLS, windows, store, (64, 85, 3), _VIDEOS)
    return window_dataset(store, split, **options)
