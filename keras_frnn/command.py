"""What the command `keras-frnn` does. Its command line is keras_frnn_command.py, beside the package.

Each function is thin: from files to the functions of this package and back. What is wrong raises an error whose
message is for the user.
"""

import contextlib
import json
import math
import os
import pathlib
import sys
import time
from collections.abc import Iterator

import keras
import numpy as np

from keras_frnn import datasets, evaluation, losses, models
from keras_frnn.checks import check_suffix

# OpenCV from there: it reads what that module sets, and its codecs keep quiet about damage.
from keras_frnn.datasets.video_files.decode_worker import convert, cv2
from keras_frnn.files import atomic_path

PRESET = "moving-digits"
_LARGEST_SIDE = 128  # Of frames, where the network takes any size.
_MOST_COLUMNS = 12  # Of a strip, more of which are too small to see.


# --- predict ---------------------------------------------------------------------------------------------------------


def predict(clip: str, model: str, output: str, steps: int, given: int, start: int, frame_step: int, size):
    """Writes what the network predicts after the first frames of a clip, beside what the clip shows of it."""
    check_suffix(output, ".mp4", ".gif", ".png")
    network = load(model)
    shape = frame_shape(network, size, first_frame(clip).shape)
    frames, rate = read_clip(clip, shape, start, given + steps, frame_step)
    context, truth = frames[:given], frames[given:]
    future = network.forecast(context[None] / 127.5 - 1, steps)
    _draw(network, context[None], truth[None] if len(truth) else None, {network.name: future}, output, rate)
    known = f"{len(truth)} of them beside what came" if len(truth) else "after the end of the clip"
    print(f"Written to {output}: {len(context)} given frames, {steps} predicted ones, {known}.")
    if model == PRESET:
        print(
            f"{PRESET} knows white digits on black, nothing else. For your own videos: keras-frnn prepare, then train."
        )


def _draw(network, context, truth, predictions: dict, output: str, rate: float):
    if output.lower().endswith(".png"):
        steps = next(iter(predictions.values())).shape[1]
        every = math.ceil(steps / _MOST_COLUMNS)
        picked = range(every, steps + 1, every)
        shown = context[:, -_MOST_COLUMNS:]
        evaluation.plot_strip(shown, truth, predictions, output, picked, data_format="channels_last")
    else:
        # A GIF's frames last hundredths of a second, and some viewers slow down fast ones.
        rate = min(rate, 20) if output.lower().endswith(".gif") else rate
        evaluation.save_animation(context, truth, predictions, output, rate, data_format="channels_last")


def load(model: str, compile: bool = False):
    """A network: a preset of the package, a folder of `save_to_preset`, or a file of `model.save`.

    Raises:
        ValueError: it is none of these, or takes channels before height.
    """

    path = pathlib.Path(model)
    if path.suffix == ".keras":
        if not path.is_file():
            raise ValueError(f"There is no file {model}.")
        try:
            network = keras.saving.load_model(path, compile=compile)
        except Exception as error:  # Damage shows in errors of zipfile, h5py, json and Keras.
            raise ValueError(f"{model} cannot be loaded as a Keras model: {error}") from error
    else:
        family = models.LadderRNN if _class_in(path) == "LadderRNN" else models.FoldedRNN
        network = family.from_preset(model)
    if not callable(getattr(network, "forecast", None)):
        raise ValueError(
            f"Expected a network that predicts frames, such as a FoldedRNN. Received: {model} holds a "
            f"{type(network).__name__}."
        )
    if getattr(network, "data_format", "channels_last") != "channels_last":
        raise ValueError(f"{model} takes channels before height. This command needs a network of channels_last layers.")
    return network


def _class_in(folder: pathlib.Path) -> str | None:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return json.loads((folder / "config.json").read_text())["class_name"]
    return None


def frame_shape(network, size: tuple[int, int] | None, source: tuple[int, ...]) -> tuple[int, int, int]:
    """(height, width, channels) of the frames to give a network: as asked for, as it was built, or as the clip is."""
    *built, channels = network.context_shape[2:]
    if channels not in (1, 3):
        raise ValueError(f"The network takes frames of {channels} channels. A video has 1, grey, or 3, colour.")
    if size is None and None not in built:
        size = tuple(built)
    if size is None:
        scale = min(1, _LARGEST_SIDE / max(source[:2]))
        factors = [math.prod(layer.factors[axis] for layer in getattr(network, "stack", ())) for axis in (0, 1)]
        size = tuple(max(1, round(n * scale / factor)) * factor for n, factor in zip(source, factors, strict=False))
    return (*size, channels)


# --- videos ----------------------------------------------------------------------------------------------------------


def _open(source: str | int):
    if isinstance(source, str) and not os.path.isfile(source):
        raise FileNotFoundError(f"There is no video {source}.")
    if isinstance(source, str) and not os.access(source, os.R_OK):
        raise PermissionError(f"No permission to read {source}.")
    video = cv2.VideoCapture(source)
    if not video.isOpened():
        what = (
            f"Camera {source} does not open." if isinstance(source, int) else f"{source} is no video that FFmpeg knows."
        )
        raise OSError(what)
    return video


def first_frame(source: str):
    """The first frame of a clip, uint8 `(height, width, 3)`."""
    video = _open(source)
    more, frame = video.read()
    video.release()
    if not more:
        raise OSError(f"{source} has no frames that decode.")
    return frame


def read_clip(source: str, shape: tuple[int, int, int], start: int, count: int, frame_step: int):
    """Frames of a video, cut at the centre to the aspect ratio and shrunk, and how many there are a second.

    Returns:
        uint8 `(up to count, height, width, channels)`, and the rate after `frame_step`.

    Raises:
        OSError: the video cannot be read, or ends before `start`.
    """

    video, frames = _open(source), []
    rate = video.get(cv2.CAP_PROP_FPS)
    for number in range(start + (count - 1) * frame_step + 1):
        if not video.grab():
            break
        if number >= start and (number - start) % frame_step == 0:
            frames.append(_converted(video.retrieve()[1], shape))
    video.release()
    if not frames:
        raise OSError(f"{source} has no frames that decode{f' after frame {start}' if start else ''}.")
    return np.stack(frames), (rate if 1 <= rate <= 240 else 25) / frame_step


def _converted(frame, shape: tuple[int, int, int]):
    """A frame of OpenCV as a network's dataset has it, uint8 `(height, width, channels)`."""
    height, width, channels = shape
    request = {"height": height, "width": width, "channels": channels, "cut": "centre", "frame_size": None}
    return convert(frame, request).reshape(shape)


# --- live ------------------------------------------------------------------------------------------------------------


def live(clip, camera, model, steps: int, frames: int | None, follow: float, headless: bool, output: str | None, size):
    """Takes frames as they come and shows, beside each, what the network expects to see next."""
    if headless and output is None:
        raise ValueError("With --headless there is nothing to see but the file of --output. Pass one, such as out.mp4.")
    if output is not None:
        check_suffix(output, ".mp4")
    network = load(model)
    if not hasattr(network, "stream"):
        raise ValueError(f"A {type(network).__name__} takes no frame at a time. Use a FoldedRNN or a LadderRNN.")
    source = camera if clip is None else clip
    coming = _coming(source, follow)
    first = next(coming, None)
    if first is None:
        raise OSError(f"No frame comes from {source}.")
    shape = frame_shape(network, size, first.shape)
    stream = network.stream(shape)
    window = None if headless else _Window()
    count = 0
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(_video_writer(output)) if output else None
        # What is compiled with the first frames is not what a camera waits for.
        for _ in range(2):
            stream.update(_converted(first, shape))
            stream.forecast(steps)
        stream.reset()
        begun = reported = time.perf_counter()
        frame = first
        while frame is not None:
            now = _converted(frame, shape)
            stream.update(now)
            page = _live_page(now, stream.forecast(steps))
            count += 1
            if write:
                write(page)
            if window and not window.show(page):
                break
            if time.perf_counter() - reported > 1:
                reported = time.perf_counter()
                print(f"\r{count} frames, {count / (reported - begun):.1f} a second", end="", file=sys.stderr)
            if count == frames:
                break
            frame = next(coming, None)
        seconds = time.perf_counter() - begun
    print(f"\r{count} frames, {count / seconds:.1f} a second, each with a forecast of {steps}.", file=sys.stderr)
    if output:
        print(f"Written to {output}.")


def _coming(source: str | int, follow: float) -> Iterator:
    """The frames of a camera, or of a file that ends when it has not grown for `follow` seconds."""
    video, seen, last = _open(source), 0, None
    while True:
        more, frame = video.read()
        if not more and (isinstance(source, int) or not _grows(source, follow)):
            break
        if not more:
            # FFmpeg does not look again at the end of a file: it is opened again, and what was seen is left out. The
            # last frame is not: half of it may have been missing.
            video.release()
            video, last = _open(source), None
            for _ in range(seen):
                video.grab()
        elif follow:
            if last is not None:
                seen += 1
                yield last
            last = frame
        else:
            yield frame
    if last is not None:
        yield last


def _grows(path: str, seconds: float) -> bool:
    size, end = os.path.getsize(path), time.monotonic() + seconds
    while time.monotonic() < end:
        if os.path.getsize(path) != size:
            return True
        time.sleep(min(0.1, seconds))
    return False


def _live_page(now, future):
    """The last frame and three of the forecast beside each other, uint8 RGB `(height, width, 3)`."""
    steps = sorted({1, (len(future) + 1) // 2, len(future)})
    predicted = np.clip((future + 1) * 127.5, 0, 255).round().astype("uint8")
    tiles = [("now", now, (90, 90, 90))]
    tiles += [(f"+{step}", predicted[step - 1], (255, 176, 0)) for step in steps]
    scale = max(1, round(192 / now.shape[0]))
    height, width = now.shape[0] * scale, now.shape[1] * scale
    margin, header = 8, 32
    page = np.full((header + height + margin, margin + len(tiles) * (width + margin), 3), 255, "uint8")
    page = page[: page.shape[0] // 2 * 2, : page.shape[1] // 2 * 2]  # Video codecs want even sizes.
    for column, (name, frame, color) in enumerate(tiles):
        left = margin + column * (width + margin)
        large = cv2.resize(frame, (width, height), interpolation=cv2.INTER_NEAREST)
        large = large if large.ndim == 3 else large[..., None]
        page[header : header + height, left : left + width] = large
        cv2.rectangle(page, (left - 2, header - 2), (left + width + 1, header + height + 1), color, 2)
        cv2.putText(page, name, (left, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 1, cv2.LINE_AA)
    return page


@contextlib.contextmanager
def _video_writer(output: str):
    """A function that adds a picture, uint8 RGB, to a video; the file is there when the block ends."""

    writer = None
    with atomic_path(output) as temporary:

        def write(page):
            nonlocal writer
            if writer is None:
                writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), 25, page.shape[1::-1])
                if not writer.isOpened():
                    raise OSError(f"OpenCV cannot write a video to {output}.")
            writer.write(page[..., ::-1])

        interrupted = None
        try:
            yield write
        except KeyboardInterrupt as error:  # What was seen so far is kept.
            interrupted = error
        if writer is not None:
            writer.release()
    if interrupted:
        raise interrupted


class _Window:
    """A window of Matplotlib, which the package needs anyway; OpenCV's is not in its light build."""

    def __init__(self):
        from matplotlib import pyplot

        if pyplot.get_backend().lower() in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template"):
            raise OSError("There is no window here to show frames in. Pass --headless --output=out.mp4.")
        self._pyplot, self._image = pyplot, None

    def show(self, page) -> bool:
        """Shows a page; returns whether the window is still open."""
        if self._image is None:
            self.figure, axes = self._pyplot.subplots(num="keras-frnn live")
            axes.set_axis_off()
            self._image = axes.imshow(page)
        self._image.set_data(page)
        self._pyplot.pause(0.001)
        return self._pyplot.fignum_exists(self.figure.number)


# --- one's own videos ------------------------------------------------------------------------------------------------


def prepare(folder: str, output: str, size, grey: bool, test_fraction: float, accept_bad_videos: bool):
    """Decodes a folder of videos once, for training."""
    arguments = dict(size=size, color=not grey, test_fraction=test_fraction)
    bad = datasets.prepare_videos(folder, output, accept_bad_videos=accept_bad_videos, **arguments)
    for name, reason in sorted(bad.items()):
        print(f"accepted: {name!r}: {reason}")
    print(f"Written to {output}. Next: keras-frnn train {output}")


_TOPOLOGY = [("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)]
_STEPS_BETWEEN_SAVES = 500


def train(folder: str, output: str, steps: int, batch_size: int, context: int, horizon: int, width: float, rate: float):
    """Trains a network on prepared videos. With the file of an interrupted training, it goes on."""

    check_suffix(output, ".keras")

    def data(start: int):
        return datasets.video_folder(
            folder, "train", batch_size=batch_size, context=context, horizon=horizon, start=start
        )

    def save():
        with atomic_path(output) as temporary:
            network.save(temporary)

    def check_and_save(_, logs):
        if not math.isfinite(logs["loss"]):
            raise FloatingPointError(f"The loss became {logs['loss']}. Pass a smaller --rate.")
        save()

    data(0)  # What is wrong with it shows before a network is made.
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps, alpha=0.02)
    done = 0
    if os.path.exists(output):
        network = load(output, compile=True)
        done = int(network.optimizer.iterations) if getattr(network, "optimizer", None) else 0
        if not 0 < done < steps:
            what = f"which has had its {done:,} steps" if done else "which this command has not trained"
            raise ValueError(f"There is a network in {output}, {what}. Pass another --output, or more --steps.")
        network.optimizer.learning_rate = schedule
        print(f"Going on from step {done:,} of {steps:,}.")
    else:
        network = models.FoldedRNN.from_topology(models.scale_topology(_TOPOLOGY, width), horizon, update_bias=-2.0)
        network.compile(keras.optimizers.Adam(schedule, clipnorm=1.0), losses.FrameCrossentropy())
    callbacks = [keras.callbacks.TerminateOnNaN(), keras.callbacks.LambdaCallback(on_epoch_end=check_and_save)]
    try:
        while done < steps:
            count = min(_STEPS_BETWEEN_SAVES, steps - done)
            print(f"Steps {done + 1:,} to {done + count:,} of {steps:,}")
            network.fit(data(done), steps_per_epoch=count, shuffle=False, callbacks=callbacks)
            done += count
    except KeyboardInterrupt:
        if network.built and int(network.optimizer.iterations):
            save()
        sys.exit(f"\nInterrupted. {output} keeps what was learnt; the same command goes on.")
    print(f"Written to {output}. Next: keras-frnn evaluate {folder} --model={output}")


def evaluate(folder: str, model: str, sequences: int, horizon: int | None, output: str | None):
    """Scores a network on the test videos, beside copying the last frame."""
    if output is not None:
        check_suffix(output, ".csv")
    network = load(model)
    data = datasets.video_folder(
        folder,
        "test",
        batch_size=20,
        context=network.context_shape[1] or 10,
        horizon=horizon or network.horizon,
        sequences=sequences,
    )
    scores = evaluation.evaluate(network, data)
    print(scores.table())
    if output is not None:
        scores.save_csv(output)
        print(f"Written to {output}.")
