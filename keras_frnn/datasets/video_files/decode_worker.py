"""A process that decodes videos: one request a line on standard input, one answer a line on standard output, in JSON.

A codec that a damaged file brings down takes this process with it, not its parent. It is run by its path, so that it
imports OpenCV and nothing else of this package: it starts in a fraction of a second and stays small.
"""

import contextlib
import json
import math
import os
import re
import struct
import sys

os.environ["OPENCV_LOG_LEVEL"] = "OFF"
os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"

import cv2
import numpy as np

# What states the frames' size in a packet, by codec; others are taken to keep it. OpenCV stretches all frames to the
# size of the first, and does not tell.
_SIZE_HEADERS = {
    "MJPG": rb"\xff[\xc0-\xc2]\0.\x08.{4}",
    "mpg1": rb"\0\0\x01\xb3.{3}",
    "mpg2": rb"\0\0\x01\xb3.{3}",
    "FMP4": rb"\0\0\x01[\x20-\x2f].*?(?=\0\0\x01)",
    "h264": rb"\0\0\x01[\x07\x27\x47\x67].*?(?=\0\0\x01)",
    "hevc": rb"\0\0\x01\x42\x01.*?(?=\0\0\x01)",
    "VP80": rb"\A...\x9d\x01\x2a.{4}",
    "VP90": rb"\A.\x49\x83\x42.{5}",
}

# Containers that state their number of frames; for others OpenCV guesses it from the duration.
_COUNTED = {".avi", ".mp4", ".m4v", ".mov"}


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
        request: `source`, `target`: paths; `height`, `width`, `channels` (1 grey, 3 RGB) of the frames to write;
            `frame_size`: expected (height, width), or None; `cut`: pixels to cut left and right from frames of that
            size, or `"centre"` to cut frames to the target's aspect ratio.
        alive: whether somebody waits for the answer.

    Returns:
        `frames`: number of frames written; `frame_rate`: frames a second; `reason`: what is wrong with the video, or
        None.

    Raises:
        OSError: the target cannot be written.
    """
    source, target = request["source"], request["target"]
    frames, rate, shape, reason = 0, 0.0, None, None
    if not os.access(source, os.R_OK):
        return {"frames": 0, "frame_rate": 0.0, "reason": "no permission to read it"}
    if not os.path.getsize(source):
        return {"frames": 0, "frame_rate": 0.0, "reason": "is empty (0 bytes)"}
    video = None
    temporary = f"{target}.{os.getpid()}"
    try:
        # Several videos are decoded at once: FFmpeg's threads would only stand in each other's way.
        with _openable(source) as name:
            video = cv2.VideoCapture(name, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
            if not video.isOpened():
                return {"frames": 0, "frame_rate": 0.0, "reason": "does not decode: no video that FFmpeg knows"}
            change, change_reason = _size_change(name, _codec(video), temporary)
        rate = video.get(cv2.CAP_PROP_FPS)
        with open(temporary, "wb") as file:
            while alive():
                more, frame = video.read()
                if not more:
                    break
                if shape is None:
                    shape = frame.shape
                    reason = _wrong_size(shape, request["frame_size"])
                elif frames == change:
                    reason = change_reason
                    break
                file.write(convert(frame, request).data)
                frames += 1
            else:
                os._exit(1)
        announced = video.get(cv2.CAP_PROP_FRAME_COUNT)
        if not frames:
            reason = "has no frames that decode"
        elif not reason and os.path.splitext(source)[1].lower() in _COUNTED and frames < announced:
            reason = f"stops early: {frames} of {announced:.0f} frames decode"
        os.replace(temporary, target)
    except (cv2.error, MemoryError) as error:
        # What was written before goes with the temporary file.
        frames, reason = 0, f"does not decode: {' '.join(str(error).split())}"
    finally:
        if video is not None:
            video.release()
        if os.path.exists(temporary):
            os.unlink(temporary)
    return {"frames": frames, "frame_rate": rate if np.isfinite(rate) else 0.0, "reason": reason}


@contextlib.contextmanager
def _openable(path: str):
    """A name of the file that OpenCV takes, which must be UTF-8."""
    with open(path, "rb") as file:
        is_utf8 = path.encode("utf-8", "ignore").decode() == path
        yield path if is_utf8 else f"/dev/fd/{file.fileno()}"


def _codec(video: cv2.VideoCapture) -> str:
    return int(video.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")


def _size_change(source: str, codec: str, scratch: str) -> tuple[int | None, str | None]:
    """The number of the first frame of another size than those before it, from 0, and what is wrong with it.

    This looks at the packets' headers alone. FFmpeg tells what size they state: `scratch` is a file for a packet.
    """
    if codec not in _SIZE_HEADERS:
        return None, None
    video = cv2.VideoCapture(source, cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
    first, known, number = None, set(), 0
    while video.grab():
        packet = video.retrieve()[1].tobytes()
        header = re.search(_SIZE_HEADERS[codec], packet, re.DOTALL)
        if header and header[0] not in known:
            known.add(header[0])
            if first is None:
                first = packet
            else:
                before, size = (_packet_size(data, codec, scratch) for data in (first, packet))
                if before and size and size != before:
                    return number, f"frame {number + 1} is {size} (height x width), those before {before}"
        number += 1
    return None, None


def _packet_size(packet: bytes, codec: str, scratch: str) -> str | None:
    """The size of a packet's frame, height x width; None if FFmpeg does not find it."""
    with open(scratch, "wb") as file:
        if codec in ("VP80", "VP90"):  # These are not found without a container, of which IVF is the smallest.
            file.write(struct.pack("<4sHH4sHHIIII", b"DKIF", 0, 32, codec.encode(), 0, 0, 25, 1, 1, 0))
            file.write(struct.pack("<IQ", len(packet), 0))
        file.write(packet)
    with _openable(scratch) as name:
        video = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    size = f"{video.get(cv2.CAP_PROP_FRAME_HEIGHT):.0f}x{video.get(cv2.CAP_PROP_FRAME_WIDTH):.0f}"
    return size if video.isOpened() else None


def _wrong_size(shape: tuple, frame_size) -> str | None:
    height, width = shape[:2]
    if frame_size and (height, width) != tuple(frame_size):
        return f"its frames are {height}x{width} (height x width), not {frame_size[0]}x{frame_size[1]}"
    return None


def convert(frame: np.ndarray, request: dict) -> np.ndarray:
    """A decoded frame, BGR uint8 `(H, W, 3)`, as it is stored: cropped, shrunk, RGB or grey; `(height, width[, 3])`."""
    height, width = request["height"], request["width"]
    frame = _crop(frame, request["cut"], request["frame_size"], width / height)
    if request["channels"] == 1:
        return shrink(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), height, width)
    return cv2.cvtColor(shrink(frame, height, width), cv2.COLOR_BGR2RGB)


def _crop(frame, cut, frame_size, aspect):
    height, width = frame.shape[:2]
    if cut == "centre":
        inner_height, inner_width = min(height, round(width / aspect)), min(width, round(height * aspect))
        top, left = (height - inner_height) // 2, (width - inner_width) // 2
        return frame[top : top + max(inner_height, 1), left : left + max(inner_width, 1)]
    side = round(cut * width / frame_size[1])  # The same part of a frame of another size.
    return frame[:, side : width - side]


def shrink(frame: np.ndarray, height: int, width: int) -> np.ndarray:
    """Antialiased bilinear resizing of uint8 `(H, W[, 3])`, as Pillow's, by OpenCV's fast steps.

    Halving, a mean over 2x2 pixels, leaves a scale s below 3 along each axis. There a Gaussian followed by linear
    interpolation comes close to the triangle filter of half-width s, when their variances agree: s^2/6 for the
    triangle, 1/6 for the interpolation. INTER_AREA is further from Pillow's result, and slower.
    """
    while max(scales := _scales(frame, height, width)) >= 3:
        halved = [size // 2 if scale >= 3 else size for size, scale in zip(frame.shape[:2], scales, strict=True)]
        frame = cv2.resize(frame, halved[::-1], interpolation=cv2.INTER_AREA)
    variances = [max(scale**2 - 1, 1e-6) / 6 for scale in scales]
    if all(1 / 3 < variance < 2 / 3 for variance in variances):
        # The filter 1 2 1, of variance 1/2, for which OpenCV has faster code.
        frame = cv2.GaussianBlur(frame, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
    else:
        sigma_y, sigma_x = map(math.sqrt, variances)
        taps = [2 * math.ceil(1.5 * sigma) + 1 for sigma in (sigma_x, sigma_y)]
        frame = cv2.GaussianBlur(frame, taps, sigma_x, sigmaY=sigma_y, borderType=cv2.BORDER_REPLICATE)
    return cv2.resize(frame, (width, height), interpolation=cv2.INTER_LINEAR)


def _scales(frame, height, width):
    return frame.shape[0] / height, frame.shape[1] / width


if __name__ == "__main__":
    main()
