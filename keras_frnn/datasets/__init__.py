"""Videos as `tf.data` pipelines of `(context, future)` batches: float32 in [-1, 1]."""

import contextlib

import keras
import tensorflow as tf

from keras_frnn.datasets.moving_mnist import moving_mnist

__all__ = ["moving_mnist"]

if keras.backend.backend() != "tensorflow":
    # TensorFlow only feeds the other backends: it must not take their accelerator's memory.
    # Where TensorFlow was in use before, this is an error: what it holds already cannot be taken back.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
