"""Measurements: a description of the machine, times, and memory."""

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
    """The machine that a measurement runs on: versions, backend, processor, cores, accelerator if there is one."""
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
    """Median seconds per call of each function, after one warm-up call. The functions take turns, so that background
    load affects all of them alike."""
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
    """The peak memory of this process so far; None if the system does not report it."""
    status = pathlib.Path("/proc/self/status")
    if status.exists():
        # `getrusage` would include the memory of the parent process at the time of the fork.
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    try:
        import resource
    except ImportError:  # Windows does not have it.
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
