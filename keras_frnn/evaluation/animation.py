import itertools
import math
import os
import pathlib
from collections.abc import Mapping

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_frnn.checks import check_positive_integer, check_suffix
from keras_frnn.evaluation.display import to_display
from keras_frnn.files import atomic_path

_MARGIN, _HEADER = 6, 24


def save_animation(
    context: np.ndarray,
    future: np.ndarray | None,
    predictions: Mapping[str, np.ndarray],
    path: str | os.PathLike,
    frame_rate: float = 5,
    height: int = 128,
    data_format: str | None = None,
):
    """Writes a GIF or an MP4: the truth in the top row, a row for each model below, a column for each sequence.

    Args:
        context: frames that were given, `(batch, context, height, width, channels)`: floating point in [-1, 1], as a
            model takes them, or uint8, as a camera gives them; 1 or 3 channels.
        future: true future frames, `(batch, horizon, height, width, channels)`; None where they are not known: the
            top row then ends with the given frames.
        predictions: by model, predicted frames, `(batch, horizon, height, width, channels)`.
        path: file to write, `.gif` or `.mp4`.
        frame_rate: frames a second; the last one stays for a second.
        height: in pixels, to which each frame is enlarged.
        data_format: `"channels_first"` if channels come before height; `keras.config.image_data_format()` by default.

    Raises:
        ValueError: frames of other values or of shapes that do not go together; another suffix, frame rate or height.
        OSError: the file cannot be written.
    """
    write = {".gif": _write_gif, ".mp4": _write_mp4}[check_suffix(path, ".gif", ".mp4")]
    height = check_positive_integer(height, "height")
    if not isinstance(frame_rate, (int, float, np.number)) or not 0 < frame_rate < math.inf:
        raise ValueError(f"`frame_rate` must be a positive number of frames a second. Received: {frame_rate!r}")
    pages = _pages(*to_display(context, future, predictions, data_format), height)
    with atomic_path(path) as temporary:
        write(pages, temporary, float(frame_rate))


def _pages(context, future, predictions: dict, height: int) -> list[Image.Image]:
    rows = [("truth", np.concatenate([context, future], axis=1))]
    rows += [(name, np.concatenate([context, frames], axis=1)) for name, frames in predictions.items()]
    scale = max(1, round(height / context.shape[2]))
    frame_size = context.shape[3] * scale, context.shape[2] * scale
    font = ImageFont.load_default(size=14)
    label_width = max(int(font.getlength(name)) for name, _ in rows) + 2 * _MARGIN
    width = label_width + len(context) * (frame_size[0] + _MARGIN)
    height = _HEADER + len(rows) * (frame_size[1] + _MARGIN)
    # Video codecs want even sizes.
    size = width + width % 2, height + height % 2
    pages = []
    for time in range(max(frames.shape[1] for _, frames in rows)):
        step = time - context.shape[1] + 1
        page = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(page)
        text = f"predicted frame +{step}" if step > 0 else f"given frame {step}"
        draw.text((label_width, 4), text, fill="firebrick" if step > 0 else "black", font=font)
        for row, (name, frames) in enumerate(rows):
            top = _HEADER + row * (frame_size[1] + _MARGIN)
            draw.text((_MARGIN, top + frame_size[1] // 2 - 8), name, fill="black", font=font)
            if time >= frames.shape[1]:
                continue
            for column, frame in enumerate(frames[:, time]):
                image = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
                image = image.resize(frame_size, Image.Resampling.NEAREST)
                page.paste(image, (label_width + column * (frame_size[0] + _MARGIN), top))
        pages.append(page)
    return pages


# The last frame stays for a second, so that one sees where the sequence ends.


def _write_gif(pages: list[Image.Image], path: pathlib.Path, frame_rate: float):
    durations = [1000 / frame_rate] * (len(pages) - 1) + [1000]
    pages[0].save(path, format="GIF", save_all=True, append_images=pages[1:], duration=durations, loop=0)


def _write_mp4(pages: list[Image.Image], path: pathlib.Path, frame_rate: float):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), frame_rate, pages[0].size)
    last = itertools.repeat(pages[-1], max(1, round(frame_rate)) - 1)
    for page in itertools.chain(pages, last):
        writer.write(np.asarray(page)[..., ::-1])
    writer.release()
    # OpenCV says nothing where it could not write.
    if not cv2.VideoCapture(str(path)).read()[0]:
        raise OSError(f"OpenCV could not write a video in the folder {path.parent}. A .gif needs no video codec.")
