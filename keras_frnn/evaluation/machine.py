import os
import pathlib
import platform

import keras


def accelerator() -> str | None:
    """The GPU or TPU that Keras puts tensors on, as the backend names it; None where that is the CPU."""
    device = str(keras.ops.convert_to_tensor(0.0).device)
    return None if "cpu" in device.lower() else device


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
