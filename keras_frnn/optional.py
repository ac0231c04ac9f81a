"""Optional dependencies."""

import contextlib

import keras


def tensorflow(what: str, instead: str):
    """Imports TensorFlow. If that fails, the `ImportError` says `what` needs it and what to do `instead`."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            f"{what} needs TensorFlow, which does not work here ({error}): `pip install tensorflow`. {instead}"
        ) from error
    if keras.backend.backend() != "tensorflow":
        # It only feeds data to the other backends and must not reserve their accelerator's memory. If it was already in
        # use, this raises an error, since its memory cannot be returned.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return tf
