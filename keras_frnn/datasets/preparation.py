"""Video files to one HDF5 file a split, in worker processes: what `prepare_kth` and its kin share."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterator

import h5py
import keras
import numpy as np

from keras_frnn.checks import check_positive_integers
from keras_frnn.datasets.decoding import decoded
from keras_frnn.datasets.windows import SPLITS
from keras_frnn.files import write_text

try:
    import fcntl
except ImportError:  # Windows. There, two runs that write to one folder are not told apart.
    fcntl = None

_SUFFIXES = {".avi", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp"}
_BLOCK = 1 << 20  # Bytes copied at a time.


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video file that is to be stored: its path, the split it belongs to, and its attributes, such as `label`."""

    path: pathlib.Path
    split: str
    attributes: dict


@dataclasses.dataclass(frozen=True)
class Format:
    """How frames are stored.

    Attributes:
        dataset: name of the dataset.
        protocol: how its videos are split.
        height, width, channels: of the stored frames; 1 channel is grey, 3 are RGB.
        frame_size: (width, height) that the source's frames must have; None for any.
        cut: pixels to cut left and right from frames of that size, or `"centre"` to cut frames of any size to the
            stored aspect ratio.
    """

    dataset: str
    protocol: str
    height: int
    width: int
    channels: int
    frame_size: tuple[int, int] | None
    cut: int | str

    @property
    def frame_bytes(self) -> int:
        return self.height * self.width * self.channels


def find_videos(source: str | os.PathLike) -> list[pathlib.Path]:
    """All video files in a folder and its subfolders, by their suffix, in the order of their paths.

    Raises:
        FileNotFoundError: there is no such folder, or no video in it.
    """
    source = pathlib.Path(source)
    if not source.is_dir():
        found = "is a file" if source.exists() else "does not exist"
        raise FileNotFoundError(
            f"The source must be a folder of videos. Received: source={str(source)!r}, which {found}."
        )
    paths = [path for path in source.rglob("*") if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")]
    paths = sorted(path for path in paths if path.is_file())
    if not paths:
        raise FileNotFoundError(
            f"There is no video in {source}. Expected files that end in {', '.join(sorted(_SUFFIXES))}, there or in "
            "its subfolders."
        )
    return paths


def prepare(
    source: str | os.PathLike,
    output: str | os.PathLike,
    clips: list[Clip],
    format: Format,
    bad: dict[str, str],
    accept_bad_videos: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Decodes clips and writes `train.hdf5` and `test.hdf5`.

    Every video is decoded into a file of its own in a hidden folder of the output, where an interrupted run finds it
    again. The HDF5 files are put together there, too, and take their places whole, at the end. So until then the output
    folder needs twice the space. Videos that are in the HDF5 files already, and did not change since, are copied.

    Args:
        source: folder of the videos; their names are stored relative to it.
        output: folder to write to; made if there is none.
        clips: what to store.
        format: see `Format`.
        bad: files of the source that are bad for another reason than their frames: name to reason.
        accept_bad_videos: store what can be read of bad videos, and do not end with an error.
        workers: decoding processes; by default one a core.
        progress: draw a progress bar.

    Returns:
        The bad videos, name to reason.

    Raises:
        ValueError: some videos are bad and not accepted (the others are stored all the same), none can be read, or the
            output folder holds videos that were prepared otherwise.
        OSError: the output cannot be written.
    """
    source, output = pathlib.Path(source), pathlib.Path(output)
    workers = _cores() if workers is None else workers
    check_positive_integers(workers, "workers", 1)
    bad, total = dict(bad), len(clips) + len(bad)
    partial = output / ".partial"
    videos = [_Video(clip, source, partial, format) for clip in clips]
    try:
        with _locked(partial):
            stored = {split: _Stored(output / f"{split}.hdf5", format) for split in SPLITS}
            for video in videos:
                video.answer = stored[video.split].get(video.identity) or video.kept()
            missing = [video for video in videos if video.answer is None]
            with contextlib.ExitStack() as stack:
                files = []
                for split in SPLITS:
                    wanted = [video for video in videos if video.split == split]
                    rebuilt = stored[split].rebuilt(wanted, accept_bad_videos, partial / f"{split}.hdf5", total)
                    files.append(stack.enter_context(contextlib.closing(rebuilt)))
                requests = {video: video.request() for video in missing}
                answers = stack.enter_context(contextlib.closing(decoded(requests, workers)))
                for video, answer in _progress(answers, len(missing), progress):
                    if "error" in answer:
                        raise OSError(answer["error"])
                    video.keep(answer)
                    for file in files:
                        next(file, None)
                bad.update({video.name: video.answer["reason"] for video in videos if video.answer["reason"]})
                usable = [video for video in videos if video.is_usable(accept_bad_videos)]
                if not usable:
                    raise ValueError(f"None of the {total} videos in {source} can be used.{_listed(bad)}")
                for file in files:
                    for _ in file:
                        pass
            for split in SPLITS:
                if (partial / f"{split}.hdf5").exists():
                    os.replace(partial / f"{split}.hdf5", output / f"{split}.hdf5")
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise type(error)(
            f"Cannot write the videos to {output}: {error.strerror or error}. What is decoded so far is kept: once "
            "that is mended, the same command goes on from there."
        ) from error
    if bad and not accept_bad_videos:
        raise ValueError(
            f"{len(bad)} of {total} videos are bad; the other {len(usable)} are stored in {output}.{_listed(bad)}\n"
            "Replace these files and run the same again, or accept them with `accept_bad_videos`: what can be read of "
            "them is stored then."
        )
    return bad


class _Video:
    """A clip on its way: where its frames and the worker's answer are kept until all are there.

    Attributes:
        answer: `frames`: how many there are; `reason`: what is wrong with the video, or None. None until it is decoded.
    """

    def __init__(self, clip: Clip, source: pathlib.Path, partial: pathlib.Path, format: Format):
        self.clip, self.split, self.format = clip, clip.split, format
        self.name = clip.path.relative_to(source).as_posix()
        stat = clip.path.stat()
        # A file that was replaced since it was decoded is another video.
        self.identity = (self.name, stat.st_size, stat.st_mtime_ns)
        digest = hashlib.sha256(json.dumps([self.identity, dataclasses.astuple(format)]).encode()).hexdigest()[:24]
        self.frames_path = partial / f"{digest}.frames"
        self.answer_path = partial / f"{digest}.json"
        self.answer = None

    def request(self) -> dict:
        return {"source": str(self.clip.path), "target": str(self.frames_path), **dataclasses.asdict(self.format)}

    def keep(self, answer: dict):
        self.answer = answer
        # This file's appearance is what makes the video count as decoded, so it comes after the frames.
        write_text(self.answer_path, json.dumps(answer))

    def kept(self) -> dict | None:
        """The answer of an interrupted run. What was bad is tried again: its reason may have been mended."""
        with contextlib.suppress(FileNotFoundError, ValueError):
            answer = json.loads(self.answer_path.read_text())
            is_whole = self.frames_path.stat().st_size == answer["frames"] * self.format.frame_bytes
            return answer if is_whole and not answer["reason"] else None
        return None

    def is_usable(self, accept_bad_videos: bool) -> bool:
        return not self.answer["reason"] or (accept_bad_videos and self.answer["frames"] > 0)

    def write(self, file: h5py.File, key: str):
        name, size, time = self.identity
        attributes = {"source": name, "source_bytes": size, "source_mtime_ns": time, **self.clip.attributes}
        attributes |= {"frame_rate": self.answer["frame_rate"], "frames": self.answer["frames"]}
        if self.answer["reason"]:
            attributes["damage"] = self.answer["reason"]
        with open(self.frames_path, "rb") as frames:
            _write(file, key, self.answer["frames"], self.format, attributes, lambda block, _: frames.readinto(block))


def _write(file: h5py.File, key: str, frames: int, format: Format, attributes: dict, read: Callable):
    """Adds a video to a file, in blocks; `read(block, first)` fills a block with the frames from the first on."""
    shape = (format.height, format.width, format.channels)
    # Contiguous, so that any window is one read.
    dataset = file.create_dataset(key, (frames, *shape), "uint8")
    buffer = np.empty((max(_BLOCK // format.frame_bytes, 1), *shape), "uint8")
    for first in range(0, frames, len(buffer)):
        block = buffer[: frames - first]
        read(block, first)
        dataset.write_direct(block, dest_sel=np.s_[first : first + len(block)])
    # In one order, so that the same videos make the same file, byte for byte.
    dataset.attrs.update(sorted(attributes.items()))


class _Stored(dict):
    """What an HDF5 file of an earlier run holds, by the videos' identities; and how it is replaced."""

    def __init__(self, path: pathlib.Path, format: Format):
        super().__init__()
        self.path, self.format = path, format
        if not path.exists():
            return
        expected = json.dumps(dataclasses.asdict(format))
        with contextlib.suppress(OSError), h5py.File(path) as file:
            found = file.attrs.get("format")
            if found == expected:
                for key, dataset in file.items():
                    attributes = dict(dataset.attrs)
                    identity = tuple(attributes[name] for name in ("source", "source_bytes", "source_mtime_ns"))
                    self[identity] = {"key": key, "frames": len(dataset), "reason": attributes.get("damage")}
                return
            if found:
                raise ValueError(
                    f"{path} was prepared otherwise. Expected: {expected}. Found: {found}. Choose another output "
                    "folder, or delete that file."
                )
        raise ValueError(f"{path} was not written by this library. Choose another output folder, or delete that file.")

    def rebuilt(
        self, videos: list[_Video], accept_bad_videos: bool, path: pathlib.Path, source_videos: int
    ) -> Iterator[None]:
        """Writes the file that is to take this one's place, unless that would change nothing.

        It goes along with the decoding: the file is written in the order of the videos, as far as they are decoded, and
        each further step of the iterator goes on from there.
        """
        path.unlink(missing_ok=True)
        digits = max(5, len(str(len(videos))))
        keys = {f"{i:0{digits}d}": video for i, video in enumerate(videos)}
        if self.path.exists():
            while any(video.answer is None for video in videos):
                yield
            wanted = {key: video.identity for key, video in keys.items() if video.is_usable(accept_bad_videos)}
            if wanted == {kept["key"]: identity for identity, kept in self.items()}:
                return
        with h5py.File(path, "w") as file, contextlib.ExitStack() as stack:
            old = stack.enter_context(h5py.File(self.path)) if self else None
            for key, video in keys.items():
                while video.answer is None:
                    yield
                if not video.is_usable(accept_bad_videos):
                    continue
                needed, free = video.answer["frames"] * self.format.frame_bytes, shutil.disk_usage(path.parent).free
                if free < needed:
                    raise OSError(f"{video.name} needs {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free")
                if video.identity not in self:
                    video.write(file, key)
                    continue
                dataset = old[self[video.identity]["key"]]
                _write(
                    file,
                    key,
                    len(dataset),
                    self.format,
                    dict(dataset.attrs),
                    lambda block, first, dataset=dataset: dataset.read_direct(block, np.s_[first : first + len(block)]),
                )
            file.attrs["format"] = json.dumps(dataclasses.asdict(self.format))
            file.attrs["videos"] = len(file)
            file.attrs["frames"] = sum(len(dataset) for dataset in file.values())
            file.attrs["source_videos"] = source_videos
        with open(path, "rb") as file:
            os.fsync(file.fileno())


def _progress(answers: Iterator, total: int, draw: bool) -> Iterator:
    interval = 0.1 if sys.stdout.isatty() else 10  # Seconds. In a log, every drawing is a line.
    bar = keras.utils.Progbar(total, unit_name="video", interval=interval) if draw and total else None
    for answer in answers:
        yield answer
        if bar:
            bar.add(1)


@contextlib.contextmanager
def _locked(partial: pathlib.Path):
    """Keeps a second run out of the folder; the lock ends with the process that holds it."""
    partial.mkdir(parents=True, exist_ok=True)
    with open(partial / "lock", "w") as file:
        if fcntl:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(f"Another run is writing to {partial.parent}. Wait for its end, or stop it.") from None
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # The folder stays where it holds decoded videos.
                (partial / "lock").unlink()
                partial.rmdir()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _listed(bad: dict[str, str], limit: int = 20) -> str:
    lines = [f"\n  {name}: {reason}" for name, reason in sorted(bad.items())]
    return "".join(lines[:limit]) + (f"\n  and {len(lines) - limit} more" if len(lines) > limit else "")
