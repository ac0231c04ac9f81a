"""The kernel initializer of the paper's authors."""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_frnn")
class ScaledOrthogonal(keras.initializers.Initializer):
    """Orthogonal, then every column scaled to the standard deviation `2 / sqrt(rows + columns)`.

    A kernel `(..., inputs, outputs)` is seen as the matrix `(rows, columns)` whose columns are its output channels.
    This is what the published models start from.

    Args:
        seed: integer, or None for a new one each time an initializer is made.

    Example:

    >>> kernel = ScaledOrthogonal(seed=0)((5, 5, 8, 16))
    >>> tuple(kernel.shape)
    (5, 5, 8, 16)

    Reference: the published models of https://arxiv.org/abs/1712.00311
    """

    def __init__(self, seed: int | None = None):
        self.seed = seed
        self._orthogonal = keras.initializers.Orthogonal(seed=seed)

    def __call__(self, shape, dtype=None):
        matrix = ops.reshape(self._orthogonal(shape, dtype), (-1, shape[-1]))
        deviation = 2 / math.sqrt(math.prod(shape[:-1]) + shape[-1])
        matrix = matrix * (deviation / ops.std(matrix, axis=0, keepdims=True))
        return ops.reshape(matrix, shape)

    def get_config(self) -> dict:
        return {"seed": self.seed}
