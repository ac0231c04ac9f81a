"""`keras-frnn train`: trains a network on prepared videos."""

import json
import math
import pathlib
import zipfile
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_frnn import callbacks, datasets, losses, models
from keras_frnn.checks import check_suffix
from keras_frnn.command.before_keras import RECORD, WINDOWS, pictures_folder, training_settings
from keras_frnn.command.networks import load_model, mean_squared_error, verdict
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.datasets.windows import SPLITS
from keras_frnn.evaluation.scores import checked_batches
from keras_frnn.files import atomic_path

_NETWORKS = {
    "quick": [("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)],
    "small": models.scale_topology(models.PAPER_TOPOLOGY, 1 / 4),
    "paper": models.PAPER_TOPOLOGY,
}
_SCORED = 40  # Test sequences that a trained network is scored on.


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
    """Trains a network on prepared videos; saves it and draws its predictions.

    If `output` exists, its training continues, and a flag that is None keeps its value from there.
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
        # Videos are stored with channels last, whatever the user's keras.json says.
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
        # This one comes first: it ends the training if the forecast has NaNs, so such a network is not saved.
        callbacks.ForecastPictures(shown_context, shown_future, pictures),
        keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: _save(model, path, settings)),
    ]
    # There is a save after each epoch; the last epoch may be shorter.
    for epochs, length in ((steps - done) // save_every, save_every), (1, (steps - done) % save_every):
        if epochs * length:
            # The sequences of a step depend on its number alone, so a resumed training takes the next ones.
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
    """The verdict on test sequences. Frames can be smaller than 11x11, the least for SSIM in `evaluation.evaluate`."""
    sequences, sums = 0, np.zeros(2)
    for context, future in checked_batches(test):
        sequences += len(future)
        for index, frames in enumerate((model.forecast(context, future.shape[1]), context[:, -1:])):
            sums[index] += len(future) * mean_squared_error(future, frames)
    return f"Over {sequences} test sequences: {verdict(*sums / sequences)}"


def _begun(path: pathlib.Path, record: dict, settings: dict) -> models.FoldedRNN:
    """The network whose training continues, with its optimizer.

    Raises:
        ValueError: it was trained on other data, or it does not load.
    """
    before, now = record["settings"], settings
    if before.get("data") != now["data"]:
        raise ValueError(
            f"{path} was trained on other videos: {_described(before)}. Received: {_described(now)}. Choose another "
            "--output for these."
        )
    model = load_model(str(path), compile=True)
    if model.optimizer is None:
        raise ValueError(f"{path} has no optimizer, so its training cannot continue. Choose another --output.")
    line = f"{path} has {record['iteration']} training steps; it continues with its own network and optimizer."
    if before["learning_rate"] != now["learning_rate"]:
        model.optimizer.learning_rate = now["learning_rate"]
        line += f" The learning rate was {before['learning_rate']:g} and is {now['learning_rate']:g} from here on."
    print(line)
    return model


def _described(settings: dict) -> str:
    """The videos of a training, by what users recognize: folder, counts and frame size."""
    try:
        parts = [
            f"{split} {one['videos']} videos, {one['frames']} frames" + _shape_of(one)
            for split, one in settings["data"].items()
        ]
        return f"{settings['folder']} ({'; '.join(parts)}; digest {settings['data']['train']['digest']})"
    except (AttributeError, KeyError, TypeError) as error:  # A damaged record.
        return f"videos that its record does not describe ({error!r})"


def _shape_of(identity: dict) -> str:
    form = identity["format"]
    return f" of {form['height']}x{form['width']}x{form['channels']}" if form else ""


def _save(model: keras.Model, path: pathlib.Path, settings: dict):
    """Saves a network together with the record of its training so far."""
    record = {"settings": settings, "iteration": int(keras.ops.convert_to_numpy(model.optimizer.iterations))}
    with atomic_path(path) as temporary:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(RECORD, json.dumps(record))
