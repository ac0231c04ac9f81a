import os
import pathlib
import platform

import keras


def machine() -> dict[str, str]:
    """What a measurement ran on: versions, backend, processor, cores."""
    from keras_frnn import __version__

    return {
        "keras_frnn": __version__,
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
        "processor": _processor(),
        "cores": str(os.cpu_count()),
    }


def _processor() -> str:
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
