"""`keras-frnn live`: predicts while frames come from a camera or a file."""

import contextlib
import itertools
import time
from collections.abc import Callable

import cv2
import numpy as np

from keras_frnn.command.before_keras import find_model, trained_on
from keras_frnn.command.networks import FRAME_RATE, as_model, channels_last, frame_shape, load_model, misfits
from keras_frnn.command.video_source import Video, resize
from keras_frnn.evaluation.animation import mp4_writer
from keras_frnn.evaluation.display import window_pyplot
from keras_frnn.models.frames import to_uint8


def live(
    camera: str,
    model: str,
    steps: int | None,
    every: int,
    frames: int | None,
    follow: float | None,
    headless: bool,
    output: str | None,
    size: tuple[int, int] | None,
):
    """Draws each frame with the forecast from it beside it, and prints the frames per second."""
    network, trained = load_model(model), trained_on(find_model(model))
    if not hasattr(network, "stream"):
        raise ValueError(
            f"A {type(network).__name__} cannot take one frame at a time. Pass a FoldedRNN or a LadderRNN."
        )
    show = None if headless else _window()
    video, steps = Video(camera), steps or network.horizon
    shape = frame_shape(network, video.size, size)
    stream = network.stream(as_model(network, np.empty(shape)).shape)
    # The first frames are left out of the timing: compilation would dominate it.
    warm_up = min(2 * every, frames or 2 * every)
    begun, seen, shown = time.perf_counter(), 0, time.perf_counter()
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(mp4_writer(output, video.rate or FRAME_RATE)) if output else None
        predicted = None
        # Ctrl-C is the normal way to end: what was written until then is kept.
        with contextlib.suppress(KeyboardInterrupt):
            for frame in itertools.islice(video.frames(follow), frames):
                if not seen:
                    for line in misfits(model, trained, network, camera, frame):
                        print(line)
                seen_frame = resize(frame, shape, video.pixel_aspect)
                stream.update(as_model(network, seen_frame))
                seen += 1
                if seen % every == 0:
                    predicted = channels_last(network, stream.forecast(steps)[None])[0]
                if seen == warm_up:
                    begun = time.perf_counter()
                page = live_page(seen_frame, predicted, steps)
                if write:
                    write(page)
                if show and not show(page):
                    break
                if (now := time.perf_counter()) - shown > 1:
                    print(f"\r{seen} frames, {_rate(seen - warm_up, now - begun)}", end="", flush=True)
                    shown = now
    print(f"\r{seen} frames of {shape[0]}x{shape[1]}, {_rate(seen - warm_up, time.perf_counter() - begun)}.")
    if output:
        print(f"Written to {output}.")


def _rate(frames: int, seconds: float) -> str:
    return f"{frames / seconds:.1f} frames per second" if frames > 0 and seconds > 0 else "too few to time"


def live_page(frame: np.ndarray, predicted: np.ndarray | None, steps: int, height: int = 160) -> np.ndarray:
    """The current frame and up to four predicted ones, side by side: RGB uint8 `(height, width, 3)`.

    Args:
        frame: uint8 `(height, width, channels)`.
        predicted: float32 `(steps, height, width, channels)` in [-1, 1]; None before the first forecast.
        steps: how many are predicted.
        height: about how high to draw the frames, in pixels; they are enlarged by an integer factor.
    """
    scale, top = max(1, round(height / frame.shape[0])), 24
    chosen = sorted({round(step) for step in np.linspace(1, steps, min(4, steps))})
    tiles = [("now", frame)]
    for step in chosen:
        pixels = np.full_like(frame, 128) if predicted is None else to_uint8(predicted[step - 1])
        tiles.append((f"+{step}", pixels))
    columns = []
    for name, pixels in tiles:
        pixels = np.broadcast_to(pixels, (*pixels.shape[:2], 3)).repeat(scale, 0).repeat(scale, 1)
        column = np.full((top + pixels.shape[0], pixels.shape[1] + 4, 3), 255, "uint8")
        column[top:, 2:-2] = pixels
        cv2.putText(column, name, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(column)
    return np.concatenate(columns, axis=1)


def _window() -> Callable[[np.ndarray], bool]:
    """A function that shows a page in a window and returns whether the window is still open."""
    pyplot = window_pyplot()
    if pyplot is None:
        raise OSError("There is no screen for a window. Pass --headless, and --output=out.mp4 to keep the pictures.")
    figure, image = None, None

    def show(page: np.ndarray) -> bool:
        nonlocal figure, image
        if figure is None:
            figure = pyplot.figure("keras-frnn", figsize=(page.shape[1] / 100, page.shape[0] / 100))
            axes = figure.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            image = axes.imshow(page)
            pyplot.show(block=False)
        image.set_data(page)
        figure.canvas.draw_idle()
        figure.canvas.start_event_loop(0.001)  # As `pyplot.pause` does, which also raises the window with every frame.
        return pyplot.fignum_exists(figure.number)

    return show
