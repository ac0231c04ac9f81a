"""Videos in memory as a dataset."""

from collections.abc import Sequence

import numpy as np

from keras_frnn.datasets.formats import Dataset
from keras_frnn.datasets.windows import window_dataset

_AXES = "BTHWC"  # video, time, height, width, channels


def from_arrays(
    frames: np.ndarray | Sequence[np.ndarray],
    split: str = "test",
    *,
    layout: str = "BTHWC",
    value_range: tuple[float, float] | None = None,
    **windows,
) -> Dataset:
    """Windows of the videos in an array, or of a list of videos of different lengths.

    Args:
        frames: uint8 in [0, 255] or float in [-1, 1], without empty axes; or a list of such arrays, one per video,
            which may differ in length.
        split: `"test"`: once and in order; or `"train"`: endless and shuffled, for `fit` with `steps_per_epoch`.
        layout: one letter per axis: B video, T time, H height, W width, C channels. `"BTHWC"` is a batch of videos,
            `"TBHW"` the public Moving MNIST sequences, `"THW"` one gray video. For a list, B is ignored.
        value_range: the values of black and white, if they differ from those above, for example `(0, 1)`.
        **windows: the arguments of `video_folder` from `batch_size` to `format`. Videos that are too short for a window
            are skipped.

    Returns:
        Dataset of `(context, future)` in the requested format: float32 `(batch, context, height, width, channels)` and
        `(batch, horizon, height, width, channels)` in [-1, 1].

    Raises:
        ValueError: an array has an unexpected rank, dtype, range or layout, or more channels than rows or columns,
            which suggests a wrong layout; the videos of a list differ in frame size or dtype; or as in `video_folder`.

    Example:

    >>> videos = np.zeros((3, 25, 16, 16), "uint8")
    >>> context, future = next(iter(from_arrays(videos, layout="BTHW", batch_size=2)))
    >>> tuple(context.shape)
    (2, 10, 16, 16, 1)
    """
    return window_dataset(_ArrayVideos(frames, layout, value_range), split, **windows)


class _ArrayVideos:
    def __init__(self, frames, layout: str, value_range):
        _check_layout(layout)
        if isinstance(frames, (list, tuple)) and all(hasattr(video, "shape") for video in frames):
            videos = [_as_videos(np.asarray(video), layout.replace("B", ""))[0] for video in frames]
        else:
            videos = list(_as_videos(np.asarray(frames), layout))
        if not videos:
            raise ValueError("Expected at least one video. Received: an empty list")
        kinds = {(video.shape[1:], video.dtype) for video in videos}
        if len(kinds) > 1:
            listed = sorted(f"{'x'.join(str(side) for side in shape)} {dtype}" for shape, dtype in kinds)
            raise ValueError(
                "The videos of a list may differ only in length. Received: frames of (height x width x channels) "
                f"{', '.join(listed)}"
            )
        self.frame_shape, self.dtype = kinds.pop()
        self.value_range = _checked_range(videos, value_range)
        self.videos = videos
        self.lengths = np.array([len(video) for video in videos], "int64")
        self.name = f"array ({len(videos)} video{'s' * (len(videos) > 1)})"

    def read(self, video, frames, rows, columns, out):
        out[...] = self.videos[video][frames, rows, columns]


def _check_layout(layout: str):
    if not isinstance(layout, str) or len(set(layout)) != len(layout) or not set("THW") <= set(layout) <= set(_AXES):
        raise ValueError(
            "`layout` must name each axis by one letter: T, H and W, and B and C if the array has them, such as "
            f"'BTHWC'. Received: layout={layout!r}"
        )


def _as_videos(frames: np.ndarray, layout: str) -> np.ndarray:
    """An array as `(video, time, height, width, channels)`, uint8 or float32."""
    if frames.ndim != len(layout):
        raise ValueError(
            f"The rank is wrong: layout {layout!r} has {len(layout)} axes. Received: frames.shape={frames.shape}"
        )
    sizes = dict(zip(layout, frames.shape, strict=True))
    if 0 in sizes.values():
        raise ValueError(f"The array is empty. Received: frames.shape={frames.shape}")
    if (channels := sizes.get("C", 1)) not in (1, 3) and channels > min(sizes["H"], sizes["W"]):
        raise ValueError(
            f"The layout is wrong: in {layout!r}, axis {layout.index('C')} is the channels, of which there must not be "
            f"more than rows or columns. Received: frames.shape={frames.shape}"
        )
    if frames.dtype != np.uint8 and not np.issubdtype(frames.dtype, np.floating):
        raise ValueError(f"The dtype must be uint8 or floating. Received: frames.dtype={frames.dtype}")
    for letter in _AXES:
        if letter not in layout:
            frames, layout = np.expand_dims(frames, 0), letter + layout
    frames = np.transpose(frames, [layout.index(letter) for letter in _AXES])
    return frames if frames.dtype == np.uint8 else frames.astype("float32")


def _checked_range(videos: list[np.ndarray], value_range) -> tuple[float, float]:
    # NumPy's minimum and maximum keep NaN; Python's would lose it.
    low, high = float(np.min([video.min() for video in videos])), float(np.max([video.max() for video in videos]))
    is_integer = videos[0].dtype == np.uint8
    if value_range is None:
        value_range = (0, 255) if is_integer else (-1, 1)
        if is_integer and high == 1:
            raise ValueError(
                "The range is wrong: white is 255 in uint8 frames, but the maximum here is 1. Pass value_range=(0, 1) "
                "if 1 is white."
            )
        if not is_integer and low >= 0 and high > 0:
            raise ValueError(
                f"The range is wrong: float frames must be in [-1, 1]. Received: values in [{low:g}, {high:g}]. Pass "
                "the range that they have, value_range=(0, 1) or (0, 255), or (-1, 1) if they have no dark pixels."
            )
    try:
        black, white = (float(value) for value in value_range)
    except (TypeError, ValueError):
        black = white = 0.0
    if not black < white:
        raise ValueError(f"`value_range` must be (black, white), black < white. Received: value_range={value_range!r}")
    if not (black <= low and high <= white):  # Also true with NaN.
        raise ValueError(
            f"The range is wrong: frames must be in [{black:g}, {white:g}]. Received: values in [{low:g}, {high:g}]"
        )
    return black, white
