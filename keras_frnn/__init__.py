"""Folded recurrent networks for predicting future video frames, in Keras 3.

Reference: Oliu, Selva and Escalera, "Folded Recurrent Neural Networks for Future Video Prediction", ECCV 2018,
https://arxiv.org/abs/1712.00311
"""

import importlib
import sys
from typing import TYPE_CHECKING

# A command line is read before Keras is loaded, which takes seconds: then each part is loaded on first use.
if "keras_frnn_command" not in sys.modules:
    from keras_frnn import layers, losses, metrics, models, optimizers

if TYPE_CHECKING:
    from keras_frnn import callbacks, datasets, evaluation, reference, testing

__version__ = "0.3.0"
__all__ = [
    "callbacks",
    "datasets",
    "evaluation",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "reference",
    "testing",
]


def __getattr__(name: str):
    # TensorFlow and Matplotlib load with the first use of what needs them, not with the layers.
    if name in __all__:
        return importlib.import_module(f"keras_frnn.{name}")
    raise AttributeError(f"module 'keras_frnn' has no attribute '{name}'")


def __dir__() -> list[str]:
    # Also what has not been used yet, for completion in editors and notebooks.
    return [*__all__, *(name for name in globals() if name.startswith("__"))]
