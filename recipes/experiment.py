"""What all recipes share: presets; training that goes on where it was interrupted; scores, pictures, results.json."""

import dataclasses
import json
import pathlib
import sys
import time
import zipfile
from collections.abc import Callable

import keras
import numpy as np
from absl import flags, logging

from keras_frnn import datasets, evaluation, layers, metrics, models
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine
from keras_frnn.models.layer_stack import LayerStack

TITLES = {models.FoldedRNN: "fRNN", models.LadderRNN: "RLadder"}


@dataclasses.dataclass(frozen=True)
class Preset:
    """A network and how it is trained: optimizer steps in all, and in an epoch (a checkpoint, a line of progress)."""

    topology: tuple
    kernel_initializer: type[keras.initializers.Initializer]
    steps: int
    steps_per_epoch: int
    loss: str
    optimizer: Callable[[], keras.optimizers.Optimizer]


def _adam(learning_rate: float, steps: int):
    schedule = keras.optimizers.schedules.CosineDecay(learning_rate, steps, alpha=0.02)
    return lambda: keras.optimizers.Adam(schedule, clipnorm=1.0)


PRESETS = {
    # As published, to the letter.
    "paper": Preset(
        topology=models.PAPER_TOPOLOGY,
        kernel_initializer=layers.ScaledOrthogonal,
        steps=500_000,
        steps_per_epoch=1_000,
        loss="mae",
        optimizer=lambda: keras.optimizers.RMSprop(1e-4),
    ),
    # A quarter of the width. Under L1, narrow networks predict black for very long; under L2 they do not.
    "small": Preset(
        topology=tuple(models.scale_topology(models.PAPER_TOPOLOGY, 1 / 4)),
        kernel_initializer=keras.initializers.GlorotUniform,
        steps=20_000,
        steps_per_epoch=500,
        loss="mse",
        optimizer=_adam(1e-3, 20_000),
    ),
    # Minutes on two CPU cores.
    "quick": Preset(
        topology=(("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)),
        kernel_initializer=keras.initializers.GlorotUniform,
        steps=600,
        steps_per_epoch=60,
        loss="mse",
        optimizer=_adam(3e-3, 600),
    ),
}

_PRESET = flags.DEFINE_enum("preset", "quick", list(PRESETS), "Size of the network, its training and its data.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder for everything that the run writes; runs/RECIPE-PRESET.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the initial weights and of the training sequences.")
_TEST_ARRAY = flags.DEFINE_string("test_array", None, "Path of mnist_test_seq.npy, the public test sequences.")

_DATA = flags.DEFINE_string(
    "data", None, "Folder of the prepared videos; data/kth or data/ucf101, or where there is one."
)

MOVING_MNIST = {
    "paper": dict(digits="mnist", size=64, test_sequences=10_000),
    "small": dict(digits="mnist", size=64, test_sequences=1_000),
    # Digits that are inside the package, and slow ones, whose motion is learnt in minutes.
    "quick": dict(digits="mnist-5k", size=32, speed=0.05, test_sequences=200),
}
# Windows to test on; None for all.
VIDEO_TEST_SEQUENCES = {"paper": None, "small": 1_000, "quick": 100}


def moving_mnist(argv: list[str], recipe: str, family: type[LayerStack], batch_size: dict[str, int]):
    """Runs a recipe on Moving MNIST, as its flags say.

    Args:
        argv: what is left of the command line after the flags.
        recipe: its name, that of its file.
        family: class of the network.
        batch_size: by preset.
    """
    _refuse(argv, data=_DATA.value)
    name, seed = _PRESET.value, _SEED.value
    batch, data = batch_size[name], dict(MOVING_MNIST[name])
    test_sequences = data.pop("test_sequences")
    test_data = datasets.moving_mnist(
        "test", **data, batch_size=50, sequences=test_sequences, path=_TEST_ARRAY.value or None
    )
    _run_as_flags_say(
        recipe,
        family,
        batch,
        lambda steps: datasets.moving_mnist("train", **data, batch_size=batch, seed=seed, start=steps * batch),
        test_data,
        dataset="moving_mnist",
        published=name != "quick",
    )


def videos(
    argv: list[str],
    recipe: str,
    family: type[LayerStack],
    batch_size: dict[str, int],
    dataset: Callable,
    first_steps: str,
    **training,
):
    """Runs a recipe on prepared videos, as its flags say.

    Args:
        argv: what is left of the command line after the flags.
        recipe: its name, that of its file.
        family: class of the network.
        batch_size: by preset.
        dataset: `datasets.kth`, `datasets.ucf101` or `datasets.video_folder`.
        first_steps: what to do where there are no prepared videos.
        **training: more arguments of the dataset, for training.
    """
    _refuse(argv, test_array=_TEST_ARRAY.value)
    flags.FLAGS.set_default("verbosity", logging.INFO)  # Which windows there are, and by which protocol.
    name, seed = _PRESET.value, _SEED.value
    batch, data = batch_size[name], pathlib.Path(_DATA.value or f"data/{dataset.__name__}")
    try:
        test_data = dataset(data, "test", batch_size=batch, sequences=VIDEO_TEST_SEQUENCES[name])
        dataset(data, "train", **training)
    except FileNotFoundError as error:
        sys.exit(f"{error}\n\n{first_steps}")
    except ValueError as error:
        sys.exit(str(error))
    _run_as_flags_say(
        recipe,
        family,
        batch,
        lambda steps: dataset(data, "train", batch_size=batch, seed=seed, start=steps * batch, **training),
        test_data,
        dataset=dataset.__name__,
        published=name != "quick",
        **training,
    )


def _refuse(argv: list[str], **flags_of_others):
    """Ends with an error where the command line holds what would be ignored."""
    ignored = argv[1:] + [f"--{name}={value}" for name, value in flags_of_others.items() if value]
    if ignored:
        sys.exit(f"{argv[0]} does not know {' '.join(ignored)}. See {argv[0]} --help.")


def _run_as_flags_say(recipe, family, batch_size, train_data, test_data, dataset, published, **settings):
    name = _PRESET.value
    run(
        family,
        PRESETS[name],
        train_data,
        test_data,
        settings=dict(recipe=recipe, dataset=dataset, preset=name, seed=_SEED.value, batch_size=batch_size, **settings),
        output=pathlib.Path(_OUTPUT.value or f"runs/{recipe}-{name}"),
        published=dataset if published and dataset != "video_folder" else None,
    )


def run(
    family: type[LayerStack],
    preset: Preset,
    train_data: Callable[[int], object],
    test_data: object,
    settings: dict,
    output: pathlib.Path,
    horizon: int = 10,
    published: str | None = None,
) -> evaluation.Scores:
    """Trains a network and leaves its weights, scores and pictures in a folder.

    Args:
        family: class of the network, `FoldedRNN` or `LadderRNN`.
        preset: see `Preset`.
        train_data: makes the endless training dataset, given the number of optimizer steps that are done.
        test_data: dataset of `(context, future)` batches that ends.
        settings: what defines the run; a folder goes on with the settings that it was begun with, or not at all.
        output: folder; made if there is none. An interrupted run goes on from its last epoch. Finished runs beside it,
            on the same dataset with the same preset, are scored and drawn together with this one.
        horizon: number of frames to predict.
        published: dataset whose published scores to print below.

    Returns:
        The scores of this network and of those beside it, by their titles, `"fRNN"` and `"RLadder"`.
    """
    _claim(output, settings)

    def make_model():
        keras.utils.set_random_seed(settings["seed"])
        initializer = preset.kernel_initializer()
        return family.from_topology(preset.topology, horizon, kernel_initializer=initializer)

    title = TITLES[family]
    model = _train(make_model, preset, train_data, output)
    compared = {title: model, **_finished_beside(output, settings)}
    print(f"\nScoring {', '.join(compared)} on the test sequences ...", flush=True)
    scores = evaluation.evaluate(compared, test_data)
    print(f"\n{scores.table(published)}\n")
    mse = {name: float(np.mean(values["mse"])) for name, values in scores.values.items()}
    mse["black_frame"] = _black_frame_mse(test_data)
    ratio = mse[title] / min(mse["copy_last_frame"], mse["black_frame"])
    print("Test MSE: " + ", ".join(f"{name} {value:.4f}" for name, value in mse.items()))
    print(f"{title}'s is {ratio:.2f} of the better of copying the last frame and predicting black.\n")

    scores.save_csv(output / "scores.csv")
    _draw(compared, scores, test_data, output)
    with atomic_path(output / "scores.md") as temporary:
        temporary.write_text(scores.markdown(published))
    _write_json(
        output / "results.json",
        {
            "settings": settings,
            "title": title,
            "weights": model.count_params(),
            "training_seconds": round(_seconds(output / "progress.json"), 1),
            "test_mse": mse,
            "ratio_to_better_baseline": ratio,
            "scores": scores.to_dict(),
            "machine": machine(),
        },
    )
    print(f"Written to {output}/: {', '.join(sorted(path.name for path in output.iterdir()))}")
    return scores


def _draw(compared: dict, scores: evaluation.Scores, test_data, output: pathlib.Path):
    evaluation.plot_curves(scores, output / "curves.png")
    context, future = (keras.ops.convert_to_numpy(frames) for frames in next(iter(test_data)))
    # The whole batch, because that is what the models are compiled for by now.
    predictions = {
        name: model.forecast(context, future.shape[1], batch_size=len(context))[:4] for name, model in compared.items()
    }
    context, future = context[:4], future[:4]
    evaluation.plot_strip(context, future, predictions, output / "strip.png")
    evaluation.save_animation(context, future, predictions, output / "animation.gif")
    evaluation.save_samples(compared, test_data, output / "samples", count=5)
    model = next(iter(compared.values()))
    if isinstance(model, models.FoldedRNN):
        removal = evaluation.layer_removal(model, test_data, output / "layer_removal.png")
        removal.save_csv(output / "layer_removal.csv")


def _finished_beside(output: pathlib.Path, settings: dict) -> dict[str, keras.Model]:
    """Networks of finished runs in the neighbouring folders that had the same data."""
    found = {}
    for path in sorted(output.resolve().parent.glob("*/results.json")):
        if path.parent == output.resolve():
            continue
        try:
            results = _read_json(path)
            theirs = results.get("settings")
            if not isinstance(theirs, dict) or "recipe" not in theirs or "title" not in results:
                continue  # Another program's.
            same_data = all(theirs.get(key) == settings[key] for key in ("dataset", "preset", "seed"))
            if same_data and theirs["recipe"] != settings["recipe"]:
                found[results["title"]] = _load_model(path.with_name("model.keras"), compile=False)
        except ValueError as error:
            logging.warning("%s Not compared with it.", error)
    return found


def _read_json(path: pathlib.Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: it holds no JSON object.")
    return content


def _load_model(path: pathlib.Path, **kwargs) -> keras.Model:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        if damaged:
            raise ValueError(f"wrong checksum of {damaged}")
        return keras.saving.load_model(path, **kwargs)
    # Damage shows in errors of zipfile, zlib, json, h5py and Keras.
    except Exception as error:
        raise ValueError(f"{path} is damaged or missing: {error}.") from error


def _seconds(progress: pathlib.Path) -> float:
    """Of training so far."""
    try:
        return float(_read_json(progress)["seconds"])
    except (KeyError, TypeError, ValueError):
        sys.exit(f"{progress} does not say how long training took. Delete {progress.parent} to begin the run anew.")


def _claim(output: pathlib.Path, settings: dict):
    """Begins the run in a folder, or makes sure that the run in the folder is the same."""
    path = output / "settings.json"
    if path.exists():
        try:
            begun = _read_json(path)
        except ValueError as error:
            sys.exit(f"{error} Delete {output} to begin the run anew.")
        if begun != settings:
            sys.exit(
                f"{output} holds a run with other settings. Expected: {settings}. Found: {begun}. "
                "Choose another folder with --output, or delete this one."
            )
    elif output.exists() and any(output.iterdir()):
        sys.exit(f"{output} is not empty and holds no run of a recipe. Choose another folder with --output.")
    else:
        _write_json(path, settings)


def _train(make_model, preset: Preset, train_data, output: pathlib.Path) -> keras.Model:
    path = output / "model.keras"
    if path.exists():
        try:
            model = _load_model(path)
        except ValueError as error:
            sys.exit(f"{error} Delete {output} to begin the run anew.")
    else:
        model = make_model()
        model.compile(preset.optimizer(), preset.loss)
    # The optimizer counts the steps and is saved with the model, so the two cannot disagree.
    done = int(model.optimizer.iterations)
    if done >= preset.steps:
        print(f"{path} has had its {done} steps.")
        return model
    if done:
        print(f"Going on from step {done} of {preset.steps}.")
    try:
        model.fit(
            train_data(done),
            initial_epoch=done // preset.steps_per_epoch,
            epochs=preset.steps // preset.steps_per_epoch,
            steps_per_epoch=preset.steps_per_epoch,
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
        before = _seconds(self.progress) if self.progress.exists() else 0
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
