"""`keras-frnn train`: trains a network on prepared videos, with the engine of the recipes."""

import dataclasses
import pathlib
from collections.abc import Iterable

import keras
import numpy as np

from keras_frnn import callbacks, models
from keras_frnn.command.before_keras import WINDOWS, pictures_folder, run_folder, training_settings
from keras_frnn.command.networks import mean_squared_error, verdict
from keras_frnn.evaluation.scores import checked_batches
from keras_frnn.experiments import training
from keras_frnn.experiments.data import identity_of_data, test_data
from keras_frnn.experiments.devices import Place
from keras_frnn.experiments.experiment import Experiment, Network, Testing, Training, Videos, VideoWindows
from keras_frnn.experiments.run_folder import RunFolder
from keras_frnn.files import held
from keras_frnn.machine import machine
from keras_frnn.models.strangers import check_keras_file
from keras_frnn.topology import PAPER_TOPOLOGY, scale_topology

_NETWORKS = {
    "quick": [("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)],
    "small": scale_topology(PAPER_TOPOLOGY, 1 / 4),
    "paper": PAPER_TOPOLOGY,
}
_SCORED, _SHOWN = 40, 4  # Test sequences that a trained network is scored on, and that are drawn.


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
    path = pathlib.Path(output)
    flags = dict(network=network, batch=batch, context=context, horizon=horizon, frame_step=frame_step)
    settings, record = training_settings(path, steps, flags | dict(learning_rate=learning_rate, mirror=mirror))
    experiment = Experiment(
        title="fRNN",
        network=Network(
            topology=tuple(_NETWORKS[settings["network"]]), kernel_initializer="GlorotUniform", update_bias=-2.0
        ),
        training=Training(
            loss="FrameCrossentropy",
            optimizer="Adam",
            learning_rate=settings["learning_rate"],
            clipnorm=1.0,
            iterations=steps,
            batch_size=settings["batch"],
            checkpoint_every=save_every,
        ),
        source=Videos(data=folder, mirror=settings["mirror"]),
        windows=VideoWindows(**{name: settings[name] for name in WINDOWS}),
        testing=Testing(test_sequences=_SCORED),
    )
    data = identity_of_data(experiment)
    if record:
        check_keras_file(path, (models.FoldedRNN,))
        _check_begun(path, record, settings | {"folder": folder, "data": data})
    run, pictures = RunFolder(run_folder(path), output=path), pictures_folder(path)
    busy = BlockingIOError(f"Another process is training {path}. Wait for it, or choose another --output.")
    with held(run.path, busy):
        settings |= {"command": "train", "folder": folder, "data": data, "machine": machine()}
        run.claim(settings | {"experiment": dataclasses.asdict(experiment)})
        test = test_data(experiment)
        shown, truth = (keras.ops.convert_to_numpy(frames[:_SHOWN]) for frames in next(iter(test)))
        # Drawing ends the training if a forecast has NaNs, so such a network is not saved.
        drawing = callbacks.ForecastPictures(shown, truth, pictures)
        training.train(experiment, run, Place(), callbacks=[drawing])
        model, _ = run.trained()
    print(f"Written to {path}; pictures of {len(shown)} test sequences are in {pictures}.")
    print(_scored(model, test))


def _scored(model: models.FoldedRNN, test: Iterable) -> str:
    """The verdict on test sequences. Frames can be smaller than 11x11, the least for SSIM in `evaluation.evaluate`."""
    sequences, sums = 0, np.zeros(2)
    for context, future in checked_batches(test):
        sequences += len(future)
        for index, frames in enumerate((model.forecast(context, future.shape[1]), context[:, -1:])):
            sums[index] += len(future) * mean_squared_error(future, frames)
    return f"Over {sequences} test sequences: {verdict(*sums / sequences)}"


def _check_begun(path: pathlib.Path, record: dict, now: dict):
    """Says with what the training continues.

    Raises:
        ValueError: it was on other data.
    """
    before = record["settings"]
    if before.get("data") != now["data"]:
        raise ValueError(
            f"{path} was trained on other videos: {_described(before)}. Received: {_described(now)}. Choose another "
            "--output for these."
        )
    line = f"{path} has {record['iteration']} training steps; it continues with its own network and optimizer."
    if before["learning_rate"] != now["learning_rate"]:
        line += f" The learning rate was {before['learning_rate']:g} and is {now['learning_rate']:g} from here on."
    print(line)


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
