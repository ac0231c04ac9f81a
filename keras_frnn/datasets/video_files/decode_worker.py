"""A process that decodes videos: one JSON request per line on standard input, one answer per line on standard output.

If a damaged file crashes a codec, only this process dies. It is run by its path and imports little of this package
besides PyAV and OpenCV, so it starts in a fraction of a second and stays small.
"""

import functools
import json
import math
import os
import sys
from collections.abc import Iterator

import av
import cv2
import numpy as np

if __package__:
    from keras_frnn.datasets.video_files.video_reader import VideoReader
else:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    from video_reader import VideoReader  # type: ignore[no-redef]

_LONGEST_FRAME = 3600  # Seconds. A longer frame is a damaged timestamp and would be repeated endlessly.


def main():
    parent = os.getppid()
    cv2.setNumThreads(0)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = decode(request, alive=lambda: os.getppid() == parent)
        except OSError as error:
            answer = {"error": os.strerror(error.errno) if error.errno else str(error)}
        print(json.dumps(answer), flush=True)


def decode(request: dict, alive=lambda: True) -> dict:
    """Decodes one video into a file of raw uint8 frames.

    Args:
        request: `source`, `target`: paths; `height`, `width`, `channels` (1 gray, 3 RGB) of the frames to write;
            `frame_size`: expected (height, width), or None; `cut`: pixels to crop at the left and the right of frames
            of that size, or `"centre"` to crop frames to the target's aspect ratio; `rate`: frames per second to
            write, or None for the video's own frames.
        alive: returns whether the parent process still exists.

    Returns:
        `frames`: number of frames written; `frame_rate`: frames per second; `reason`: what is wrong with the video, or
        None.

    Raises:
        OSError: the target cannot be written.
    """
    source, target, rate = request["source"], request["target"], request.get("rate")
    if not os.access(source, os.R_OK):
        return _unread("no permission to read it")
    if not os.path.getsize(source):
        return _unread("is empty (0 bytes)")
    try:
        # Several videos are decoded at once, so more threads of FFmpeg would only compete with each other.
        video = VideoReader(source, threads=1, gray=request["channels"] == 1)
    except ValueError as error:
        return _unread(f"does not decode: {error}")
    temporary = f"{target}.{os.getpid()}"
    frames, shape, reason = 0, None, None
    try:
        with open(temporary, "wb", buffering=1 << 20) as file:
            for number, (frame, copies) in enumerate(_repeated(video.frames(), rate), 1):
                if not alive():
                    os._exit(1)
                if shape is None:
                    shape = frame.shape[:2]
                    reason = _wrong_size(shape, request["frame_size"])
                elif frame.shape[:2] != shape:
                    reason = f"frame {number} is {_size(frame.shape)} (height x width), those before {_size(shape)}"
                    break
                if copies > _LONGEST_FRAME * (rate or 1):
                    reason = f"frame {number} lasts longer than {_LONGEST_FRAME} seconds"
                    break
                if copies:
                    data = convert(frame, request, video.pixel_aspect, video.levels).tobytes()
                    file.writelines([data] * copies)
                    frames += copies
        if not frames:
            reason = "has no frames that decode"
        os.replace(temporary, target)
    except Exception as error:
        if isinstance(error, OSError) and not isinstance(error, av.FFmpegError):
            raise
        # The frames written so far are removed with the temporary file.
        frames, reason = 0, f"does not decode: {' '.join(str(error).split())}"
    finally:
        video.close()
        if os.path.exists(temporary):
            os.unlink(temporary)
    return {"frames": frames, "frame_rate": rate or video.frame_rate, "reason": reason or video.damage}


def _unread(reason: str) -> dict:
    return {"frames": 0, "frame_rate": 0.0, "reason": reason}


def _repeated(frames: Iterator[tuple[np.ndarray, float]], rate: float | None) -> Iterator[tuple[np.ndarray, int]]:
    """Each frame and the number of copies to write.

    With a rate, there is a tick every `1 / rate` seconds, from the time of the first frame to that of the last. At each
    tick, the frame shown at that time is written. Timestamps may be rounded to a millisecond, so a frame up to one
    millisecond late counts.
    """
    if rate is None:
        yield from ((frame, 1) for frame, _ in frames)
        return
    rounding = 0.001
    ticks, before, seconds = 0, None, 0.0
    for frame, seconds in frames:
        if before is not None:
            due = max(math.ceil((seconds - rounding) * rate), ticks)  # Number of ticks before this frame.
            yield before, due - ticks
            ticks = due
        before = frame
    if before is not None:
        yield before, int(ticks <= (seconds + rounding) * rate)


def _wrong_size(shape: tuple, frame_size) -> str | None:
    if frame_size and shape != tuple(frame_size):
        return f"its frames are {_size(shape)} (height x width), not {_size(frame_size)}"
    return None


def _size(shape) -> str:
    return f"{shape[0]}x{shape[1]}"


def convert(
    frame: np.ndarray, request: dict, pixel_aspect: float = 1.0, levels: np.ndarray | None = None
) -> np.ndarray:
    """A decoded frame in its stored form: cropped, shrunk, RGB or gray uint8; `(height, width[, 3])`.

    Args:
        frame: the frame, BGR uint8 `(H, W, 3)`; with `levels`, indices into these, `(H, W)`.
        request: see `decode`.
        pixel_aspect: width of a pixel divided by its height.
        levels: see `VideoReader`.
    """
    height, width = request["height"], request["width"]
    frame = _crop(frame, request["cut"], request["frame_size"], width / height / pixel_aspect)
    if levels is not None:
        return cv2.LUT(shrink(frame, height, width), levels)
    if request["channels"] == 1:
        return shrink(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), height, width)
    return cv2.cvtColor(shrink(frame, height, width), cv2.COLOR_BGR2RGB)


def _crop(frame, cut, frame_size, aspect):
    """The cropped frame; `aspect` is its number of columns divided by its number of rows."""
    height, width = frame.shape[:2]
    if cut == "centre":
        inner_height, inner_width = min(height, round(width / aspect)), min(width, round(height * aspect))
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        return frame[top : top + max(inner_height, 1), left : left + max(inner_width, 1)]
    side = round(cut * width / frame_size[1])  # The same fraction of a frame of another size.
    return frame[:, side : width - side]


def shrink(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Antialiased bilinear resizing of uint8 `(H, W[, 3])`, close to Pillow's, built from fast OpenCV functions.

    Halving, a mean over 2x2 pixels, is repeated until the remaining scale s is below 3 along each axis. Then a Gaussian
    followed by linear interpolation approximates the triangle filter of half-width s if their variances agree: s^2/6
    for the triangle, 1/6 for the interpolation. INTER_AREA is slower and further from Pillow's result.
    """
    halvings, blur = _shrinking(frame.shape[:2], height, width)
    for size in halvings:
        frame = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    frame = cv2.GaussianBlur(frame, **blur, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)


@functools.lru_cache
def _shrinking(size: tuple[int, ...], height: int, width: int) -> tuple[list[tuple[int, ...]], dict]:
    """Widths and heights after each halving of frames of this (height, width), and the arguments of the blur."""
    halvings = []
    while max(scales := (size[0] / height, size[1] / width)) >= 3:
        size = tuple(n // 2 if scale >= 3 else n for n, scale in zip(size, scales, strict=True))
        halvings.append(size[::-1])
    variances = [max(scale**2 - 1, 1e-6) / 6 for scale in scales]
    if all(1 / 3 < variance < 2 / 3 for variance in variances):
        # The filter 1 2 1 has variance 1/2, and OpenCV has faster code for it.
        return halvings, {"ksize": (3, 3), "sigmaX": 0}
    sigma_y, sigma_x = map(math.sqrt, variances)
    taps = [2 * math.ceil(1.5 * sigma) + 1 for sigma in (sigma_x, sigma_y)]
    return halvings, {"ksize": taps, "sigmaX": sigma_x, "sigmaY": sigma_y}


if __name__ == "__main__":
    main()
