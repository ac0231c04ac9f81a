"""Runs stages of an experiment in its folder. A fault that the user can mend ends in a sentence."""

import contextlib
import dataclasses
import importlib
import importlib.metadata
import pathlib
import signal
import subprocess
import sys
from collections.abc import Mapping

import keras
from absl import logging

from keras_frnn.backend import accelerator
from keras_frnn.experiments.data import identity_of_data
from keras_frnn.experiments.devices import Place, join
from keras_frnn.experiments.evaluating import analyse, evaluate, predict
from keras_frnn.experiments.experiment import Experiment, MovingDigits, replace
from keras_frnn.experiments.exporting import export
from keras_frnn.experiments.run_folder import RunError, RunFolder, stored_experiment
from keras_frnn.experiments.training import train
from keras_frnn.files import held
from keras_frnn.machine import machine

_NO_MEMORY = ("out of memory", "resource_exhausted", "oom when", "allocate memory", "memory allocation")


def run(
    *,
    recipe: str,
    preset: str | None,
    stages: list[str],
    experiment: Experiment,
    given: dict,
    paper: Experiment,
    first_steps: str = "",
    own: Mapping[str, str] | None = None,
    output: str | None = None,
    count: int = 10,
    show: bool = False,
):
    """Runs stages of an experiment. A fault that the user can mend ends in a sentence and an exit status.

    Args:
        recipe: name of the experiment's file.
        preset: name of the experiment.
        stages: some of `command_line.STAGES` and `own`, in their order.
        experiment: what to run, according to the file and the flags.
        given: the flags that were given, "preset" among them if it was.
        paper: the published experiment. Published scores are printed for runs on the same data.
        first_steps: what to do if there are no data.
        own: stages of the file's own, and the module of each, which has a function `run(experiment, folder)`.
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
            place = join(experiment.devices, experiment.training.batch_size, kind)
            if experiment.phases and place.processes > 1:
                raise RunError(f"{place.processes} processes cannot train in phases. Pass --devices=1.")
        if place.process:  # Process 0 has the folder.
            train(experiment, RunFolder(path), place)
            return
        with held(path, busy):
            folder = RunFolder(path)
            begun = None if "train" in stages else folder.begun
            if "train" not in stages and begun is None:
                raise RunError(f"There is no run in {path}. Run the stage train first.")
            if begun:
                # The run goes on as it was begun, even if the recipe has changed. Other flags are refused.
                preset = given.get("preset", begun.get("preset"))
                flags = {name: value for name, value in given.items() if name != "preset"}
                experiment = replace(stored_experiment(begun, experiment), **flags)
            # A missing device is refused before anything is written to the folder.
            device = checked_device(experiment.device)
            folder.claim(
                {
                    "recipe": recipe,
                    "preset": preset,
                    "seed": experiment.training.seed,
                    "experiment": dataclasses.asdict(experiment),
                    "data": identity_of_data(experiment, first_steps),
                    "machine": machine() | _versions(),
                    "revision": _revision(),
                }
            )
            if not isinstance(experiment.source, MovingDigits):
                logging.use_absl_handler()
                logging.set_verbosity(logging.INFO)  # Datasets log their windows and protocol.
            if "train" in stages:
                with on_device(device if place.devices == 1 else None):
                    train(experiment, folder, place)
            with on_device(device):
                if "evaluate" in stages:
                    evaluate(experiment, folder, paper)
                if "analyse" in stages:
                    analyse(folder)
                if "predict" in stages:
                    predict(experiment, folder, count, show)
                if "export" in stages:
                    export(experiment, folder)
                for stage, module in (own or {}).items():
                    if stage in stages:
                        importlib.import_module(module).run(experiment, folder)
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        sys.exit(f"{error}")
    except Exception as error:
        if isinstance(error, MemoryError) or any(words in str(error).lower() for words in _NO_MEMORY):
            sys.exit("There is not enough memory. Pass a smaller --batch_size, or --remat for a FoldedRNN.")
        if type(error).__module__.startswith("tensorflow"):  # A dataset raised it while it was read.
            lines = [line for line in str(error).splitlines() if "Error: " in line]
            sys.exit(f"The data cannot be read: {(lines or [str(error)])[-1]}")
        raise


def checked_device(name: str | None) -> str | None:
    """The device of that name, as `keras.device` takes it.

    Raises:
        RunError: the backend has no such device.
    """
    if name is None:
        return None
    try:
        is_torch = keras.backend.backend() == "torch"
        cpus = ["cpu:0"] if is_torch else keras.distribution.list_devices("cpu")
        if name.lower().startswith("cpu:") and name.lower() not in cpus:  # TensorFlow and Torch accept any number.
            raise ValueError(f"its CPUs: {', '.join(cpus)}")
        # On `cpu:0`, Torch would copy the weights, and the copies have no gradient.
        device = "cpu" if is_torch and name.lower() == "cpu:0" else name
        with keras.device(device):
            found = accelerator() or "cpu"
    # Each backend has its own error for an unknown device.
    except Exception as error:
        found, reason = None, f" ({error})"
    if found is None or (found == "cpu") != name.lower().startswith("cpu"):
        raise RunError(
            f"There is no device {name!r} for {keras.backend.backend()}{reason if found is None else ''}. Pass another "
            "--device: cpu:0, or none for what Keras takes by itself."
        )
    return device


def on_device(name: str | None) -> contextlib.AbstractContextManager:
    return keras.device(name) if name else contextlib.nullcontext()


def _versions() -> dict[str, str]:
    found = {}
    for package in ("numpy", "tensorflow", "jax", "torch"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def _revision() -> str | None:
    """Revision of the code, if it is in git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    with contextlib.suppress(OSError):
        done = subprocess.run(command, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True)
        return done.stdout.strip() or None
    return None
