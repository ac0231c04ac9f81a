"""Compiling what a user calls step by step, outside Keras' own `fit` and `predict`."""

from collections.abc import Callable

import keras


def compiled_when_repeated(model: keras.Model, function: Callable) -> Callable:
    """A function that runs a model, compiled for arguments of shapes that it has been called with before.

    The first call with arguments of some shapes runs as it is, because compiling takes longer than one call. Inside
    something that is compiled or differentiated as a whole, and with Torch, nothing changes.

    Args:
        model: built; its weights may change between calls.
        function: of tensors, nested tuples of tensors, and None.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        compiled, is_traced = tf.function(function), lambda tensors: not tf.executing_eagerly()
    elif backend == "jax":
        import jax

        @jax.jit
        def pure(weights, *arguments):
            with keras.StatelessScope(list(zip(model.variables, weights, strict=True))):
                return function(*arguments)

        def compiled(*arguments):
            return pure([variable.value for variable in model.variables], *arguments)

        def is_traced(tensors):
            weights = [variable.value for variable in model.variables]
            return any(isinstance(tensor, jax.core.Tracer) for tensor in [*tensors, *weights])

    else:
        return function
    known = set()

    def run(*arguments):
        tensors = [tensor for tensor in keras.tree.flatten(arguments) if tensor is not None]
        if is_traced(tensors):
            return function(*arguments)
        shapes = tuple((tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype)) for tensor in tensors)
        if shapes in known:
            return compiled(*arguments)
        known.add(shapes)
        return function(*arguments)

    return run
