"""The four stages of a run: train, evaluate, analyse, predict. Each starts from what lies in the run's folder."""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import keras
import numpy as np
import stages as command_line
from absl import logging
from devices import Place, join
from run_folder import (
    RunError,
    RunFolder,
    as_json,
    load,
    read_json,
    record_of,
    stored_experiment,
    tested_on,
    write_json,
)
from stages import Experiment

from keras_frnn import datasets, evaluation, layers, losses, models, optimizers
from keras_frnn.backend import accelerator
from keras_frnn.datasets.faces import Dataset
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.evaluation.display import window_pyplot
from keras_frnn.files import atomic_path, held
from keras_frnn.machine import machine

_TEST_BATCH = 20
_PICTURES = 10
_DATASET_VIDEOS = {"kth": 599, "ucf101": 13_320}
_NO_MEMORY = ("out of memory", "resource_exhausted", "oom when", "allocate memory", "memory allocation")


def run(
    *,
    recipe: str,
    preset: str,
    stages: list[str],
    experiment: Experiment,
    given: dict,
    paper: Experiment,
    first_steps: str = "",
    output: str | None = None,
    count: int = 10,
    show: bool = False,
):
    """Runs stages of an experiment. What a user can mend ends in a sentence and an exit status.

    Args:
        recipe: its name.
        preset: name of the experiment.
        stages: some of `STAGES`, in their order.
        experiment: what to run, as the recipe and the flags say.
        given: the flags that were given, "preset" among them if it was.
        paper: the published experiment: its rows are for runs on the same data.
        first_steps: what to do where there are no data.
        output: the run's folder.
        count: for predict, how many sequences.
        show: for predict, whether to open a window.
    """
    path = pathlib.Path(output or f"runs/{recipe}-{preset}")
    busy = RunError(f"Another process is working in {path}. Wait for it, or pass another --output.")
    try:
        place = Place()
        if "train" in stages:
            kind = experiment.device.partition(":")[0] if experiment.device else None
            place = join(experiment.devices, experiment.batch_size, kind)
        if place.process:  # Process 0 has the folder.
            train(experiment, RunFolder(path), place)
            return
        with held(path, busy):
            folder = RunFolder(path)
            begun = None if "train" in stages else folder.begun
            if "train" not in stages and begun is None:
                raise RunError(f"There is no run in {path}. Run the stage train first.")
            if begun:
                # What was trained counts, whatever the recipe says by now. Flags that say something else are refused.
                preset = given.get("preset", begun.get("preset"))
                flags = {name: value for name, value in given.items() if name != "preset"}
                experiment = command_line.replace(stored_experiment(begun, experiment), **flags)
            folder.claim(
                {
                    "recipe": recipe,
                    "preset": preset,
                    "seed": experiment.seed,
                    "experiment": dataclasses.asdict(experiment),
                    "data": _identity_of_data(experiment, first_steps),
                    "machine": machine() | _versions(),
                    "revision": _revision(),
                }
            )
            if experiment.dataset != "moving_mnist":
                logging.use_absl_handler()
                logging.set_verbosity(logging.INFO)  # Which windows there are, and by which protocol.
            if "train" in stages:
                with _device(experiment.device if place.devices == 1 else None):
                    train(experiment, folder, place)
            with _device(experiment.device):
                if "evaluate" in stages:
                    evaluate(experiment, folder, paper)
                if "analyse" in stages:
                    analyse(folder)
                if "predict" in stages:
                    predict(experiment, folder, count, show)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (RunError, ValueError, OSError, ImportError, FloatingPointError) as error:
        sys.exit(f"{error}")
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY):
            sys.exit("There is not enough memory. Pass a smaller --batch_size, or --remat for a FoldedRNN.")
        if type(error).__module__.startswith("tensorflow"):  # What a dataset raised while it was read.
            lines = [line for line in str(error).splitlines() if "Error: " in line]
            sys.exit(f"The data cannot be read: {(lines or [str(error)])[-1]}")
        raise


# --- train -----------------------------------------------------------------------------------------------------------


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
    checkpoints = _Checkpoints(folder, experiment, done, seconds, place)
    if done < experiment.iterations:
        with checkpoints.stopped_by_signals():
            steps = experiment.iterations - done
            model.fit(data, steps_per_epoch=steps, epochs=1, shuffle=False, verbose=0, callbacks=[checkpoints])
    else:
        model.optimizer.finalize_variable_values(model.trainable_variables)  # As `fit` does in its end.
    if not place.process:
        folder.save_trained(model, experiment.iterations, checkpoints.seconds)


class _Checkpoints(keras.callbacks.Callback):
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
            # On JAX, `self.model` is what fetches the weights.
            self.folder.save_checkpoint(self.model, self.iteration, self.seconds)
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
    with _fits("model", experiment):
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


@contextlib.contextmanager
def _fits(flag: str, experiment: Experiment) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError) as error:
        if isinstance(error, ValueError) and "keyword argument" not in str(error):
            raise
        value = getattr(experiment, flag)
        raise RunError(f"--{flag}={value} does not go with the other flags of this recipe: {error}") from error


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


# --- evaluate --------------------------------------------------------------------------------------------------------


def evaluate(experiment: Experiment, folder: RunFolder, paper: Experiment):
    """Scores the network, and those of finished runs beside it on the same data, and keeps some predictions."""
    model, record = folder.trained()
    compared = {experiment.title: model} | _finished_beside(folder, experiment.title)
    print(f"\nScoring {', '.join(compared)} on the test sequences ...", flush=True)
    watched = {name: _Watched(network) for name, network in compared.items()}
    kept = _Kept(experiment.samples)
    scores = evaluation.evaluate(watched, kept.watch(test_data(experiment), watched))
    published, reason = _published(experiment, folder.settings, paper)
    print(f"\n{scores.table(published)}\n{reason}")
    mse = {name: float(np.mean(values["mse"])) for name, values in scores.values.items()}
    mse["black_frame"] = kept.black_frame_mse
    ratio = mse[experiment.title] / min(mse["copy_last_frame"], mse["black_frame"])
    print("Test MSE: " + ", ".join(f"{name} {value:.4f}" for name, value in mse.items()))
    print(f"{experiment.title}'s is {ratio:.2f} of the better of copying the last frame and predicting black.\n")
    kept.save(folder.samples)
    scores.save_csv(folder.path / "scores.csv")
    with atomic_path(folder.path / "scores.md") as temporary:
        temporary.write_text(scores.markdown(published) + (f"\n{reason}" if reason else ""))
    write_json(
        folder.results,
        {
            "settings": folder.settings,
            "title": experiment.title,
            "iteration": record["iteration"],
            "weights": model.count_params(),
            "training_seconds": record["seconds"],
            "test_mse": mse,
            "ratio_to_better_baseline": ratio,
            "scores": scores.to_dict(),
            "machine": machine(),
        },
    )


class _Watched:
    """A network that remembers its last forecast."""

    def __init__(self, model):
        self.model, self.data_format = model, model.data_format

    def forecast(self, context, steps: int, batch_size: int):
        self.last = self.model.forecast(context, steps, batch_size=batch_size)
        return self.last


class _Kept:
    """Test sequences drawn without knowing how many there are, and what was predicted of them."""

    def __init__(self, count: int):
        self.count, self.sequences, self.black_frame_mse = count, {}, 0.0

    def watch(self, data, watched: dict[str, _Watched]):
        """The batches of `data`; when the next one is asked for, the networks have predicted the last one."""
        first, order = 0, {}
        for context, future in data:
            context, future = (keras.ops.convert_to_numpy(frames) for frames in (context, future))
            yield context, future
            for i in range(len(context)):
                order[first + i] = np.random.default_rng((0, first + i)).random()
                forecasts = {name: network.last[i] for name, network in watched.items()}
                self.sequences[first + i] = {"context": context[i], "future": future[i], **forecasts}
                if len(self.sequences) > self.count:
                    del self.sequences[max(self.sequences, key=order.__getitem__)]
            black = np.square((future.astype("float64") + 1) / 2).mean()
            first += len(context)
            self.black_frame_mse += (float(black) - self.black_frame_mse) * len(context) / first

    def save(self, path: pathlib.Path):
        numbers = sorted(self.sequences)
        arrays = {key: np.stack([self.sequences[n][key] for n in numbers]) for key in self.sequences[numbers[0]]}
        with atomic_path(path) as temporary:
            np.savez(temporary, numbers=np.array(numbers), **arrays)


def _finished_beside(folder: RunFolder, title: str) -> dict[str, keras.Model]:
    """The networks of finished runs in neighbouring folders that were on the same data, by their titles."""
    found: dict[str, keras.Model] = {}
    own = folder.path.resolve()
    for path in sorted(own.parent.glob("*/model.keras")):
        if path.parent == own:
            continue
        try:
            settings = record_of(path)["settings"]
            if tested_on(settings) == tested_on(folder.settings):
                network, _ = load(path, compile=False)
                theirs = settings["experiment"]["title"]
                found[theirs if theirs not in (title, *found) else f"{theirs} ({path.parent.name})"] = network
        except (ValueError, KeyError) as error:
            logging.warning("%s Not compared with it.", error)
    return found


def _published(experiment: Experiment, settings: dict, paper: Experiment) -> tuple[str | None, str]:
    """The dataset whose published rows belong beside these scores, if they were on its data; else why not."""
    if experiment.published is None:
        return None, ""
    data = settings["data"]
    same = tested_on(settings) | {"test_sequences": None, "data": None}
    theirs = tested_on(settings | {"experiment": dataclasses.asdict(paper), "data": None}) | {"test_sequences": None}
    as_published = same == as_json(theirs)
    if experiment.dataset == "moving_mnist":
        as_published = as_published and data["test"] != "generated"
    else:
        stated = [split for split in (data["train"], data["test"]) if split["format"]]
        videos = _DATASET_VIDEOS[experiment.dataset]
        as_published = as_published and all(split["source_videos"] == videos for split in stated)
    if as_published:
        return experiment.published, ""
    return None, "The published rows are on other data, or by another split or protocol, and are left out.\n"


# --- analyse ---------------------------------------------------------------------------------------------------------


def analyse(folder: RunFolder):
    """Draws what evaluate left: curves, comparisons and samples; removes layers, on the same sequences."""
    try:
        results = read_json(folder.results)
        with np.load(folder.samples) as file:
            kept = dict(file)
        scores = _scores(results["scores"])
        numbers, context, future = (kept.pop(name) for name in ("numbers", "context", "future"))
        title = results["title"]
        predictions = {name: kept[name] for name in scores.values if name in kept}
        own, iteration = predictions[title], results["iteration"]
    except (ValueError, KeyError, TypeError, OSError, EOFError) as error:
        raise RunError(f"{folder.path} has no whole scores and samples ({error}). Run evaluate first.") from error
    model, record = folder.trained()
    if record["iteration"] != iteration:
        raise RunError(f"{folder.results} is of iteration {iteration}. Run evaluate again.")
    path = folder.path
    evaluation.plot_curves(scores, path / "curves.png")
    few = {name: frames[:4] for name, frames in predictions.items()}
    evaluation.plot_strip(context, future, predictions, path / "strip.png")
    evaluation.save_animation(context[:4], future[:4], few, path / "animation.gif")
    for i, number in enumerate(numbers[:_PICTURES]):
        one = {name: frames[i : i + 1] for name, frames in predictions.items()}
        picture = path / "samples" / f"sequence-{number:05d}.png"
        evaluation.plot_strip(context[i : i + 1], future[i : i + 1], one, picture)
    if isinstance(model, models.FoldedRNN):
        cuts = {f"{depth} layers": _Watched(model.truncate(depth)) for depth in reversed(model.depths[:-1])}
        whole = {f"{model.depths[-1]} layers": _Known(own, model.data_format)}
        removal = evaluation.evaluate(whole | cuts, [(context, future)])
        removal.save_csv(path / "layer_removal.csv")
        forecasts = {name: network.last for name, network in (whole | cuts).items()}
        evaluation.plot_strip(context, future, forecasts, path / "layer_removal.png")
    print(f"Written to {path}/: {', '.join(sorted(p.name for p in path.iterdir() if not p.name.startswith('.')))}")


class _Known:
    """A network whose forecast is known already."""

    def __init__(self, frames: np.ndarray, data_format: str):
        self.last, self.data_format = frames, data_format

    def forecast(self, context, steps: int, batch_size: int):
        return self.last


def _scores(content: dict) -> evaluation.Scores:
    """What `Scores.to_dict` wrote."""
    values = {
        name: {m: np.array([np.inf if v is None else v for v in curve]) for m, curve in of.items()}
        for name, of in content["values"].items()
    }
    return evaluation.Scores(values, content["sequences"], content["infinite_psnr"], content.get("frame_values"))


# --- predict ---------------------------------------------------------------------------------------------------------


def predict(experiment: Experiment, folder: RunFolder, count: int, show: bool):
    """Predicts test sequences one by one: each into predictions/ as an array and a picture, before the next one."""
    window = _window() if show else None
    model, _ = folder.trained()
    output = folder.path / "predictions"
    for number, context in enumerate(contexts(experiment, count)):
        frames = model.forecast(context)
        path = output / f"sequence-{number:05d}.png"
        evaluation.plot_strip(context, None, {experiment.title: frames}, path)
        with atomic_path(path.with_suffix(".npy")) as temporary:
            np.save(temporary, frames[0])
        print(f"{path}", flush=True)
        if window:
            window.clf()
            window.imshow(window.imread(path))
            window.axis("off")
            window.pause(1)


def _window():
    if (pyplot := window_pyplot()) is None:
        raise RunError("There is no window to show pictures in. Leave --show out: they are saved anyway.")
    return pyplot


def contexts(experiment: Experiment, count: int) -> Iterator[np.ndarray]:
    """The given frames of the first test sequences, `(1, context, height, width, channels)`; the rest is not read."""
    windows, rest = dict(experiment.windows), 0
    # A dataset has a future of one frame at least: the last of the given ones.
    if windows["context"] > 1:
        windows["context"], rest = windows["context"] - 1, 1
    windows["horizon"] = 1
    data = _dataset(dataclasses.replace(experiment, windows=windows), "test", batch_size=1, sequences=count)
    for context, future in data:
        yield np.concatenate([keras.ops.convert_to_numpy(frames) for frames in (context, future[:, :rest])], axis=1)


# --- data ------------------------------------------------------------------------------------------------------------


def train_data(experiment: Experiment, done: int, place: Place | None = None) -> Dataset:
    """The endless training batches from an iteration on, which are a function of it and the seed alone.

    Of several processes, each has its part of every batch.
    """
    place = place or Place()
    part = experiment.batch_size // place.processes
    arguments = dict(batch_size=experiment.batch_size if place.splits else part, start=done * part)
    if place.processes > 1:
        arguments |= dict(num_shards=place.processes, shard_index=place.process)
    data = _dataset(experiment, "train", seed=experiment.seed, **arguments, **experiment.augmentation)
    if place.splits:
        import tensorflow as tf

        options = tf.data.Options()  # It is sharded already, and batches of the size above are cut for the replicas.
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        data = data.with_options(options)
    return data


def test_data(experiment: Experiment) -> Dataset:
    """The test sequences, once."""
    return _dataset(experiment, "test", batch_size=_TEST_BATCH, sequences=experiment.test_sequences)


def _dataset(experiment: Experiment, split: str, **arguments) -> Dataset:
    make, source, windows = getattr(datasets, experiment.dataset), dict(experiment.source), experiment.windows
    # TensorFlow is loaded where it is the backend, and nowhere else.
    arguments["format"] = "tf" if keras.backend.backend() == "tensorflow" else "keras"
    with _fits("dataset", experiment):
        if experiment.dataset == "moving_mnist":
            test_array = source.pop("test_array", None)
            return make(split, **source, **windows, **arguments, path=test_array if split == "test" else None)
        return make(source.pop("data", f"data/{experiment.dataset}"), split, **source, **windows, **arguments)


def _identity_of_data(experiment: Experiment, first_steps: str) -> dict:
    """What the data are, wherever they lie."""
    try:
        test_data(experiment), train_data(experiment, 0)  # What is wrong with them shows before training.
        if experiment.dataset == "moving_mnist":
            return {"digits": experiment.source["digits"], "test": _test_array(experiment.source["test_array"])}
        prefix = None if experiment.dataset == "video_folder" else experiment.dataset
        stores = {split: open_store(experiment.source["data"], split, "h5py", prefix) for split in ("train", "test")}
    except FileNotFoundError as error:
        raise RunError(f"{error}\n\n{first_steps}".strip()) from error
    return {split: _identity_of_store(store) for split, store in stores.items()}


def _identity_of_store(store) -> dict:
    digest = hashlib.sha256(store.lengths.tobytes())
    height, width, channels = store.frame_shape
    for video in np.unique(np.linspace(0, len(store.lengths) - 1, 16).astype(int)):
        if store.lengths[video]:
            frame = np.empty((1, height, width, channels), "uint8")
            store.read(int(video), slice(0, 1), slice(0, height), slice(0, width), frame)
            digest.update(frame.tobytes())
    return {
        "format": store.format,
        "source_videos": store.source_videos,
        "videos": len(store.lengths),
        "frames": int(store.lengths.sum()),
        "digest": digest.hexdigest()[:16],
    }


def _test_array(path: str | None):
    if path is None:
        return "generated"
    array = np.load(path, mmap_mode="r")
    sequences = np.ascontiguousarray(array[:, :: max(1, array.shape[1] // 100)])
    return {"shape": list(array.shape), "digest": hashlib.sha256(sequences.tobytes()).hexdigest()[:16]}


# --- the place -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _device(name: str | None) -> Iterator[None]:
    if name is None:
        yield
        return
    try:
        with keras.device(name):
            found = accelerator() or "cpu"
    # Each backend has its own error for a device that it does not know.
    except Exception as error:
        found, reason = None, f" ({error})"
    if found is None or (found == "cpu") != name.lower().startswith("cpu"):
        raise RunError(
            f"There is no device {name!r} for {keras.backend.backend()}{reason if found is None else ''}. Pass another "
            "--device: cpu:0, or none for what Keras takes by itself."
        )
    with keras.device(name):
        yield


def _versions() -> dict[str, str]:
    found = {}
    for package in ("numpy", "tensorflow", "jax", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _revision() -> str | None:
    """Of the code, where it is in git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    with contextlib.suppress(OSError):
        done = subprocess.run(command, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True)
        return done.stdout.strip() or None
    return None
