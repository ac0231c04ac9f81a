"""Runs stages of an experiment in its folder, and ends in a sentence where a user can mend what is wrong."""

import contextlib
import dataclasses
import importlib.metadata
import pathlib
import signal
import subprocess
import sys

import keras
import stages as command_line
from absl import logging
from devices import Place, join
from experiment_data import identity_of_data
from run_folder import RunError, RunFolder, stored_experiment
from stages import Experiment
from testing import analyse, evaluate, predict
from training import train

from keras_frnn.backend import accelerator
from keras_frnn.files import held
from keras_frnn.machine import machine

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
            # A device that is not there is refused before the folder is this experiment's.
            device = checked_device(experiment.device)
            folder.claim(
                {
                    "recipe": recipe,
                    "preset": preset,
                    "seed": experiment.seed,
                    "experiment": dataclasses.asdict(experiment),
                    "data": identity_of_data(experiment, first_steps),
                    "machine": machine() | _versions(),
                    "revision": _revision(),
                }
            )
            if experiment.dataset != "moving_mnist":
                logging.use_absl_handler()
                logging.set_verbosity(logging.INFO)  # Which windows there are, and by which protocol.
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
        if name.lower().startswith("cpu:") and name.lower() not in cpus:  # Which TensorFlow and Torch let pass.
            raise ValueError(f"its CPUs: {', '.join(cpus)}")
        # Torch would copy weights to `cpu:0`, and the copies have no gradient.
        device = "cpu" if is_torch and name.lower() == "cpu:0" else name
        with keras.device(device):
            found = accelerator() or "cpu"
    # Each backend has its own error for a device that it does not know.
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
    """Of the code, where it is in git."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
    with contextlib.suppress(OSError):
        done = subprocess.run(command, cwd=pathlib.Path(__file__).parent, capture_output=True, text=True)
        return done.stdout.strip() or None
    return None
