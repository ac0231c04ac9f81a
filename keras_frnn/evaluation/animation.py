import concurrent.futures
import contextlib
import fractions
import itertools
import numbers
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from PIL import Image, ImageDraw, ImageFont

from keras_frnn.checks import check_positive_integer, check_suffix
from keras_frnn.evaluation.colors import model_colors
from keras_frnn.evaluation.display import to_display
from keras_frnn.files import atomic_path

_MARGIN, _HEADER, _LABEL = 6, 34, 22
_GIVEN, _PREDICTED, _NOTHING = "#444444", "#ffb000", "#9aa5b1"
_SLOWEST, _FASTEST = 1 / 600, 1000  # Frames per second. A GIF shows a page for at most 11 minutes.
_LARGEST = 16384  # Pixels per side in H.264.


def save_animation(
    context: np.ndarray,
    future: np.ndarray | None,
    predictions: Mapping[str, np.ndarray],
    path: str | os.PathLike,
    frame_rate: float = 5,
    height: int = 128,
    data_format: str | None = None,
):
    """Writes a GIF or an MP4: one column per sequence, with the truth in the top row and one row per model below.

    For a single sequence, the truth and the models stand side by side. A bar at the top shows whether frames are given
    or predicted; models show nothing while frames are given.

    Args:
        context: given frames, `(batch, context, height, width, channels)`, 1 or 3 channels: floating point in [-1, 1],
            as models take them, or uint8, as cameras return them.
        future: true future frames, `(batch, horizon, height, width, channels)`; None if they are unknown, fewer if only
            the first are known. The top row then ends with question marks.
        predictions: predicted frames by model, `(batch, horizon, height, width, channels)`.
        path: file to write, `.gif` or `.mp4` (H.264, which browsers play).
        frame_rate: frames per second, from 1/600 to 1000; the last frame stays for a second. Browsers show at most 50
            pages of a GIF per second: a faster one skips pages and keeps its speed.
        height: height in pixels to which each frame is enlarged.
        data_format: `"channels_first"` if channels come before height; `keras.config.image_data_format()` by default.

    Raises:
        ValueError: frames have unexpected values or shapes that do not fit together, or the suffix, frame rate or
            height is invalid.
        OSError: the file cannot be written.
    """
    write = {".gif": _write_gif, ".mp4": _write_mp4}[check_suffix(path, ".gif", ".mp4")]
    height = check_positive_integer(height, "height")
    if not isinstance(frame_rate, numbers.Real) or not _SLOWEST <= frame_rate <= _FASTEST:
        raise ValueError(f"`frame_rate` must be from 1/600 to {_FASTEST} frames per second. Received: {frame_rate!r}")
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
    beside = len(context) == 1  # Truth and models side by side below their names; else in rows right of their names.
    if beside:
        left, top = _MARGIN, _HEADER + _LABEL
        right, down = max(frame_size[0], label_width) + _MARGIN, 0
        width, height = left + len(rows) * right, top + frame_size[1] + _MARGIN
        width = max(width, int(font.getlength(f"predicted +{horizon}")) + 2 * _MARGIN)
    else:
        left, top = label_width, _HEADER
        right, down = 0, frame_size[1] + _MARGIN
        width, height = left + len(context) * (frame_size[0] + _MARGIN), top + len(rows) * down
    pages = []
    for time in range(given + horizon):
        step = time - given + 1
        page = Image.new("RGB", (width, height), "white")
        draw = ImageDraw.Draw(page)
        _draw_header(draw, width, step, given, horizon, font)
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
                    # A model without a prediction yet, or an unknown future.
                    draw.rectangle(box, fill=_NOTHING)
                    middle = ((box[0] + box[2]) // 2, (box[1] + box[3]) // 2)
                    draw.text(middle, "watches" if time < given else "?", fill="white", font=font, anchor="mm")
        pages.append(page)
    return pages


def _draw_header(draw: ImageDraw.ImageDraw, width: int, step: int, given: int, horizon: int, font):
    """Draws a bar that fills over time and changes its color when frames are predicted."""
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


# The last frame stays for a second, to show where the sequence ends.


def _write_gif(pages: list[Image.Image], path: pathlib.Path, frame_rate: float):
    """Pages last for whole hundredths of a second; browsers show a page of less than two hundredths for ten."""
    starts = [round(100 * number / frame_rate) for number in range(len(pages))]
    end, shown, durations = starts[-1] + 100, [], []
    for page, start in zip(reversed(pages), reversed(starts), strict=True):  # Backwards, to always show the last page.
        if end - start >= 2:
            shown.append(page)
            durations.append(10 * (end - start))
            end = start
    first, *others = reversed(shown)
    with atomic_path(path) as temporary:
        first.save(temporary, format="GIF", save_all=True, append_images=others, duration=durations[::-1], loop=0)


def _write_mp4(pages: list[Image.Image], path: pathlib.Path, frame_rate: float):
    with mp4_writer(path, frame_rate) as write:
        for page in itertools.chain(pages, itertools.repeat(pages[-1], max(1, round(frame_rate)) - 1)):
            write(np.asarray(page))


@contextlib.contextmanager
def mp4_writer(path: str | os.PathLike, frame_rate: float) -> Iterator[Callable[[np.ndarray], None]]:
    """Yields a function that adds a page to a video. The file appears when the block ends without an error.

    Pages are RGB, uint8 `(height, width, 3)`, all of the same size. If the block catches a Ctrl-C, the pages written
    before are kept.

    Args:
        path: path of the video: MP4 with H.264 and its index at the beginning, which browsers play.
        frame_rate: pages per second.

    Raises:
        ValueError: a page differs in size from the first one, or is too large for H.264.
        OSError: the file cannot be written, or there was no page.
    """
    if os.path.isdir(path):  # Otherwise the error would come after everything is written.
        raise IsADirectoryError(f"Expected the name of a video to write. Received: {os.fspath(path)!r}, a folder.")
    with atomic_path(path) as temporary, concurrent.futures.ThreadPoolExecutor(1) as thread:
        video = _Mp4(temporary, frame_rate)

        def run(function: Callable, *arguments):
            # Python only interrupts its main thread. In another thread, a page is written completely or not at all.
            try:
                thread.submit(function, *arguments).result()
            except av.FFmpegError as error:
                raise OSError(f"{path} cannot be written: {error.strerror}.") from error

        try:
            yield lambda page: run(video.add, page)
            if not video.pages:
                raise OSError(f"{path} is not written: there was no frame to write.")
            run(video.end)
        finally:
            thread.submit(video.close)


class _Mp4:
    """A video that is being written. Its size is that of its first page, rounded up to even numbers for 4:2:0 color."""

    def __init__(self, path: pathlib.Path, frame_rate: float):
        self.path, self.pages = path, 0
        self.shape: tuple[int, int, int] | None = None
        rate = fractions.Fraction(max(frame_rate, _SLOWEST))
        self.frame_rate = rate.limit_denominator(1001)  # Such as 30000/1001 for 29.97.

    def add(self, page: np.ndarray):
        if self.shape is None:
            self._open(page.shape)
        if page.shape != self.shape:
            raise ValueError(f"Expected pages of one size. Received: shape={page.shape} after {self.shape}")
        height, width, _ = page.shape
        page = np.pad(page, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        frame = av.VideoFrame.from_ndarray(page, "rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.MPEG)
        frame.pts, frame.time_base = self.pages, 1 / self.frame_rate
        self.container.mux(self.stream.encode(frame))
        self.pages += 1

    def _open(self, shape: tuple[int, int, int]):
        height, width, _ = shape
        if max(height, width) > _LARGEST:
            raise ValueError(
                f"H.264 allows pages of up to {_LARGEST} pixels per side. Received: {height}x{width}. Draw less."
            )
        # Without `file:`, FFmpeg would interpret the part before a colon as a protocol.
        self.container = av.open(f"file:{self.path}", "w", format="mp4", options={"movflags": "+faststart"})
        self.stream = self.container.add_stream(
            "libx264", rate=self.frame_rate, options={"crf": "18", "preset": "veryfast"}
        )
        self.stream.width, self.stream.height = width + width % 2, height + height % 2
        self.stream.pix_fmt = "yuv420p"
        context = self.stream.codec_context
        # Players that ignore these tags assume the same for small videos.
        context.colorspace, context.color_range = Colorspace.ITU601, ColorRange.MPEG
        self.shape = shape

    def end(self):
        self.container.mux(self.stream.encode(None))
        self.container.close()  # A full disk may only show here.

    def close(self):
        if self.shape is not None:
            self.container.close()
