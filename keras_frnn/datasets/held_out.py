"""Training videos that are held out for validation."""

import hashlib
import os

import numpy as np

from keras_frnn.datasets.windows import Videos


class VideoParts:
    """Parts of some videos, as a source of windows; see `Videos`.

    Args:
        videos: the source.
        name: for messages.
        parts: number of the video, first frame and the one after the last, for each part.
    """

    def __init__(self, videos: Videos, name: str, parts: list[tuple[int, int, int]]):
        self.videos, self.name, self.parts = videos, name, parts
        self.frame_shape, self.dtype, self.value_range = videos.frame_shape, videos.dtype, videos.value_range
        self.lengths = np.array([stop - first for _, first, stop in parts], "int64")

    def read(self, video: int, frames: slice, rows: slice, columns: slice, out: np.ndarray):
        number, first, _ = self.parts[video]
        self.videos.read(number, slice(frames.start + first, frames.stop + first, frames.step), rows, columns, out)


def split_off(videos: Videos, names: list[str], fraction: float, span: int) -> tuple[VideoParts, VideoParts]:
    """The videos to train on, and those that are held out.

    The choice depends on the names alone, and neither side is empty. If a single video has a window, its last frames
    are held out.

    Args:
        videos: the training videos.
        names: their names.
        fraction: fraction of the videos, or of the single video's frames, to hold out.
        span: frames that a window covers.

    Raises:
        ValueError: there are not two windows without a common frame.
    """
    whole = [(video, 0, int(length)) for video, length in enumerate(videos.lengths) if length >= span]
    if len(whole) > 1:
        count = min(max(round(len(whole) * fraction), 1), len(whole) - 1)
        held = sorted(whole, key=lambda part: _digest(names[part[0]]))[:count]
        parts = [part for part in whole if part not in held], [part for part in whole if part in held]
    else:
        video, _, length = whole[0] if whole else (0, 0, 0)
        if length < 2 * span:
            found = f"its only video with a window has {length}" if whole else "it has no video with a window"
            raise ValueError(
                f"{videos.name} has nothing to hold out: that takes two videos of {span} frames, or one of {2 * span}, "
                f"and {found}. Prepare more videos, or pass held_out=0."
            )
        cut = min(max(round(length * (1 - fraction)), span), length - span)
        parts = [(video, 0, cut)], [(video, cut, length)]
    return VideoParts(videos, videos.name, parts[0]), VideoParts(videos, f"{videos.name}, held out", parts[1])


def _digest(name: str) -> bytes:
    return hashlib.sha256(os.fsencode(f"validation\0{name}")).digest()
