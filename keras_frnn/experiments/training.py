"""The stage train: from the newest good checkpoint, or from the beginning, to the last iteration."""

import contextlib
import dataclasses
import math
import pathlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from absl import logging

from keras_frnn import layers, losses, models, optimizers
from keras_frnn.experiments.data import fits, identity_of_data, train_data
from keras_frnn.experiments.devices import Place
from keras_frnn.experiments.experiment import Experiment, Training, phases
from keras_frnn.experiments.run_folder import RunError, RunFolder, load, record_of
from keras_frnn.experiments.validation import Validation, shown
from keras_frnn.experiments.worker_processes import in_processes
from keras_frnn.hub import is_on_hub
from keras_frnn.models.load_network import load_network
from keras_frnn.models.presets import BUILT_IN

_LOSSES = {"mae": "MeanAbsoluteError", "mse": "MeanSquaredError"}


def train(
    experiment: Experiment,
    folder: RunFolder,
    place: Place,
    start: Sequence[RunFolder] = (),
    callbacks: Sequence[keras.callbacks.Callback] = (),
):
    """Trains from the newest good checkpoint, or from the beginning, to the last iteration; leaves model.keras.

    Args:
        experiment: what to train.
        folder: the run's folder, claimed.
        place: the devices.
        start: runs whose mean weights to start from; by default, new weights or those of `initial_weights`.
        callbacks: called as Keras does, with an epoch from each checkpoint to the next.
    """
    iterations = sum(phase.training.iterations for phase, _ in phases(experiment)) or experiment.training.iterations
    if folder.model.exists():
        try:
            _, record = load(folder.model, compile=False)
            if record["iteration"] >= iterations:
                print(f"{folder.model} has had its {record['iteration']:,} iterations.")
                return
        except ValueError as error:
            logging.warning("%s It is made again from the newest checkpoint.", error)
    if experiment.phases:
        _train_in_phases(experiment, folder, place)
        return
    with place.scope():
        _train(experiment, folder, place, start, callbacks)


def _train_in_phases(experiment: Experiment, folder: RunFolder, place: Place):
    """Each phase is a run of its own, in a folder of its own. The last one's network is the run's."""
    done: list[RunFolder] = []
    steps = phases(experiment)
    for number, (phase, average) in enumerate(steps, start=1):
        print(f"Phase {number} of {len(steps)}:", flush=True)
        part = RunFolder(folder.path / f"phase-{number}")
        part.claim(folder.settings | {"experiment": dataclasses.asdict(phase), "data": identity_of_data(phase)})
        train(phase, part, place, start=done[-average:])
        done.append(part)
    with place.scope():
        model, _ = load(done[-1].model, compile=False)
        records = [record_of(part.model) for part in done]
        iterations, seconds = (sum(record[key] for record in records) for key in ("iteration", "seconds"))
        place.alone(folder.save_trained, model, iterations, seconds)


def _train(experiment: Experiment, folder: RunFolder, place: Place, start: Sequence[RunFolder], callbacks):
    model, done, seconds = None, 0, 0.0
    iterations = experiment.training.iterations
    if found := folder.newest():
        model, record = found
        if model.optimizer is None:
            raise RunError(f"The network in {folder.model} has no optimizer, so its training cannot go on.")
        done, seconds = record["iteration"], record["seconds"]
        if not place.process:
            print(f"Going on from iteration {done:,} of {iterations:,}.", flush=True)
        model.optimizer.learning_rate = _rate(experiment.training)  # It may be another one now.
    data = train_data(experiment, done, place)
    if model is None:
        context, _ = next(iter(data))
        model = make_model(experiment, context.shape, start)
    place.prepare(model)
    validation = None if experiment.training.validation is None else Validation(experiment)
    if validation and place.processes > 1:
        # On JAX, no process can forecast alone.
        validation = None
        if not place.process:
            print("Several processes share the training, so there is no validation, and the last network is kept.")
            folder.best.unlink(missing_ok=True)
    checkpoints = Checkpoints(folder, experiment, done, seconds, place, callbacks, validation)
    if done < iterations:
        with checkpoints.stopped_by_signals(), in_processes(data, experiment.training.workers) as data:
            steps = iterations - done
            model.fit(data, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0, callbacks=[checkpoints])
    elif done:
        model.optimizer.finalize_variable_values(model.trainable_variables)  # As `fit` does at its end.
    if not place.process:
        place.alone(folder.save_trained, model, max(done, iterations), checkpoints.seconds)


class Checkpoints(keras.callbacks.Callback):
    """Saves every `checkpoint_every` iterations and on a signal; ends the run if the loss is not finite."""

    def __init__(
        self,
        folder: RunFolder,
        experiment: Experiment,
        done: int,
        seconds: float,
        place: Place,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        validation: Validation | None = None,
    ):
        super().__init__()
        self.place, self.validation = place, validation
        self.callbacks = keras.callbacks.CallbackList(list(callbacks))
        self.folder, self.training, self.iteration = folder, experiment.training, done
        self.saved, self.seconds = done, seconds
        self.signal: int | None = None

    def on_train_begin(self, logs=None):
        self.callbacks.set_model(self.model)
        self.callbacks.on_train_begin()
        if self.validation and not self.iteration:
            # Training may make it worse, as in a few steps on a network that starts as a copy of the last frame.
            score = self.validation.score(self.model)
            self.folder.keep_if_best(self.model, 0, 0.0, score)
            print(f"Before training: {shown(score)}", flush=True)
        self.since = time.perf_counter()

    def on_train_end(self, logs=None):
        self.callbacks.on_train_end()

    def on_train_batch_end(self, batch, logs=None):
        self.iteration += 1
        loss = float(logs["loss"])  # The mean since the last checkpoint.
        if not np.isfinite(loss):
            raise FloatingPointError(f"The loss became {loss} in iteration {self.iteration}. {self._last_good()}")
        last = self.iteration == self.training.iterations
        if last or self.signal or self.iteration % self.training.checkpoint_every == 0:
            self.callbacks.on_epoch_end(math.ceil(self.iteration / self.training.checkpoint_every) - 1, logs)
            if not self.place.process:
                self._save(loss)
            self.model.reset_metrics()
        if self.signal and not last:
            print(f"Stopped in iteration {self.iteration:,}. The same command goes on from there.", file=sys.stderr)
            sys.exit(128 + self.signal)

    def _save(self, loss: float):
        now = time.perf_counter()
        self.seconds, spent, self.since = self.seconds + now - self.since, now - self.since, now
        try:
            model = self.model  # On JAX, this fetches the weights, from all processes.
            score = self.validation.score(model) if self.validation else None
            self.place.alone(self.folder.save_checkpoint, model, self.iteration, self.seconds, score)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} {self._last_good()}") from error
        print(
            f"iteration {self.iteration:,} of {self.training.iterations:,}: loss {loss:.4g}, "
            f"{spent / (self.iteration - self.saved):.3g} s each" + ("" if score is None else f"; {shown(score)}"),
            flush=True,
        )
        self.saved = self.iteration

    def _last_good(self) -> str:
        newest = next(iter(self.folder.checkpoints()), None)
        return f"The last good checkpoint is {newest}." if newest else "There is no checkpoint yet."

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """The first SIGTERM or SIGINT ends training after the current step; a second one at once.

        Several processes all end at once: they would get the signal in different steps, and no step works without all.
        """
        if self.place.processes > 1:
            yield
            return

        def stop(number, frame):
            self.signal = number
            signal.signal(number, signal.SIG_DFL)

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def make_model(experiment: Experiment, context_shape, start: Sequence[RunFolder] = ()) -> keras.Model:
    """The compiled network before training, its weights by the seed or from other runs, see `train`."""
    network, training = experiment.network, experiment.training
    keras.utils.set_random_seed(training.seed)
    initializer = _named(network.kernel_initializer, "kernel_initializer", layers, keras.initializers)
    biases = dict(update_bias=network.update_bias, decoder_update_bias=network.decoder_update_bias)
    options: dict[str, Any] = {name: value for name, value in biases.items() if value is not None}
    if network.remat:
        options["remat"] = True
    with fits("model", experiment):
        model = getattr(models, network.model).from_topology(
            network.topology,
            experiment.windows.horizon,
            kernel_initializer=initializer(),
            data_format="channels_last",  # As frames are stored, whatever the user's keras.json says.
            dtype=network.precision,
            **options,
        )
    if network.precision == "mixed_bfloat16":
        model = in_float32(model, lowest_only=True)  # In bfloat16, black would not be exactly black.
    model.build((None, *context_shape[1:]))
    if start:
        _start_from(model, [str(run.path) for run in start])
    elif training.initial_weights:
        _start_from(model, [training.initial_weights])
    _freeze(model, training.freeze or 0)
    averaging = {} if training.ema is None else {"use_ema": True, "ema_momentum": training.ema}
    optimizer = _named(training.optimizer, "optimizer", optimizers, keras.optimizers)
    loss = _named(_LOSSES.get(training.loss, training.loss), "loss", losses, keras.losses)()
    if training.dssim:
        loss = losses.PlusDSSIM(loss, training.dssim, data_format="channels_last")
    clipping = dict(clipnorm=training.clipnorm, global_clipnorm=training.global_clipnorm)
    model.compile(optimizer(_rate(training), **clipping, **averaging), loss)
    return model


def _rate(training: Training):
    """The learning rate, or its schedule."""
    if not (training.decay or training.warm_up):
        return training.learning_rate
    cooldown = training.cooldown if training.decay else 0.0
    return optimizers.WarmUpAndCosine(training.learning_rate, training.iterations, training.warm_up or 0, cooldown)


def in_float32(model: keras.Model, lowest_only: bool = False, **changes) -> keras.Model:
    """A network with the same weights whose layers compute in float32: all, or those up to the lowest kernel.

    Args:
        model: a network of folded layers; if it is not built, the other one is not, either.
        lowest_only: whether the layers above keep their precision.
        **changes: to the network's configuration, such as `horizon`.
    """
    config = model.get_config() | {"dtype": "float32"} | changes
    for layer in config["layers"]:
        layer["config"]["dtype"] = "float32"
        if lowest_only and "kernel_size" in layer["config"]:
            break
    twin = type(model).from_config(config)
    if model.built:
        twin.build(model.context_shape)
        twin.set_weights(model.get_weights())
    return twin


def _named(name: str, flag: str, *modules):
    found = next((getattr(module, name) for module in modules if hasattr(module, name)), None)
    if not isinstance(found, type):
        raise ValueError(
            f"--{flag} must be the name of a class in {' or '.join(m.__name__ for m in modules)}: {name!r}"
        )
    return found


def _start_from(model: keras.Model, names: list[str]):
    """Sets the weights to the mean of those that the network has after starting from each of some others."""
    weights = []
    for name in names:
        try:
            report = models.start_from(model, _trained(name))
        except ValueError as error:
            raise RunError(f"Training cannot start from {name}. {error}") from error
        weights.append(model.get_weights())
    model.set_weights([np.mean(values, axis=0) for values in zip(*weights, strict=True)])
    print(" ".join([f"Starting from the weights of {' and '.join(names)}.", *report]), flush=True)


def _trained(name: str) -> keras.Model:
    """The network of a preset, a run, or a file."""
    path = BUILT_IN / name
    if not (path / "metadata.json").is_file():
        path = pathlib.Path(name)
    if is_on_hub(name):
        return load_network(name)
    if path.suffix == ".keras" or (path / "metadata.json").is_file():
        return load_network(path)
    try:
        return RunFolder(path).trained()[0]
    except RunError as error:
        names = ", ".join(sorted({*models.FoldedRNN.presets, *models.LadderRNN.presets}))
        raise RunError(f"{error} The presets are {names}.") from error


def _freeze(model: keras.Model, count: int):
    """Keeps the weights of the lowest layers as they are."""
    if count >= len(model.stack):
        raise RunError(f"Freezing must leave layers to train: the network has {len(model.stack)}. Received: {count}")
    for layer in model.stack[:count]:
        layer.trainable = False
