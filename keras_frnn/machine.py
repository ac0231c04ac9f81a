"""The machine that something was measured on, its time and its memory."""

import os
import pathlib
import platform
import sys
import time
from collections.abc import Callable

import keras
import numpy as np

from keras_frnn.backend import accelerator


def machine() -> dict[str, str]:
    """What a measurement ran on: versions, backend, processor, cores, accelerator if there is one."""
    from keras_frnn import __version__

    here = {
        "keras_frnn": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
    }
    return here | ({"accelerator": accelerator()} if accelerator() else {})


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def median_seconds(repeats: int, **functions: Callable[[], object]) -> dict[str, float]:
    """Median time of one call of each, by name, after one that is not counted; they take turns, so that all see the
    same moods of the machine."""
    for function in functions.values():
        function()
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            begun = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - begun)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def peak_memory_bytes() -> int | None:
    """The most memory that this process has held so far; None where the system does not tell."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # `getrusage` would count what the parent process held when it started this one.
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    try:
        import resource
    except ImportError:  # Windows has no such count.
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
