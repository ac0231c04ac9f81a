"""The video files to store, and the format of their frames."""

import collections
import dataclasses
import json
import os
import pathlib
from collections.abc import Iterator

_SUFFIXES = {
    *(".3g2", ".3gp", ".asf", ".avi", ".divx", ".dv", ".f4v", ".flv", ".gif", ".m2t", ".m2ts", ".m4v", ".mkv"),
    *(".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogg", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
}


@dataclasses.dataclass(frozen=True)
class Clip:
    """A video file to store: its path, its split, and its attributes, such as `label`."""

    path: pathlib.Path
    split: str
    attributes: dict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """How frames are stored.

    Attributes:
        dataset: name of the dataset.
        protocol: how its videos are split.
        height, width, channels: of the stored frames; 1 channel is gray, 3 are RGB.
        frame_size: (height, width) that the source's frames must have; None for any size.
        cut: pixels to crop at the left and the right of frames of that size, or `"centre"` to crop frames of any size
            to the stored aspect ratio.
        rate: frames per second to store; None for the videos' own frames.
    """

    dataset: str
    protocol: str
    height: int
    width: int
    channels: int
    frame_size: tuple[int, int] | None
    cut: int | str
    rate: float | None = None

    @property
    def text(self) -> str:
        """The format as JSON, as HDF5 files state it. Without a rate, it is the same as before `rate` existed."""
        fields = dataclasses.asdict(self)
        return json.dumps({name: value for name, value in fields.items() if name != "rate" or value is not None})

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        return self.height, self.width, self.channels

    @property
    def frame_bytes(self) -> int:
        return self.height * self.width * self.channels


def shown(name: str) -> str:
    """A file name for a line of text: quoted and escaped if it has line breaks or is not UTF-8."""
    return name if name.isprintable() else repr(name)


def find_videos(source: str | os.PathLike) -> list[pathlib.Path]:
    """All video files in a folder and its subfolders, recognized by their suffix and sorted by path.

    Raises:
        FileNotFoundError: the folder does not exist or has no videos.
    """
    source = pathlib.Path(source)
    if not source.is_dir():
        found = "is a file" if source.exists() else "does not exist"
        raise FileNotFoundError(
            f"The source must be a folder of videos. Received: source={str(source)!r}, which {found}."
        )
    paths = sorted(path for path in _files(source) if path.suffix.lower() in _SUFFIXES)
    if not paths:
        raise FileNotFoundError(
            f"There is no video in {source}. Expected files with the suffixes {', '.join(sorted(_SUFFIXES))}, there or "
            "in its subfolders."
        )
    return paths


def left_out(source: str | os.PathLike) -> collections.Counter[str]:
    """Number of files in a folder and its subfolders that do not have a video suffix, by suffix."""
    suffixes = (path.suffix.lower() for path in _files(pathlib.Path(source)))
    return collections.Counter(suffix or "without a suffix" for suffix in suffixes if suffix not in _SUFFIXES)


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    return (path for path in folder.rglob("*") if not path.name.startswith(".") and path.is_file())
