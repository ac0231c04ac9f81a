import contextlib
import itertools
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from keras_frnn.checks import check_positive_integer, check_suffix
from keras_frnn.evaluation.colors import model_colors
from keras_frnn.evaluation.display import to_display
from keras_frnn.files import atomic_path

_MARGIN, _HEADER, _LABEL = 6, 34, 22
_GIVEN, _PREDICTED, _NOTHING = "#444444", "#ffb000", "#9aa5b1"


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

    Of a single sequence, truth and models are beside each other.
    A bar on top tells given time from predicted time; models have nothing to show before.

    Args:
        context: frames that were given, `(batch, context, height, width, channels)`: floating point in [-1, 1], as a
            model takes them, or uint8, as a camera gives them; 1 or 3 channels.
        future: true future frames, `(batch, horizon, height, width, channels)`; None where they are not known, fewer
            where only the first are: the top row then ends with question marks.
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
    given, truth, predicted = to_display(context, future, predictions, data_format)
    pages = _pages(given, truth, predicted, height)
    write(pages, pathlib.Path(path), float(frame_rate))


def _pages(context, future, predictions: dict, height: int) -> list[Image.Image]:
    given, horizon = context.shape[1], max(frames.shape[1] for frames in (future, *predictions.values()))
    rows = [("truth", np.concatenate([context, future], axis=1), 0)]
    rows += [(name, frames, given) for name, frames in predictions.items()]
    colors = model_colors(name for name, *_ in rows)
    scale = max(1, round(height / context.shape[2]))
    frame_size = context.shape[3] * scale, context.shape[2] * scale
    font = ImageFont.load_default(size=16)
    label_width = max(int(font.getlength(name)) for name, *_ in rows) + 2 * _MARGIN
    beside = len(context) == 1  # The truth beside the models, names above them; else above them, names to the left.
    if beside:
        left, top = _MARGIN, _HEADER + _LABEL
        right, down = max(frame_size[0], label_width) + _MARGIN, 0
        width, height = left + len(rows) * right, top + frame_size[1] + _MARGIN
        width = max(width, int(font.getlength(f"predicted +{horizon}")) + 2 * _MARGIN)
    else:
        left, top = label_width, _HEADER
        right, down = 0, frame_size[1] + _MARGIN
        width, height = left + len(context) * (frame_size[0] + _MARGIN), top + len(rows) * down
    # Video codecs want even sizes.
    size = width + width % 2, height + height % 2
    pages = []
    for time in range(given + horizon):
        step = time - given + 1
        page = Image.new("RGB", size, "white")
        draw = ImageDraw.Draw(page)
        _draw_header(draw, size[0], step, given, horizon, font)
        for row, (name, frames, first) in enumerate(rows):
            x, y = left + row * right, top + row * down
            label = (x, y - _LABEL) if beside else (_MARGIN, y + frame_size[1] // 2 - 10)
            draw.text(label, name, fill=colors[name], font=font)
            for column in range(len(context)):
                start = x + column * (frame_size[0] + _MARGIN)
                box = (start, y, start + frame_size[0] - 1, y + frame_size[1] - 1)
                if first <= time < first + frames.shape[1]:
                    frame = frames[column, time - first]
                    image = Image.fromarray(frame[..., 0] if frame.shape[-1] == 1 else frame)
                    page.paste(image.resize(frame_size, Image.Resampling.NEAREST), box[:2])
                    outline = colors[name] if step > 0 else _GIVEN
                    draw.rectangle((box[0] - 2, box[1] - 2, box[2] + 2, box[3] + 2), outline=outline, width=2)
                else:
                    # A model that still watches, or a future that nobody knows.
                    draw.rectangle(box, fill=_NOTHING)
                    middle = ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
                    draw.text(middle, "watches" if time < given else "?", fill="white", font=font, anchor="mm")
        pages.append(page)
    return pages


def _draw_header(draw: ImageDraw.ImageDraw, width: int, step: int, given: int, horizon: int, font):
    """A bar that fills as time goes on, in another colour once frames are predicted."""
    border = round(width * given / (given + horizon))
    now = round(width * (given + step) / (given + horizon))
    draw.rectangle((0, 0, border, _HEADER - _MARGIN), fill="#888888")
    draw.rectangle((border, 0, width, _HEADER - _MARGIN), fill="#ffe2a3")
    draw.rectangle((0, 0, min(now, border), _HEADER - _MARGIN), fill=_GIVEN)
    if step > 0:
        draw.rectangle((border, 0, now, _HEADER - _MARGIN), fill=_PREDICTED)
    text = f"predicted +{step}" if step > 0 else f"given {given + step} of {given}"
    half = draw.textlength(text, font=font) / 2 + 4
    center = min(max(half, (border + width) / 2 if step > 0 else border / 2), width - half)
    # The text may be wider than its part of the bar.
    color, around = ("black", _PREDICTED) if step > 0 else ("white", _GIVEN)
    at = (center, (_HEADER - _MARGIN) // 2)
    draw.text(at, text, fill=color, font=font, anchor="mm", stroke_width=2, stroke_fill=around)


# The last frame stays for a second, so that one sees where the sequence ends.


def _write_gif(pages: list[Image.Image], path: pathlib.Path, frame_rate: float):
    durations = [1000 / frame_rate] * (len(pages) - 1) + [1000]
    with atomic_path(path) as temporary:
        pages[0].save(temporary, format="GIF", save_all=True, append_images=pages[1:], duration=durations, loop=0)


def _write_mp4(pages: list[Image.Image], path: pathlib.Path, frame_rate: float):
    with mp4_writer(path, frame_rate) as write:
        for page in itertools.chain(pages, itertools.repeat(pages[-1], max(1, round(frame_rate)) - 1)):
            write(np.asarray(page))


@contextlib.contextmanager
def mp4_writer(path: str | os.PathLike, frame_rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """A function that adds a page, RGB uint8 `(height, width, 3)` of even sides, to a video that is there in the end.

    Raises:
        OSError: the file cannot be written.
    """
    writer = None
    with atomic_path(path) as temporary:

        def write(page: np.ndarray):
            nonlocal writer
            if writer is None:
                size = page.shape[1], page.shape[0]
                writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), frame_rate, size)
            writer.write(np.ascontiguousarray(page[..., ::-1]))

        try:
            yield write
        finally:
            if writer is not None:
                writer.release()
        # OpenCV says nothing where it could not write.
        if not cv2.VideoCapture(str(temporary)).read()[0]:
            folder = pathlib.Path(path).parent
            raise OSError(f"OpenCV could not write a video in the folder {folder}. A .gif needs no video codec.")
