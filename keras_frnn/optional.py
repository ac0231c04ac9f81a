"""What the package uses where it is installed."""

import contextlib

import keras


def tensorflow(what: str, instead: str):
    """The module, for `what` reads through it. Where it is missing, an `ImportError` says what to do `instead`."""
    try:
        import tensorflow as tf
    except ImportError as error:
        raise ImportError(
            f"{what} needs TensorFlow, which does not work here ({error}): `pip install tensorflow`. {instead}"
        ) from error
    if keras.backend.backend() != "tensorflow":
        # It only feeds the other backends: it must not take their accelerator's memory. Where it was in use before,
        # this is an error: what it holds already cannot be taken back.
        with contextlib.suppress(RuntimeError):
            tf.config.set_visible_devices([], "GPU")
    return tf
