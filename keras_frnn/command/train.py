"""`keras-frnn train`: trains a network on prepared videos, with the engine of the recipes."""

import contextlib
import dataclasses
import math
import pathlib
from collections.abc import Iterable

import keras

from keras_frnn import callbacks, models
from keras_frnn.command.before_keras import (
    FINE_TUNING_RATE,
    TRAINING,
    WINDOWS,
    pictures_folder,
    run_folder,
    training_settings,
)
from keras_frnn.command.networks import load_model, verdict_by_step
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.evaluation.scores import OPTICAL_FLOW
from keras_frnn.experiments import training
from keras_frnn.experiments.data import identity_of_data, test_data, validation_data
from keras_frnn.experiments.devices import Place
from keras_frnn.experiments.experiment import (
    Experiment,
    Network,
    Testing,
    Training,
    Videos,
    VideoWindows,
    flat,
    replace,
)
from keras_frnn.experiments.run_folder import RunFolder, stored_experiment
from keras_frnn.experiments.validation import squared_errors
from keras_frnn.files import held
from keras_frnn.machine import machine
from keras_frnn.models.layer_stack import LayerStack
from keras_frnn.models.strangers import check_keras_file
from keras_frnn.models.topologies import topology_of
from keras_frnn.models.video_predictor import VideoPredictor
from keras_frnn.topology import PAPER_TOPOLOGY, scale_topology

NETWORKS = {
    "quick": [("motion",), ("patch", 4), ("minimal", 64, 5), ("pool", 2), ("recurrent", 64, 3)],
    "small": [("motion",), ("patch", 2), *scale_topology(PAPER_TOPOLOGY, 1 / 4)[3:]],
    "paper": PAPER_TOPOLOGY,
}
_SCORED, _SHOWN = 40, 4  # Test sequences that a trained network is scored on, and that are drawn.
_VALIDATED = 20  # Sequences of held-out training videos.


def train(folder: str, output: str, steps: int, save_every: int, **flags):
    """Trains a network on prepared videos; saves the best one and draws its predictions.

    If `output` exists, its training continues, and a flag that is None keeps its value from there.

    Args:
        folder: the prepared videos.
        output: the network's file.
        steps: training steps in total.
        save_every: steps between checkpoints.
        **flags: those of `before_keras.TRAINING`.
    """
    path = pathlib.Path(output)
    settings, record = training_settings(path, steps, flags)
    source = None
    if not record:
        source, start = _start(folder, flags["network"], flags["initial"])
        settings |= start
        if source and flags["learning_rate"] is None:
            settings["learning_rate"] = FINE_TUNING_RATE
    experiment = _experiment(folder, settings, source, steps, save_every)
    if record:
        check_keras_file(path, (models.FoldedRNN, models.LadderRNN))
        now = {name: flat(experiment)[name] for name in ("data", "learning_rate", "iterations", "checkpoint_every")}
        experiment = replace(stored_experiment(record["settings"], experiment), **now)
    else:
        experiment = _with_validation(experiment)
    data = identity_of_data(experiment)
    if record:
        _check_begun(path, record, settings | {"folder": folder, "data": data})
    else:
        shape = (None, settings["context"], *open_store(folder, "train", "h5py").frame_shape)
        with contextlib.redirect_stdout(None):  # Faults of the network show before anything is written.
            training.make_model(experiment, shape)
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
        model, trained = run.trained()
    step = trained.get("network_of", trained["iteration"])
    print(f"Written to {path}, as of step {step}; pictures of {len(shown)} test sequences are in {pictures}.")
    print(_scored(model, test))


def _start(folder: str, network: str | None, initial: str | None) -> tuple[LayerStack | None, dict[str, str]]:
    """The network to start from, and the names of it and of the network to train."""
    if initial is None and network in (None, "initial"):
        source = load_model(preset := str(TRAINING["initial"]))
        if network or _suits(source, folder):
            return source, {"network": "initial", "initial": preset}
    if initial in (None, "none"):
        return None, {"network": network or "quick", "initial": "none"}
    return load_model(initial), {"network": network or "initial", "initial": initial}


def _experiment(folder: str, settings: dict, source: LayerStack | None, steps: int, save_every: int) -> Experiment:
    network = Network(kernel_initializer="GlorotUniform", topology=())
    if source and settings["network"] == "initial":
        network = replace(network, model=type(source).__name__, topology=tuple(topology_of(source.stack)))
    elif settings["network"] in NETWORKS:
        network = replace(network, topology=tuple(NETWORKS[settings["network"]]))
    if network.model == "FoldedRNN":
        network = replace(network, update_bias=-2.0, decoder_update_bias=-5.0)
    return Experiment(
        title="fRNN",
        network=network,
        training=Training(
            loss=settings["loss"],
            optimizer="Adam",
            learning_rate=settings["learning_rate"],
            decay="cosine",
            warm_up=max(1, steps // 10),
            clipnorm=1.0,
            iterations=steps,
            batch_size=settings["batch"],
            seed=settings["seed"],
            initial_weights=None if source is None else settings["initial"],
            freeze=settings["freeze"] or None,
            checkpoint_every=save_every,
        ),
        source=Videos(data=folder, mirror=settings["mirror"]),
        windows=VideoWindows(**{name: settings[name] for name in WINDOWS}),
        testing=Testing(test_sequences=_SCORED),
    )


def _with_validation(experiment: Experiment) -> Experiment:
    """The experiment with validation, if there are videos to hold out."""
    validated = replace(experiment, validation=_VALIDATED)
    try:
        validation_data(validated)
    except ValueError as error:
        print(f"There is no validation, so the last network is kept, not the best. {error}")
        return experiment
    return validated


def _suits(network: LayerStack, folder: str) -> bool:
    """Whether a network takes frames of the size of prepared videos."""
    size = open_store(folder, "train", "h5py").frame_shape[:2]
    factors = [math.prod(layer.downsampling[axis] for layer in network.stack) for axis in range(2)]
    return not any(side % factor for side, factor in zip(size, factors, strict=True))


def _scored(model: LayerStack, test: Iterable) -> str:
    """The verdict on test sequences. Frames can be smaller than 11x11, the least for SSIM in `evaluation.evaluate`."""
    networks: dict[str, VideoPredictor] = {"network": model}
    if min(model.context_shape[2:4]) >= models.OpticalFlow.smallest:
        networks[OPTICAL_FLOW] = models.OpticalFlow(1, "channels_last")
    errors = squared_errors(networks, test)
    means = {name: by_sequence.mean(0) for name, by_sequence in errors.items()}
    return f"Over {len(errors['network'])} test sequences: {verdict_by_step(means)}"


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
