"""What the command `keras-frnn` does; its command line is keras_frnn_command.py, beside the package.

Each function is thin: from files to the functions of this package and back. What is wrong raises an error whose
message is for the user.
"""

import contextlib
import itertools
import json
import math
import pathlib
import time
from typing import Any

import cv2
import keras
import numpy as np

from keras_frnn import callbacks, datasets, evaluation, losses, models
from keras_frnn.checks import check_suffix
from keras_frnn.datasets.video_files.prepare import ending
from keras_frnn.evaluation.animation import mp4_writer
from keras_frnn.evaluation.display import window_pyplot
from keras_frnn.files import atomic_path
from keras_frnn.layers import layout
from keras_frnn.models.frames import to_uint8
from keras_frnn.models.strangers import check_keras_file
from keras_frnn.video_source import Video, resize

_NETWORKS = {
    "quick": [("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)],
    "small": models.scale_topology(models.PAPER_TOPOLOGY, 1 / 4),
    "paper": models.PAPER_TOPOLOGY,
}
_RATE = 10.0  # Frames a second, where a video does not tell.


def predict(
    clip: str,
    model: str,
    output: str,
    steps: int | None,
    context: int,
    start: int,
    frame_step: int,
    size: tuple[int, int] | None,
    rate: float | None,
):
    """Draws the truth beside the prediction, and the prediction alone beyond the clip's end."""
    suffix = check_suffix(output, ".mp4", ".gif", ".png")
    network, video = load_model(model), Video(clip)
    steps = steps or network.horizon
    frames = video.read(frame_shape(network, video.size, size), start, context + steps, frame_step)
    given, future, predicted = forecast(network, frames, context, steps)
    pictures = given[None], future[None] if len(future) else None, {"prediction": predicted[None]}
    if suffix == ".png":
        evaluation.plot_strip(*pictures, output, data_format="channels_last")
    else:
        rate = rate or (video.rate or _RATE) / frame_step
        evaluation.save_animation(*pictures, output, frame_rate=rate, data_format="channels_last")
    height, width, _ = frames.shape[1:]
    print(
        f"{output}: frames of {height}x{width}, {len(given)} given, {len(predicted)} predicted, {len(future)} of these "
        "beside the truth."
    )
    if len(future):
        print(score(future, predicted[: len(future)], given[-1]))


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
    """Takes frames as they come, draws what is forecast beside them, and tells how many a second there are."""
    if output is not None:
        check_suffix(output, ".mp4")
    network = load_model(model)
    if not hasattr(network, "stream"):
        raise ValueError(
            f"A {type(network).__name__} cannot take one frame at a time. Pass a FoldedRNN or a LadderRNN."
        )
    show = None if headless else _window()
    video, steps = Video(camera), steps or network.horizon
    shape = frame_shape(network, video.size, size)
    stream = network.stream(_as_model(network, np.empty(shape)).shape)
    # What is compiled with the first frames would be most of the time.
    warm_up = min(2 * every, frames or 2 * every)
    begun, seen, shown = time.perf_counter(), 0, time.perf_counter()
    with contextlib.ExitStack() as stack:
        write = stack.enter_context(mp4_writer(output, video.rate or _RATE)) if output else None
        predicted = None
        # Ctrl-C is how it is meant to end: what was written until then is kept.
        with contextlib.suppress(KeyboardInterrupt):
            for frame in itertools.islice(video.frames(follow), frames):
                seen_frame = resize(frame, shape)
                stream.update(_as_model(network, seen_frame))
                seen += 1
                if seen % every == 0:
                    predicted = _channels_last(network, stream.forecast(steps)[None])[0]
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
    return f"{frames / seconds:.1f} frames a second" if frames > 0 and seconds > 0 else "too few to time"


def live_page(frame: np.ndarray, predicted: np.ndarray | None, steps: int, height: int = 160) -> np.ndarray:
    """The frame of now, and up to four of those predicted, side by side: RGB uint8 `(height, width, 3)`.

    Args:
        frame: uint8 `(height, width, channels)`.
        predicted: float32 `(steps, height, width, channels)` in [-1, 1]; None where nothing is predicted yet.
        steps: how many are predicted.
        height: of the frames, in pixels; a multiple of their own.
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
        # Video codecs want even sizes.
        column = np.full((top + pixels.shape[0] + pixels.shape[0] % 2, pixels.shape[1] + 4, 3), 255, "uint8")
        column[top : top + pixels.shape[0], 2:-2] = pixels
        cv2.putText(column, name, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(column)
    page = np.concatenate(columns, axis=1)
    return page if page.shape[1] % 2 == 0 else np.pad(page, ((0, 0), (0, 1), (0, 0)), constant_values=255)


def _window():
    """A function that shows a page, and tells whether its window is still open."""
    pyplot = window_pyplot()
    if pyplot is None:
        raise OSError("There is no screen for a window. Pass --headless, with --output=out.mp4 to keep what is drawn.")
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


def prepare(
    folder: str,
    output: str,
    size: tuple[int, int],
    grey: bool,
    test_fraction: float,
    group: str | None,
    test: list[str] | None,
    accept_bad_videos: bool,
    workers: int | None,
):
    """Decodes the videos of a folder, see `datasets.prepare_videos`."""
    bad = datasets.prepare_videos(
        folder,
        output,
        size,
        color=not grey,
        test_fraction=test_fraction,
        group=group,
        test=test,
        accept_bad_videos=accept_bad_videos,
        workers=workers,
    )
    print(ending(bad, output))


def train(
    folder: str,
    output: str,
    network: str,
    steps: int,
    batch: int,
    context: int,
    horizon: int,
    frame_step: int,
    learning_rate: float,
    mirror: bool,
    save_every: int,
):
    """Trains a network on prepared videos, or goes on with that of `output`; saves it, and draws what it predicts."""
    check_suffix(output, ".keras")
    path = pathlib.Path(output)
    windows: dict[str, Any] = dict(context=context, horizon=horizon, frame_step=frame_step)
    if path.exists():
        model = _trained(path, horizon)
        done = int(keras.ops.convert_to_numpy(model.optimizer.iterations))
        print(f"{path} has {done} training steps; it goes on with its own network and optimizer.")
    else:
        model, done = models.FoldedRNN.from_topology(_NETWORKS[network], horizon, update_bias=-2.0), 0
        model.compile(keras.optimizers.Adam(learning_rate, clipnorm=1.0), losses.FrameCrossentropy())
    if done >= steps:
        raise ValueError(f"{path} is trained: it has {done} steps. For more, pass --steps={done + 1000}, for example.")
    test = datasets.video_folder(folder, "test", batch_size=4, **windows, sequences=4, format="keras")
    shown_context, shown_future = (keras.ops.convert_to_numpy(frames) for frames in next(iter(test)))
    pictures = path.with_name(f"{path.stem}-pictures")
    watching = [
        callbacks.ForecastPictures(shown_context, shown_future, pictures),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: _save(model, path)),
    ]
    # An epoch lies between saves; the last one may be shorter.
    for epochs, length in ((steps - done) // save_every, save_every), (1, (steps - done) % save_every):
        if epochs * length:
            # Each step's sequences are a function of its number: an interrupted training goes on with the next ones.
            data = datasets.video_folder(
                folder, "train", batch_size=batch, **windows, mirror=mirror, start=done * batch, format=_format()
            )
            before = math.ceil(done / save_every)
            model.fit(
                data,
                steps_per_epoch=length,
                initial_epoch=before,
                epochs=before + epochs,
                callbacks=watching,
            )
            done += epochs * length
    print(f"Written to {path}; pictures of {len(shown_context)} test sequences are in {pictures}.")


def _save(model: keras.Model, path: pathlib.Path):
    with atomic_path(path) as temporary:
        model.save(temporary)


def _trained(path: pathlib.Path, horizon: int) -> models.FoldedRNN:
    """A network that training goes on with, and its optimizer."""
    model = load_model(str(path), compile=True)
    if model.optimizer is None or model.horizon != horizon:
        found = "no optimizer" if model.optimizer is None else f"--horizon={model.horizon}"
        raise ValueError(
            f"{path} was not trained with these settings: it has {found}. Choose another --output, or delete that file."
        )
    return model


def _format() -> str:
    """Loading TensorFlow takes seconds, in which it writes of what it did not find."""
    return "tf" if keras.config.backend() == "tensorflow" else "keras"


def evaluate(
    folder: str,
    model: list[str] | None,
    context: int,
    horizon: int,
    frame_step: int,
    sequences: int | None,
    output: str | None,
):
    """Scores networks on the test videos, and the copy of the last given frame beside them."""
    if output is not None:
        check_suffix(output, ".csv")
    names = model or ["model.keras"]
    compared = {name: load_model(name) for name in names}
    windows: dict[str, Any] = dict(context=context, horizon=horizon, frame_step=frame_step, sequences=sequences)
    test = datasets.video_folder(folder, "test", batch_size=10, **windows, format="keras")
    scores = evaluation.evaluate(compared, test)
    print(scores.table())
    if output is not None:
        scores.save_csv(output)
        print(f"\nWritten to {output}.")


def app(model: str, port: int):
    """Serves a page to play with a network, on this machine alone, see `keras_frnn.app`."""
    from keras_frnn.app import launch

    launch(model, port)


def load_model(name: str, compile: bool = False) -> models.FoldedRNN:
    """A network of the package by its name, a .keras file, or a folder that has one of these or a preset.

    Args:
        name: which.
        compile: whether a .keras file's optimizer and loss come with it.

    Raises:
        ValueError: there is none, it does not load, or is no model of this package.
    """
    families = (models.FoldedRNN, models.LadderRNN)
    names = [preset for family in families for preset in family.presets]
    path = pathlib.Path(name)
    for family in families:
        if name in family.presets:
            return family.from_preset(name)
    if (path / "metadata.json").is_file():
        try:
            class_name = json.loads((path / "metadata.json").read_text())["class_name"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path / 'metadata.json'} is damaged ({error}).") from error
        family = next((family for family in families if family.__name__ == class_name), models.FoldedRNN)
        return family.from_preset(path)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise ValueError(
            f"There is no model {name!r}. Expected {', '.join(names)}, a .keras file, or a folder with model.keras or "
            "that `save_to_preset` wrote."
        )
    check_keras_file(path, (*families, models.ConvLSTMForecaster, models.CopyLastFrame))
    try:
        network = keras.saving.load_model(path, compile=compile)
    # What is wrong with a file shows in errors of zipfile, h5py and Keras.
    except Exception as error:
        raise ValueError(f"{path} is not a network that Keras loads: {str(error).strip().splitlines()[0]}") from error
    if not hasattr(network, "forecast") or not hasattr(network, "context_shape"):
        raise ValueError(f"{path} holds a {type(network).__name__}. Expected a trained network of keras_frnn.models.")
    return network


def frame_shape(model, video_size: tuple[int, int], size: tuple[int, int] | None = None) -> tuple[int, int, int]:
    """(height, width, channels) of the frames that a model is to see of a video.

    Args:
        model: the network.
        video_size: (height, width) of the video's frames.
        size: (height, width) to take in any case; by default what the model was built for, or, where it was built for
            frames of any size, the largest that fits it and the video.
    """
    *built, channels = layout.frame_size_and_channels(model.context_shape, _data_format(model))
    if channels not in (1, 3):
        raise ValueError(f"This model takes frames of {channels} channels. Videos have 1, grey, or 3, colour.")
    sides = []
    for axis in range(2):
        factor = math.prod(layer.factors[axis] for layer in getattr(model, "stack", ()))
        sides.append(built[axis] or max(video_size[axis] // factor, 1) * factor)
    height, width = size or sides
    return height, width, channels


def forecast(model, frames: np.ndarray, context: int, steps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What was given, what is known of the future, and what is predicted.

    Args:
        model: the network.
        frames: float32 `(time, height, width, channels)` in [-1, 1].
        context: how many frames are given; all, where there are no more.
        steps: how many are predicted.

    Returns:
        Three such arrays: `min(context, time)` frames, up to `steps`, `steps`.
    """
    given, future = frames[:context], frames[context : context + steps]
    predicted = _channels_last(model, model.forecast(_as_model(model, given)[None], steps))[0]
    return given, future, predicted


def score(future: np.ndarray, predicted: np.ndarray, last: np.ndarray) -> str:
    """A line with the mean squared error, of frames in [0, 1], and that of the last given frame."""
    errors = (float(np.square((future - frames) / 2).mean()) for frames in (predicted, last[None]))
    return "MSE {:.4f}; of the last given frame, copied: {:.4f}.".format(*errors)


def _data_format(model) -> str:
    return getattr(model, "data_format", None) or "channels_last"


def _as_model(model, frames: np.ndarray) -> np.ndarray:
    return np.moveaxis(frames, -1, -3) if _data_format(model) == "channels_first" else frames


def _channels_last(model, frames: np.ndarray) -> np.ndarray:
    return np.moveaxis(frames, -3, -1) if _data_format(model) == "channels_first" else frames
