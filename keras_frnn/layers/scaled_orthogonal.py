"""The kernel initializer of the paper's authors."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_frnn")
class ScaledOrthogonal(keras.initializers.Orthogonal):
    """Orthogonal, then every column scaled to the standard deviation `2 / sqrt(rows + columns)`.

    A kernel `(..., inputs, outputs)` is seen as the matrix `(rows, columns)` whose columns are its output channels.
    This is what the published models start from.

    Args:
        seed: integer, `keras.random.SeedGenerator`, or None for a new integer each time an initializer is made.

    Example:

    >>> kernel = ScaledOrthogonal(seed=0)((5, 5, 8, 16))
    >>> tuple(kernel.shape)
    (5, 5, 8, 16)

    Reference: the published models of https://arxiv.org/abs/1712.00311
    """

    def __init__(self, seed: int | keras.random.SeedGenerator | None = None):
        super().__init__(seed=seed)

    def __call__(self, shape, dtype=None):
        matrix = ops.reshape(super().__call__(shape, dtype), (-1, shape[-1]))
        deviation = 2 / math.sqrt(math.prod(shape[:-1]) + shape[-1])
        matrix = matrix * (deviation / ops.std(matrix, axis=0, keepdims=True))
        return ops.reshape(matrix, shape)

    def get_config(self) -> dict:
        return {"seed": super().get_config()["seed"]}
