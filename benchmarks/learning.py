"""Trains a network on moving digits with a budget of arithmetic, scores it, and adds a row to a table.

    python benchmarks/learning.py --topology='[("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5)]' --tmac=1
    python benchmarks/learning.py ... --output=runs/long --tmac=100 --cooldown=0.2     continues after an interruption

The budget counts multiply-accumulates of forward passes (`evaluation.cost`), which do not depend on the machine.
Tests always have two digits, speed 0.05, 10 given and 10 predicted frames, test digits.
"""

import ast
import csv
import json
import math
import pathlib
import shlex
import sys
import time

import keras
import numpy as np
from absl import app, flags
from transfer import rebuilt

from keras_frnn import datasets, evaluation, layers, losses, models, optimizers
from keras_frnn.files import atomic_path

_TOPOLOGY = flags.DEFINE_string("topology", None, "A list as `FoldedRNN.from_topology` takes it.", required=True)
_TMAC = flags.DEFINE_float("tmac", 1, "Budget of training in 10^12 multiply-accumulates of forward passes.")
_MINUTES = flags.DEFINE_float("minutes", None, "Longest time to train; the learning rate falls accordingly.")
_SIZE = flags.DEFINE_integer("size", 32, "Side of the frames.")
_CONTEXT = flags.DEFINE_integer("context", 10, "Given frames in training.")
_HORIZON = flags.DEFINE_integer("horizon", 10, "Predicted frames in training.")
_DIGITS = flags.DEFINE_multi_integer("num_digits", [2], "Digits in training sequences; repeatable: batches take turns.")
_SPEEDS = flags.DEFINE_multi_float("speed", [0.05], "Speed in training; repeatable: batches take turns.")
_BATCH = flags.DEFINE_integer("batch_size", 2, "Sequences in a step.")
_LOSS = flags.DEFINE_enum("loss", "crossentropy", ["crossentropy", "mse", "mae"], "Loss.")
_DSSIM = flags.DEFINE_float("dssim", 0, "Weight of the structural dissimilarity that is added to the loss.")
_OPTIMIZER = flags.DEFINE_enum("optimizer", "adam", ["adam", "muon"], "Optimizer.")
_RATE = flags.DEFINE_float("rate", 2e-3, "Highest learning rate.")
_COOLDOWN = flags.DEFINE_float("cooldown", 1, "Last fraction of the budget, in which the rate falls as a cosine.")
_EMA = flags.DEFINE_float("ema", 0, "Momentum of the weights' exponential moving average; 0: none.")
_DTYPE = flags.DEFINE_string("dtype", "mixed_bfloat16", "Dtype policy of all layers but the lowest with weights.")
_GATE = flags.DEFINE_float("update_gate_bias", -2, "Initial bias of the update gates.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the initial weights and of the training sequences.")
_TEST = flags.DEFINE_integer("test_sequences", 200, "How many sequences to test on.")
_INITIAL = flags.DEFINE_multi_string(
    "initial",
    [],
    "A saved model to start from, with this topology, or with the same and fewer filters. Repeatable: start from the "
    "mean of their weights, for models of which each continued from the one before.",
)
_ON_DEVICE = flags.DEFINE_bool(
    "on_device", False, "With JAX, draw the sequences on the GPU; --minutes then counts from the second step on."
)
_TURNED = flags.DEFINE_integer("turned", 0, "With --on_device: how many rotated copies of each digit to add.")
_BLEND = flags.DEFINE_float("blend", 0, "With --on_device: fraction of the time until the loss is the squared error.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for checkpoints and pictures; none are written without.")
_TABLE = flags.DEFINE_string("table", "benchmarks/results/learning.csv", "Table to which a row is added.")

_WARM_UP_STEPS = 100
_STEPS_PER_EPOCH = 500


def make_model():
    keras.utils.set_random_seed(_SEED.value)
    stack = models.topologies.layers_from_topology(
        ast.literal_eval(_TOPOLOGY.value), layers.FoldedConvGRU, dtype=_DTYPE.value, update_bias=_GATE.value
    )
    # The lowest layer with weights outputs the pixels. In bfloat16, black would not be exactly black.
    lowest = next(index for index, layer in enumerate(stack) if hasattr(layer, "kernel_size"))
    for index in range(lowest + 1):
        stack[index] = type(stack[index]).from_config({**stack[index].get_config(), "dtype": "float32"})
    model = models.FoldedRNN(stack, _HORIZON.value, dtype="float32")
    model.build((None, _CONTEXT.value, _SIZE.value, _SIZE.value, 1))
    if _INITIAL.value:
        starts = []
        for path in _INITIAL.value:
            models.start_from(model, keras.saving.load_model(path, compile=False))
            starts.append(model.get_weights())
        model.set_weights([np.mean(weights, axis=0) for weights in zip(*starts, strict=True)])
    return model


def training_data(steps_done: int):
    kinds = [(number, speed) for number in _DIGITS.value for speed in _SPEEDS.value]
    parts = [
        datasets.moving_mnist(
            "train",
            digits="mnist-5k",
            size=_SIZE.value,
            num_digits=number,
            speed=speed,
            batch_size=_BATCH.value,
            context=_CONTEXT.value,
            horizon=_HORIZON.value,
            seed=_SEED.value + index,
            start=steps_done // len(kinds) * _BATCH.value,
        )
        for index, (number, speed) in enumerate(kinds)
    ]
    return (
        parts[0]
        if len(parts) == 1
        else type(parts[0]).choose_from_datasets(parts, type(parts[0]).range(len(parts)).repeat())
    )


@keras.saving.register_keras_serializable(package="benchmarks")
def loss(y_true, y_pred):
    of_pixels = {
        "crossentropy": losses.FrameCrossentropy,
        "mse": keras.losses.MeanSquaredError,
        "mae": keras.losses.MeanAbsoluteError,
    }
    pixels = of_pixels[_LOSS.value]()(y_true, y_pred)
    return pixels + _DSSIM.value * losses.DSSIM()(y_true, y_pred) if _DSSIM.value else pixels


def blended_loss(y_true, y_pred, spent):
    """The loss, which becomes the squared error in the course of the training; the part of DSSIM stays."""
    now = loss(y_true, y_pred)
    if not _BLEND.value:
        return now
    share = keras.ops.minimum(spent / _BLEND.value, 1)
    target = keras.losses.MeanSquaredError()(y_true, y_pred) + _DSSIM.value * losses.DSSIM()(y_true, y_pred)
    return (1 - share) * now + share * target


def train_on_device(model, output: pathlib.Path | None, gmac: float) -> float:
    """Trains for --minutes; returns the seconds that this took."""
    import on_device

    def log(progress: dict):
        print(progress, flush=True)
        if output is not None:
            progress["tmac"] = progress["step"] * _BATCH.value * gmac / 1e3
            with (output / "progress.jsonl").open("a") as file:
                file.write(json.dumps(progress, default=float) + "\n")

    kinds = [(number, speed) for number in _DIGITS.value for speed in _SPEEDS.value]
    draw = on_device.moving_digits(
        kinds, _BATCH.value, _CONTEXT.value, _HORIZON.value, _SIZE.value, _SEED.value, _TURNED.value
    )
    how_long = dict(rate=_RATE.value, minutes=_MINUTES.value, cooldown=_COOLDOWN.value)
    return on_device.train(model, blended_loss, *draw, **how_long, log=log, folder=output)["seconds"]


class Schedule(keras.callbacks.Callback):
    """Warm-up, a constant rate, then a cosine to zero, by the spent fraction of the budget or of the time."""

    def __init__(self, steps: int, seconds: float):
        super().__init__()
        self.steps, self.begun = steps, time.perf_counter() - seconds

    @property
    def left(self) -> float:
        left = 1 - int(self.model.optimizer.iterations) / self.steps
        if _MINUTES.value:
            left = min(left, 1 - (time.perf_counter() - self.begun) / 60 / _MINUTES.value)
        return max(left, 0.0)

    def on_train_batch_begin(self, batch, logs=None):
        left = self.left
        rate = _RATE.value * min(1, (int(self.model.optimizer.iterations) + 1) / _WARM_UP_STEPS)
        if left < _COOLDOWN.value:
            rate *= 0.01 + 0.99 * (1 - math.cos(math.pi * left / _COOLDOWN.value)) / 2
        self.model.optimizer.learning_rate.assign(rate)

    def on_train_batch_end(self, batch, logs=None):
        if not self.left:
            self.model.stop_training = True


class Checkpoint(keras.callbacks.Callback):
    """Saves the model atomically after each epoch and logs its progress."""

    def __init__(self, folder: pathlib.Path, gmac: float, seconds: float):
        super().__init__()
        self.folder, self.gmac, self.begun = folder, gmac, time.perf_counter() - seconds

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            sys.exit(f"The loss became {logs['loss']}.")
        with atomic_path(self.folder / "model.keras") as temporary:
            self.model.save(temporary)
        step = int(self.model.optimizer.iterations)
        progress = dict(
            step=step,
            tmac=step * _BATCH.value * self.gmac / 1e3,
            seconds=time.perf_counter() - self.begun,
            loss=float(logs["loss"]),
            rate=float(self.model.optimizer.learning_rate),
        )
        with (self.folder / "progress.jsonl").open("a") as file:
            file.write(json.dumps(progress) + "\n")


def main(argv):
    model, seconds = None, 0.0
    output = pathlib.Path(_OUTPUT.value) if _OUTPUT.value else None
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        if (output / "model.keras").exists():
            model = keras.saving.load_model(output / "model.keras")
            seconds = json.loads((output / "progress.jsonl").read_text().splitlines()[-1])["seconds"]
    if model is None:
        model = make_model()
        ema = dict(use_ema=True, ema_momentum=_EMA.value) if _EMA.value else {}
        if _OPTIMIZER.value == "muon":
            optimizer = optimizers.ConvMuon(_RATE.value, global_clipnorm=1.0, **ema)
        else:
            optimizer = keras.optimizers.Adam(_RATE.value, clipnorm=1.0, **ema)
        model.compile(optimizer, loss)
    cost = evaluation.cost(model, (_SIZE.value, _SIZE.value, 1), _CONTEXT.value, _HORIZON.value)
    gmac = cost.macs / 1e9
    steps = round(_TMAC.value * 1e3 / gmac / _BATCH.value)
    done = int(model.optimizer.iterations)
    print(f"{cost.weights:,} parameters, {gmac:.3f} GMAC per sequence, step {done} of {steps}", flush=True)
    begun = time.perf_counter()
    schedule = Schedule(steps, seconds)
    schedule.set_model(model)
    callbacks = [schedule, keras.callbacks.TerminateOnNaN()]
    if output is not None:
        callbacks.append(Checkpoint(output, gmac, seconds))
    per_epoch = min(_STEPS_PER_EPOCH, steps)
    while schedule.left and not _ON_DEVICE.value:
        count = min(per_epoch, steps - done)
        model.fit(
            training_data(done),
            steps_per_epoch=count if output is None or steps - done < per_epoch else per_epoch,
            epochs=1 if steps - done < per_epoch else (steps - done) // per_epoch,
            shuffle=False,
            callbacks=callbacks,
            verbose=2,
        )
        done = int(model.optimizer.iterations)
    if _ON_DEVICE.value:
        seconds = train_on_device(model, output, gmac)
        done = int(model.optimizer.iterations)
    else:
        seconds += time.perf_counter() - begun
    # With --ema, `fit` has replaced the weights by their averages at its end.
    tested = rebuilt(model, horizon=10)
    test = datasets.moving_mnist(
        "test", digits="mnist-5k", size=_SIZE.value, speed=0.05, batch_size=50, sequences=_TEST.value
    )
    scores = evaluation.evaluate(tested, test)
    row = {
        "command": shlex.join(["python", *argv_without_paths()]),
        "gmac_a_sequence": f"{gmac:.3f}",
        "tmac": f"{done * _BATCH.value * gmac / 1e3:.2f}",
        "steps": done,
        "weights": cost.weights,
    }
    for metric in ("mse", "dssim"):
        mine, copy = scores["model"][metric], scores["copy_last_frame"][metric]
        row |= {metric: f"{mine.mean():.4f}", f"{metric}_to_copy": f"{mine.mean() / copy.mean():.3f}"}
        row |= {f"{metric}_{step}": f"{mine[step - 1]:.4f}" for step in (1, 5, 10)}
    row |= {"seconds": round(seconds), "backend": keras.backend.backend(), "dtype": _DTYPE.value}
    table = pathlib.Path(_TABLE.value)
    is_new = not table.exists()
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if is_new:
            writer.writeheader()
        writer.writerow(row)
    print(row)
    if output is not None:
        context, future = (np.asarray(frames) for frames in next(iter(test)))
        evaluation.plot_strip(context[:1], future[:1], {"fRNN": tested.forecast(context[:1])}, output / "strip.png")
        with atomic_path(output / "averaged.keras") as temporary:
            tested.save(temporary)


def argv_without_paths():
    return [argument for argument in sys.argv if not argument.startswith(("--output", "--table"))]


if __name__ == "__main__":
    app.run(main)
