"""What all recipes share: train, going on where an interrupted run stopped; score; draw; write results.json."""

import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Callable

import keras
import numpy as np

from keras_frnn import evaluation, metrics
from keras_frnn.evaluation.machine import machine
from keras_frnn.files import atomic_path


@dataclasses.dataclass(frozen=True)
class Training:
    """How a preset trains: optimizer steps in all, steps an epoch (a checkpoint and a line of progress each), loss."""

    steps: int
    steps_per_epoch: int
    batch_size: int
    loss: str
    optimizer: Callable[[], keras.optimizers.Optimizer]


def run(
    make_model: Callable[[], keras.Model],
    training: Training,
    train_data: Callable[[int], object],
    test_data: object,
    settings: dict,
    output: pathlib.Path,
) -> evaluation.Scores:
    """Trains a model and leaves its weights, scores and pictures in the folder `output`.

    Args:
        make_model: returns the untrained model.
        training: see `Training`.
        train_data: makes the endless training dataset, given the number of optimizer steps that are done.
        test_data: dataset of `(context, future)` batches that ends.
        settings: what defines the run; a folder goes on with the settings that it was begun with, or not at all.
        output: folder; made if there is none. An interrupted run goes on from its last epoch.
    """
    _claim(output, settings)
    model = _train(make_model, training, train_data, output)
    print("\nScoring the test sequences ...", flush=True)
    scores = evaluation.evaluate(model, test_data)
    print(f"\n{scores.table()}\n")
    black = _black_frame_mse(test_data)
    result, copy = (float(np.mean(scores[name]["mse"])) for name in ("model", "copy_last_frame"))
    print(f"Test MSE   model {result:.4f}   copy of the last frame {copy:.4f}   all-black frames {black:.4f}")
    print(f"The model's is {result / min(copy, black):.2f} of the better of the two others.\n")

    scores.save_csv(output / "scores.csv")
    context, future = (keras.ops.convert_to_numpy(frames)[:4] for frames in next(iter(test_data)))
    predictions = {"prediction": model.forecast(context, future.shape[1])}
    evaluation.plot_curves(scores, output / "curves.png")
    evaluation.plot_strip(context, future, predictions, output / "strip.png")
    evaluation.save_animation(context, future, predictions, output / "animation.gif")
    _write_json(
        output / "results.json",
        {
            "settings": settings,
            "weights": model.count_params(),
            "training_seconds": round(json.loads((output / "progress.json").read_text())["seconds"], 1),
            "test_sequences": scores.sequences,
            "test_mse": {"model": result, "copy_last_frame": copy, "black_frame": black},
            "ratio_to_better_baseline": result / min(copy, black),
            "per_step": {n: {m: v.tolist() for m, v in of.items()} for n, of in scores.values.items()},
            "machine": machine(),
        },
    )
    files = ["results.json", "scores.csv", "curves.png", "strip.png", "animation.gif", "model.keras"]
    print(f"Written to {output}/: {', '.join(files)}")
    return scores


def _claim(output: pathlib.Path, settings: dict):
    """Begins the run in a folder, or makes sure that the run in the folder is the same."""
    path = output / "settings.json"
    if path.exists():
        begun = json.loads(path.read_text())
        if begun != json.loads(json.dumps(settings)):
            sys.exit(
                f"{output} holds a run with other settings. Expected: {settings}. Found: {begun}. "
                "Choose another folder with --output, or delete this one."
            )
    elif output.exists() and any(output.iterdir()):
        sys.exit(f"{output} is not empty and holds no run of a recipe. Choose another folder with --output.")
    else:
        _write_json(path, settings)


def _train(make_model, training: Training, train_data, output: pathlib.Path) -> keras.Model:
    path = output / "model.keras"
    if path.exists():
        model = keras.saving.load_model(path)
    else:
        model = make_model()
        model.compile(training.optimizer(), training.loss)
    # The optimizer counts the steps and is saved with the model, so the two cannot disagree.
    done = int(model.optimizer.iterations)
    if done >= training.steps:
        print(f"{path} has had its {done} steps.")
        return model
    if done:
        print(f"Going on from step {done} of {training.steps}.")
    epochs = -(-training.steps // training.steps_per_epoch)
    try:
        model.fit(
            train_data(done),
            initial_epoch=done // training.steps_per_epoch,
            epochs=epochs,
            steps_per_epoch=training.steps_per_epoch,
            shuffle=False,  # The order is the dataset's.
            callbacks=[keras.callbacks.TerminateOnNaN(), _Checkpoint(output)],
        )
    except KeyboardInterrupt:
        sys.exit(f"\nInterrupted. The same command goes on from the last epoch in {output}.")
    return model


class _Checkpoint(keras.callbacks.Callback):
    """Saves the model and the time spent after each epoch; a crash while saving leaves the last checkpoint whole."""

    def __init__(self, output: pathlib.Path):
        super().__init__()
        self.output = output
        self.progress = output / "progress.json"

    def on_train_begin(self, logs=None):
        before = json.loads(self.progress.read_text())["seconds"] if self.progress.exists() else 0
        self.begun = time.perf_counter() - before

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            sys.exit(f"The loss became {logs['loss']}. The last good checkpoint is in {self.output}.")
        with atomic_path(self.output / "model.keras") as temporary:
            self.model.save(temporary)
        _write_json(self.progress, {"epochs": epoch + 1, "seconds": time.perf_counter() - self.begun})


def _black_frame_mse(test_data) -> float:
    """MSE of predicting black, the trivial answer that a model on dark videos must beat."""
    futures = (keras.ops.convert_to_numpy(future) for _, future in test_data)
    errors = [keras.ops.convert_to_numpy(metrics.mse(future, -np.ones_like(future))) for future in futures]
    return float(np.concatenate(errors).mean())


def _write_json(path: pathlib.Path, content: dict):
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
