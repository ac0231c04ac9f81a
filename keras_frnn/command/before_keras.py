"""What the command `keras-frnn` checks before it loads Keras, which takes seconds, and the defaults of its flags.

It imports only such parts of the package as need no Keras.
"""

import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

from keras_frnn.files import RECORD, check_writable

NETWORK = "model.keras"  # What `train` writes and `evaluate` reads by default, and what is looked for in a folder.
WINDOWS = {"context": 10, "horizon": 10, "frame_step": 1}
TRAINING = {
    "network": "initial",
    "initial": "moving-pictures",
    "freeze": 0,
    "batch": 2,
    **WINDOWS,
    "loss": "mae",
    "learning_rate": 1e-3,
    "mirror": False,
    "seed": 0,
}
# The flags of `prepare` that only some datasets have, with their defaults.
PREPARING: dict[str, dict[str, Any]] = {
    "videos": {"size": (64, 64), "gray": False, "test_fraction": 0.2, "test": None, "group": None, "rate": None},
    "kth": {},
    "ucf101": {"protocol": "paper", "lists": None, "seed": 0},
}
_PRESETS = pathlib.Path(__file__).parents[1] / "presets"
_LARGEST_RECORD = 2**20  # Bytes. Files may come from strangers.


def check(command: str, arguments: dict[str, Any]):
    """Checks a command's arguments as far as possible without Keras.

    Raises:
        ValueError, OSError, ImportError: with a sentence for the user.
    """
    _CHECKS[command](**arguments)


def _predict(clip: str, model: str, output: str, start: int, rate: float | None, **_):
    suffix = _check_output(output, ".mp4", ".gif", ".png")
    if suffix == ".png" and rate is not None:
        raise ValueError(f"A .png has no frame rate. Received: --output={output} and --rate={rate:g}. Omit one.")
    check_file(clip)
    _check_other_file(output, clip)
    find_model(model)
    _check_start(clip, start)


def _live(camera: str, model: str, follow: float | None, output: str | None, **_):
    is_camera = camera.isdecimal() and not os.path.exists(camera)
    if output is not None:
        _check_output(output, ".mp4")
    if not is_camera:
        check_file(camera)
        if output is not None:
            _check_other_file(output, camera)
    elif follow is not None:
        raise ValueError(f"--follow is for files that grow. Received: --camera={camera}, a camera. Omit --follow.")
    find_model(model)


def _prepare(folder: str, output: str, dataset: str, accept_bad_videos: bool, workers: int | None, **flags):
    settings = preparing_settings(dataset, flags)
    if not os.path.isdir(folder):
        found = "is a file" if os.path.exists(folder) else "does not exist"
        raise FileNotFoundError(f"Expected a folder of videos. Received: {folder!r}, which {found}.")
    if settings.get("group") is not None and settings["test"] is not None:
        raise ValueError("Pass --group to draw groups, or --test to name the test videos, not both.")
    check_writable(pathlib.Path(output) / "train.hdf5")


def _train(folder: str, output: str, steps: int, **flags):
    _check_output(output, ".keras")
    _check_prepared(folder, "train", "test")
    training_settings(pathlib.Path(output), steps, {name: flags[name] for name in TRAINING})
    if (initial := flags["initial"]) not in (None, "none"):
        find_model(initial, "--initial")
    elif initial == "none" and flags["network"] == "initial":
        raise ValueError("--network=initial is that of --initial. Received: --initial=none. Pass another --network.")
    check_writable(pictures_folder(pathlib.Path(output)) / "epoch-0001.png")
    check_writable(run_folder(pathlib.Path(output)) / "settings.json")


def _evaluate(folder: str, model: list[str] | None, output: str | None, **flags):
    if output is not None:
        _check_output(output, ".csv")
    _check_prepared(folder, "test")
    trained = [trained_on(find_model(name)) for name in model or [NETWORK]]
    forecast_windows(trained, **{name: flags[name] for name in WINDOWS})


def _app(model: str, port: int):
    if port > 65535:
        raise ValueError(f"Expected a port up to 65535. Received: --port={port}")
    find_model(model)
    if importlib.util.find_spec("gradio") is None:
        raise ImportError("The page needs Gradio: `pip install keras-frnn[app]`.")


_CHECKS: dict[str, Callable] = {
    "predict": _predict,
    "live": _live,
    "prepare": _prepare,
    "train": _train,
    "evaluate": _evaluate,
    "app": _app,
}


def _check_output(output: str, *suffixes: str) -> str:
    """The suffix of an output file, after checking that it is one of these and that the file can be written."""
    suffix = pathlib.Path(output).suffix.lower()
    if suffix not in suffixes:
        raise ValueError(f"The file's name must end in {' or '.join(suffixes)}. Received: --output={output}")
    check_writable(pathlib.Path(output))
    return suffix


def check_file(path: str):
    """Raises FileNotFoundError if there is no file at a path of a video."""
    if not os.path.isfile(path):
        found = "is a folder" if os.path.isdir(path) else "is no file" if os.path.exists(path) else "does not exist"
        raise FileNotFoundError(f"Expected a video file. Received: {path!r}, which {found}.")


def _check_other_file(output: str, source: str):
    if os.path.exists(output) and os.path.samefile(output, source):
        raise ValueError(f"{output} is the video itself and would be overwritten. Choose another --output.")


def _check_prepared(folder: str, *splits: str):
    """Checks for the HDF5 files of the splits in a folder. A single HDF5 file may stand for both."""
    missing = [f"{split}.hdf5" for split in splits if not os.path.isfile(os.path.join(folder, f"{split}.hdf5"))]
    if missing and not os.path.isfile(folder):
        found = f"has no {' and no '.join(missing)}" if os.path.isdir(folder) else "does not exist"
        raise FileNotFoundError(
            f"Expected a folder that `keras-frnn prepare FOLDER --output={folder}` has written. Received: {folder!r}, "
            f"which {found}."
        )


def _check_start(clip: str, start: int):
    """Refuses a file that is not a video or has no frame `start`; -3 is the third from the end."""
    import av  # It loads FFmpeg, which no other check needs.

    with open(clip, "rb") as file:
        try:
            container = av.open(file)
        except av.FFmpegError as error:
            raise OSError(f"{clip} does not decode: no video that FFmpeg knows.") from error
        # Damage inside the video is reported when its frames are read.
        with container, contextlib.suppress(av.FFmpegError):
            claimed = container.streams.video[0].frames if container.streams.video else 0
            if not claimed or -claimed <= start < claimed:
                return
            # The header may give too few frames.
            frames = sum(1 for _ in container.decode(video=0))
            if not -frames <= start < frames:
                raise ValueError(f"{clip} has {frames} frames. Received: --start={start}")


def find_model(name: str, flag: str = "--model") -> pathlib.Path:
    """The folder of a preset, or the .keras file, for a name or path, which was passed with a flag.

    Raises:
        ValueError: there is no such model.
    """
    path = pathlib.Path(name)
    presets = sorted(found.parent.name for found in _PRESETS.glob("*/metadata.json"))
    if name in presets:
        return _PRESETS / name
    if (path / "metadata.json").is_file():
        return path
    if path.is_dir():
        path = path / NETWORK
    if not path.is_file():
        raise ValueError(
            f"There is no model {name!r}. Expected {', '.join(presets)}, a .keras file, or a folder with {NETWORK} "
            f"or one that `save_to_preset` wrote. Pass it with {flag}."
        )
    return path


def pictures_folder(path: pathlib.Path) -> pathlib.Path:
    """The folder, beside a network's file, to which training writes pictures of its predictions."""
    return path.with_name(f"{path.stem}-pictures")


def run_folder(path: pathlib.Path) -> pathlib.Path:
    """The folder, beside a network's file, in which its training keeps its settings and its newest checkpoints."""
    return path.with_name(f"{path.stem}-run")


def training_settings(path: pathlib.Path, steps: int, given: dict[str, Any]) -> tuple[dict[str, Any], dict | None]:
    """The settings with which training starts, or continues if the network's file exists.

    Args:
        path: the network's file.
        steps: training steps in total.
        given: the flags by their names in `TRAINING`. One that is None keeps its value of before, or its default.

    Returns:
        The settings, and the record of the existing network, None if there is none.

    Raises:
        ValueError: the existing network has other settings, has been trained for `steps` already, or was not made by
            `keras-frnn train`.
    """
    flags = {name: value for name, value in given.items() if value is not None}
    if not os.path.lexists(path):
        return {**TRAINING, **flags}, None
    record = _record(path)
    settings = record.get("settings", {})
    begun, done = {name: settings.get(name) for name in TRAINING}, record.get("iteration")
    if (
        settings.get("command") != "train"
        or not isinstance(done, int)
        or any(type(value) is not type(TRAINING[name]) for name, value in begun.items())
    ):
        raise ValueError(
            f"{path} has no record of a training by `keras-frnn train`: it was made by something else, or by a version "
            "before 0.3. It is left as it is. Choose another --output."
        )
    # Only the learning rate may change: other flags would mean another network or other sequences.
    changed = [name for name, value in flags.items() if value != begun[name] and name != "learning_rate"]
    if changed:
        before, now = (", ".join(flag(name, values[name]) for name in changed) for values in (begun, flags))
        raise ValueError(
            f"{path} was trained with {before}. Received: {now}. Omit that to continue, or choose another --output."
        )
    if done >= steps:
        raise ValueError(
            f"{path} has been trained for {done} steps already. For more, pass --steps={done + 1000}, for example."
        )
    return {**begun, **flags}, record


def preparing_settings(dataset: str, given: dict[str, Any]) -> dict[str, Any]:
    """The settings with which a dataset is prepared.

    Args:
        dataset: a key of `PREPARING`.
        given: the flags there, of all datasets; None for those that are not given.

    Returns:
        The settings of this dataset; its defaults for flags that are not given.

    Raises:
        ValueError: a flag is given that does not go with the dataset, or with the protocol.
    """
    settings = PREPARING[dataset]
    flags = {name: value for name, value in given.items() if value is not None}
    if other := [name for name in flags if name not in settings]:
        raise ValueError(
            f"{', '.join(flag(name) for name in other)} cannot be used with --dataset={dataset}"
            f"{', which is always prepared in the same way' if not settings else ''}. Omit it."
        )
    settings = settings | flags
    if dataset == "ucf101" and ("seed" if settings["protocol"] != "paper" else "lists") in flags:
        raise ValueError(
            "--lists goes with the protocols official-1 to official-3, and --seed with the protocol paper. "
            f"Received: {', '.join(flag(*one) for one in flags.items())}"
        )
    return settings


def flag(name: str, value: Any = True) -> str:
    """A flag as it is typed on the command line."""
    text = "--" + name.replace("_", "-")
    return {True: text, False: f"no {text}"}[value] if isinstance(value, bool) else f"{text}={value}"


@dataclasses.dataclass(frozen=True)
class TrainedOn:
    """What a network was trained on, as far as its files say.

    Attributes:
        data: the data in words; empty if unknown.
        digits: whether the data are moving digits.
        windows: context, horizon and frame_step, as far as they are known.
        videos: the identity of the prepared file of training videos; None if unknown.
    """

    data: str = ""
    digits: bool = False
    windows: dict[str, int] = dataclasses.field(default_factory=dict)
    videos: dict | None = None


def trained_on(path: pathlib.Path) -> TrainedOn:
    """Reads what a network was trained on from a preset's metadata or a .keras file's record; ignores damaged parts."""
    content = _metadata(path) if path.is_dir() else _record(path).get("settings", {})
    # The record of a recipe has the windows in two places of its experiment.
    experiment = _dictionary(content, "experiment")
    data = _dictionary(content, "data")
    found = {**data, **experiment, **_dictionary(experiment, "windows"), **content}
    windows = {name: found[name] for name in WINDOWS if type(found.get(name)) is int and found[name] > 0}
    if "digits" in data:
        return TrainedOn("moving handwritten digits", True, windows)
    if isinstance(kind := data.get("kind"), str) and kind.isprintable():
        return TrainedOn(kind, False, windows)
    videos = _dictionary(data, "train")
    if type(count := videos.get("videos")) is not int:
        return TrainedOn(windows=windows)
    folder = content.get("folder")
    where = f" of {folder}" if isinstance(folder, str) and folder.isprintable() else ""
    return TrainedOn(f"{count} video{'s' * (count != 1)}{where}", False, windows, videos)


def forecast_windows(trained: Iterable[TrainedOn], **given: int | None) -> dict[str, int]:
    """The windows to forecast with: from the flags, else as the networks were trained.

    Raises:
        ValueError: a flag is not given, and the networks were trained with different windows.
    """
    windows = {}
    for name, value in given.items():
        known = sorted({one.windows[name] for one in trained if name in one.windows})
        if value is None and len(known) > 1:
            raise ValueError(
                f"The networks were trained with {' and '.join(flag(name, one) for one in known)}. Pass one of these."
            )
        windows[name] = value or (known[0] if known else WINDOWS[name])
    return windows


def _metadata(folder: pathlib.Path) -> dict:
    with contextlib.suppress(OSError, ValueError, RecursionError), open(folder / "metadata.json", "rb") as file:
        content = json.loads(file.read(_LARGEST_RECORD))
        return content if isinstance(content, dict) else {}
    return {}


def _record(path: pathlib.Path) -> dict:
    """The record in a .keras file; empty if there is none."""
    # Damaged zip files raise errors of many kinds.
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive, archive.open(RECORD) as file:
        content = json.loads(file.read(_LARGEST_RECORD))
        return content if isinstance(content, dict) and isinstance(content.get("settings"), dict) else {}
    return {}


def _dictionary(content: dict, name: str) -> dict:
    return found if isinstance(found := content.get(name), dict) else {}
