"""Where the backend computes."""

import keras


def accelerator() -> str | None:
    """The GPU or TPU that Keras puts tensors on, as the backend names it; None where that is the CPU."""
    device = str(keras.ops.convert_to_tensor(0.0).device)
    return None if "cpu" in device.lower() else device


def jax_is_on_cpu() -> bool:
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())
