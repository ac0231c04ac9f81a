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


def median_seconds(function: Callable[[], object], repeats: int) -> float:
    """Median time of one call, after one that is not counted."""
    function()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - begun)
    return float(np.median(seconds))


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
