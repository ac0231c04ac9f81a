"""The stage train: from the newest good checkpoint, or from the beginning, to the last iteration."""

import contextlib
import pathlib
import signal
import sys
import time
from collections.abc import Iterator

import keras
import numpy as np
from absl import logging
from devices import Place
from experiment_data import fits, train_data
from run_folder import RunError, RunFolder, load
from stages import Experiment

from keras_frnn import layers, losses, models, optimizers


def train(experiment: Experiment, folder: RunFolder, place: Place):
    """Trains from the newest good checkpoint, or from the beginning, to the last iteration; leaves model.keras."""
    if folder.model.exists():
        try:
            load(folder.model, compile=False)
            print(f"{folder.model} has had its {experiment.iterations:,} iterations.")
            return
        except ValueError as error:
            logging.warning("%s It is made again from the newest checkpoint.", error)
    with place.scope():
        _train(experiment, folder, place)


def _train(experiment: Experiment, folder: RunFolder, place: Place):
    model, done, seconds = None, 0, 0.0
    if found := folder.newest():
        model, record = found
        done, seconds = record["iteration"], record["seconds"]
        if not place.process:
            print(f"Going on from iteration {done:,} of {experiment.iterations:,}.", flush=True)
    data = train_data(experiment, done, place)
    if model is None:
        context, _ = next(iter(data))
        model = make_model(experiment, context.shape)
    place.prepare(model)
    checkpoints = Checkpoints(folder, experiment, done, seconds, place)
    if done < experiment.iterations:
        with checkpoints.stopped_by_signals():
            steps = experiment.iterations - done
            model.fit(data, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0, callbacks=[checkpoints])
    else:
        model.optimizer.finalize_variable_values(model.trainable_variables)  # As `fit` does in its end.
    if not place.process:
        place.alone(folder.save_trained, model, experiment.iterations, checkpoints.seconds)


class Checkpoints(keras.callbacks.Callback):
    """Saves every so many iterations and when a signal comes; ends the run where the loss is not finite."""

    def __init__(self, folder: RunFolder, experiment: Experiment, done: int, seconds: float, place: Place):
        super().__init__()
        self.place = place
        self.folder, self.experiment, self.iteration = folder, experiment, done
        self.saved, self.seconds = done, seconds
        self.signal: int | None = None

    def on_train_begin(self, logs=None):
        self.since = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self.iteration += 1
        loss = float(logs["loss"])  # The mean since the last checkpoint.
        if not np.isfinite(loss):
            raise FloatingPointError(f"The loss became {loss} in iteration {self.iteration}. {self._last_good()}")
        last = self.iteration == self.experiment.iterations
        if last or self.signal or self.iteration % self.experiment.checkpoint_every == 0:
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
            model = self.model  # On JAX, this is what fetches the weights, from all processes.
            self.place.alone(self.folder.save_checkpoint, model, self.iteration, self.seconds)
        except FloatingPointError as error:
            raise FloatingPointError(f"{error} {self._last_good()}") from error
        print(
            f"iteration {self.iteration:,} of {self.experiment.iterations:,}: loss {loss:.4g}, "
            f"{spent / (self.iteration - self.saved):.3g} s each",
            flush=True,
        )
        self.saved = self.iteration

    def _last_good(self) -> str:
        newest = next(iter(self.folder.checkpoints()), None)
        return f"The last good checkpoint is {newest}." if newest else "There is no checkpoint yet."

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        """The first SIGTERM or SIGINT ends training after the step it came in; a second one at once.

        Several processes end at once: no two of them would get the signal in the same step, and they need each other.
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


def make_model(experiment: Experiment, context_shape) -> keras.Model:
    """The compiled network before training, its weights by the seed or from another run."""
    keras.utils.set_random_seed(experiment.seed)
    initializer = _named(experiment.kernel_initializer, "kernel_initializer", layers, keras.initializers)
    with fits("model", experiment):
        model = getattr(models, experiment.model).from_topology(
            experiment.topology,
            experiment.windows["horizon"],
            kernel_initializer=initializer(),
            dtype=experiment.precision,
            **experiment.options,
        )
    model.build((None, *context_shape[1:]))
    if experiment.initial_weights:
        _start_from(model, experiment)
    rate = experiment.learning_rate
    if experiment.decay == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, experiment.iterations, alpha=0.02)
    averaging = {} if experiment.ema is None else {"use_ema": True, "ema_momentum": experiment.ema}
    optimizer = _named(experiment.optimizer, "optimizer", optimizers, keras.optimizers)
    loss = losses.FrameCrossentropy() if experiment.loss == "FrameCrossentropy" else experiment.loss
    model.compile(optimizer(rate, clipnorm=experiment.clipnorm, **averaging), loss)
    return model


def _named(name: str, flag: str, *modules):
    found = next((getattr(module, name) for module in modules if hasattr(module, name)), None)
    if not isinstance(found, type):
        raise ValueError(
            f"--{flag} must be the name of a class in {' or '.join(m.__name__ for m in modules)}: {name!r}"
        )
    return found


def _start_from(model: keras.Model, experiment: Experiment):
    """Copies the weights of another run, whose network must be the same."""
    path = pathlib.Path(experiment.initial_weights)
    source, record = load(path, compile=False) if path.suffix == ".keras" else RunFolder(path).trained()
    shapes = [[tuple(weight.shape) for weight in network.weights] for network in (model, source)]
    theirs = record["settings"]["experiment"]
    if type(source) is not type(model) or shapes[0] != shapes[1]:
        raise RunError(
            "--initial_weights must be of the same network on frames of as many channels. Expected: "
            f"{experiment.model}, {_shown(experiment.topology)}, {model.context_shape[-1]} channel(s). Received: "
            f"{path} with {theirs['model']}, {_shown(theirs['topology'])}, {source.context_shape[-1]} channel(s)"
        )
    model.set_weights(source.get_weights())
    print(f"Starting from the weights of {path}.")


def _shown(topology) -> str:
    return " ".join(f"{entry[0]}({', '.join(map(str, entry[1:]))})" for entry in topology)
