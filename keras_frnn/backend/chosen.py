"""The module of the engine that Keras runs on: one of those beside this file."""

import importlib

import keras

if keras.backend.backend() not in ("tensorflow", "jax", "torch"):
    raise ImportError(
        "keras_frnn needs Keras on TensorFlow, JAX or Torch. "
        f"Received: backend={keras.backend.backend()!r}. Set KERAS_BACKEND to 'tensorflow', 'jax' or 'torch'."
    )
engine = importlib.import_module(f"keras_frnn.backend.{keras.backend.backend()}")
