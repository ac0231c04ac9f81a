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
import zipfile
from collections.abc import Iterable
from typing import Any

import cv2
import keras
import numpy as np

from keras_frnn import callbacks, datasets, evaluation, losses, models
from keras_frnn.before_keras import (
    RECORD,
    WINDOWS,
    TrainedOn,
    find_model,
    flag,
    forecast_windows,
    pictures_folder,
    trained_on,
    training_settings,
)
from keras_frnn.checks import check_suffix
from keras_frnn.datasets.video_files.prepare import ending
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.datasets.windows import SPLITS
from keras_frnn.evaluation.animation import mp4_writer
from keras_frnn.evaluation.display import window_pyplot
from keras_frnn.evaluation.scores import COPY_LAST_FRAME, checked_batches
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
_GREY = 3.0  # Mean difference of a grey video's red, green and blue, of 255, at most: its codec has it in colour.
_SCORED = 40  # Test sequences that a trained network is scored on.


def predict(
    clip: str,
    model: str,
    output: str,
    steps: int | None,
    context: int | None,
    start: int,
    frame_step: int | None,
    size: tuple[int, int] | None,
    rate: float | None,
):
    """Draws the truth beside the prediction, and the prediction alone beyond the clip's end."""
    suffix = check_suffix(output, ".mp4", ".gif", ".png")
    trained = trained_on(find_model(model))
    windows = forecast_windows([trained], context=context, frame_step=frame_step)
    context, frame_step = windows["context"], windows["frame_step"]
    network, video = load_model(model), Video(clip)
    _print_misfit(model, trained, network, clip, next(video.frames()), frame_step)
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
    network, trained = load_model(model), trained_on(find_model(model))
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
                if not seen:
                    _print_misfit(model, trained, network, camera, frame)
                seen_frame = resize(frame, shape, video.pixel_aspect)
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
        column = np.full((top + pixels.shape[0], pixels.shape[1] + 4, 3), 255, "uint8")
        column[top:, 2:-2] = pixels
        cv2.putText(column, name, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        columns.append(column)
    return np.concatenate(columns, axis=1)


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
    rate: float | None,
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
        rate=rate,
        accept_bad_videos=accept_bad_videos,
        workers=workers,
    )
    print(ending(bad, folder, output))


def train(
    folder: str,
    output: str,
    network: str | None,
    steps: int,
    batch: int | None,
    context: int | None,
    horizon: int | None,
    frame_step: int | None,
    learning_rate: float | None,
    mirror: bool | None,
    save_every: int,
):
    """Trains a network on prepared videos, or goes on with that of `output`; saves it, and draws what it predicts.

    A flag that is None is as it was when the network was begun.
    """
    check_suffix(output, ".keras")
    path = pathlib.Path(output)
    flags = dict(network=network, batch=batch, context=context, horizon=horizon, frame_step=frame_step)
    settings, record = training_settings(path, steps, flags | dict(learning_rate=learning_rate, mirror=mirror))
    stores = {split: open_store(folder, split, "h5py") for split in SPLITS}
    settings |= {
        "command": "train",
        "seed": 0,
        "folder": folder,
        "data": {split: store.identity() for split, store in stores.items()},
    }
    if record:
        model, done = _begun(path, record, settings), record["iteration"]
    else:
        # As the videos are stored, whatever the user's keras.json says.
        model = models.FoldedRNN.from_topology(
            _NETWORKS[settings["network"]], settings["horizon"], update_bias=-2.0, data_format="channels_last"
        )
        done = 0
        model.compile(keras.optimizers.Adam(settings["learning_rate"], clipnorm=1.0), losses.FrameCrossentropy())
    windows: dict[str, Any] = {name: settings[name] for name in WINDOWS}
    test = datasets.video_folder(folder, "test", batch_size=4, **windows, sequences=_SCORED, format="keras")
    shown_context, shown_future = (keras.ops.convert_to_numpy(frames) for frames in next(iter(test)))
    pictures = pictures_folder(path)
    watching = [
        # First, since it ends the training where the network forecasts NaNs: these are not saved.
        callbacks.ForecastPictures(shown_context, shown_future, pictures),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: _save(model, path, settings)),
    ]
    # An epoch lies between saves; the last one may be shorter.
    for epochs, length in ((steps - done) // save_every, save_every), (1, (steps - done) % save_every):
        if epochs * length:
            # Each step's sequences are a function of its number: an interrupted training goes on with the next ones.
            data = datasets.video_folder(
                folder,
                "train",
                batch_size=settings["batch"],
                **windows,
                mirror=settings["mirror"],
                seed=settings["seed"],
                start=done * settings["batch"],
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
    print(_scored(model, test))


def _scored(model: models.FoldedRNN, test: Iterable) -> str:
    """The verdict on test sequences. Unlike `evaluation.evaluate`, it takes frames of any size: SSIM does not."""
    sequences, sums = 0, np.zeros(2)
    for context, future in checked_batches(test):
        sequences += len(future)
        for index, frames in enumerate((model.forecast(context, future.shape[1]), context[:, -1:])):
            sums[index] += len(future) * _mean_squared_error(future, frames)
    return f"Over {sequences} test sequences: {verdict(*sums / sequences)}"


def _begun(path: pathlib.Path, record: dict, settings: dict) -> models.FoldedRNN:
    """The network that training goes on with, and its optimizer.

    Raises:
        ValueError: it was trained on other data, or does not load.
    """
    before, now = record["settings"], settings
    if before.get("data") != now["data"]:
        raise ValueError(
            f"{path} was trained on other videos: {_described(before)}. Received: {_described(now)}. Choose another "
            "--output for these."
        )
    model = load_model(str(path), compile=True)
    if model.optimizer is None:
        raise ValueError(f"{path} has no optimizer, so no training can go on with it. Choose another --output.")
    line = f"{path} has {record['iteration']} training steps; it goes on with its own network and optimizer."
    if before["learning_rate"] != now["learning_rate"]:
        model.optimizer.learning_rate = now["learning_rate"]
        line += f" The learning rate was {before['learning_rate']:g}, and is {now['learning_rate']:g} from here."
    print(line)
    return model


def _described(settings: dict) -> str:
    """The videos of a training, by what is easy to recognise."""
    try:
        parts = [
            f"{split} {one['videos']} videos, {one['frames']} frames" + _shape_of(one)
            for split, one in settings["data"].items()
        ]
        return f"{settings['folder']} ({'; '.join(parts)}; digest {settings['data']['train']['digest']})"
    except (AttributeError, KeyError, TypeError) as error:  # A damaged record.
        return f"what its record does not tell ({error!r})"


def _shape_of(identity: dict) -> str:
    form = identity["format"]
    return f" of {form['height']}x{form['width']}x{form['channels']}" if form else ""


def _save(model: keras.Model, path: pathlib.Path, settings: dict):
    """Saves a network with its record, which says how it was trained so far."""
    record = {"settings": settings, "iteration": int(keras.ops.convert_to_numpy(model.optimizer.iterations))}
    with atomic_path(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(RECORD, json.dumps(record))


def evaluate(
    folder: str,
    model: list[str] | None,
    context: int | None,
    horizon: int | None,
    frame_step: int | None,
    sequences: int | None,
    output: str | None,
):
    """Scores networks on the test videos, and the copy of the last given frame beside them."""
    if output is not None:
        check_suffix(output, ".csv")
    names = model or ["model.keras"]
    compared = {name: load_model(name) for name in names}
    trained = {name: trained_on(find_model(name)) for name in names}
    given = dict(context=context, horizon=horizon, frame_step=frame_step)
    windows: dict[str, Any] = forecast_windows(trained.values(), **given)
    test = datasets.video_folder(folder, "test", batch_size=10, **windows, sequences=sequences, format="keras")
    for name in names:
        _print_other_data(name, trained[name], folder, windows)
    scores = evaluation.evaluate(compared, test)
    print(scores.table())
    copied = scores[COPY_LAST_FRAME]["mse"].mean()
    print()
    for name in names:
        print(f"{name}: {verdict(scores[name]['mse'].mean(), copied)}")
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
    path = find_model(name)
    if path.is_dir():
        try:
            class_name = json.loads((path / "metadata.json").read_text())["class_name"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path / 'metadata.json'} is damaged ({error}).") from error
        family = next((family for family in families if family.__name__ == class_name), models.FoldedRNN)
        return family.from_preset(path)
    check_keras_file(path, (*families, models.ConvLSTMForecaster, models.CopyLastFrame))
    try:
        return keras.saving.load_model(path, compile=compile)
    # What is wrong with a file shows in errors of zipfile, h5py and Keras.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path} is not a network that Keras loads: {lines[0]}") from error


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
        factor = math.prod(layer.downsampling[axis] for layer in getattr(model, "stack", ()))
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
    return verdict(*(_mean_squared_error(future, frames) for frames in (predicted, last[None])))


def _mean_squared_error(future: np.ndarray, frames: np.ndarray) -> float:
    """Of frames in [0, 1], though both are given in [-1, 1]."""
    return float(np.square((future - frames) / 2).mean())


def verdict(error: float, copied: float) -> str:
    """A line with the mean squared errors of a forecast and of the last given frame, and which is better."""
    better = "better than" if error < copied else "worse than" if error > copied else "no better than"
    return f"MSE {error:.4f}; of the last given frame, copied: {copied:.4f}. The forecast is {better} that copy."


def _print_misfit(
    name: str, trained: TrainedOn, network, source: str, frame: np.ndarray, frame_step: int | None = None
):
    """A line where a network was trained on something else than a video.

    Args:
        name: of the network.
        trained: what it was trained on.
        network: itself.
        source: name of the video.
        frame: of the video, BGR uint8 `(height, width, 3)`.
        frame_step: of the frames that it sees.
    """
    *size, channels = layout.frame_size_and_channels(network.context_shape, _data_format(network))
    is_colour = np.abs(np.diff(frame.astype("int"), axis=-1)).mean() > _GREY
    found = [
        f" of {frame.shape[0]}x{frame.shape[1]}" if trained.digits and [*size] != [*frame.shape[:2]] else "",
        " in colour" if is_colour and channels == 1 else " in grey" if not is_colour and channels == 3 else "",
    ]
    if trained.data and any(found):
        about = [trained.data, *[f"{size[0]}x{size[1]}"] * (None not in size), "grey" if channels == 1 else "in colour"]
        print(
            f"{name} was trained on {', '.join(about)}; {source} has frames{''.join(found)}. For a network of your own "
            "videos, see `keras-frnn prepare --help` and `keras-frnn train --help`."
        )
    step = trained.windows.get("frame_step", frame_step)
    if frame_step is not None and step != frame_step:
        print(f"{name} was trained with --frame-step={step}. Received: --frame-step={frame_step}")


def _print_other_data(name: str, trained: TrainedOn, folder: str, windows: dict[str, int]):
    """Lines where a network was trained on other videos, or in other windows, than those of a prepared folder."""
    if trained.data and _is_prepared_elsewhere(trained, folder):
        print(f"{name} was trained on other data than {folder}: {trained.data}.")
    other = {key: value for key, value in trained.windows.items() if value != windows[key]}
    if other:
        print(f"{name} was trained with {', '.join(flag(*one) for one in other.items())}.")


def _is_prepared_elsewhere(trained: TrainedOn, folder: str) -> bool:
    """Whether the videos for training in a folder are others than a network's. Where there are none, they are."""
    try:
        return trained.videos != open_store(folder, "train", "h5py").identity()
    except (OSError, ValueError):
        return True


def _data_format(model) -> str:
    return getattr(model, "data_format", None) or "channels_last"


def _as_model(model, frames: np.ndarray) -> np.ndarray:
    return np.moveaxis(frames, -1, -3) if _data_format(model) == "channels_first" else frames


def _channels_last(model, frames: np.ndarray) -> np.ndarray:
    return np.moveaxis(frames, -3, -1) if _data_format(model) == "channels_first" else frames
