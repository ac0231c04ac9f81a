"""Compiling what a model does outside Keras' own `fit` and `predict`, and gradients that nobody takes."""

import collections
import contextlib
import functools
import threading
from collections.abc import Callable

import keras

from keras_frnn.backend.time_loop import unrolls_short_loops

_KEPT = 8  # Compiled functions a model. Each holds a graph of its own.


class CompiledCalls:
    """Runs functions of a model, compiled for arguments of shapes that they are called with again.

    What is compiled follows when weights change, and inside `model.stateless_call` those given there are taken. The
    functions used last are kept.

    With Torch, in a model compiled with `run_eagerly=True`, and inside something that is compiled or differentiated as
    a whole, functions run as they are.

    Args:
        model: must be built when it is called.
    """

    def __init__(self, model: keras.Model):
        self._model, self._lock = model, threading.Lock()
        self._compiled: collections.OrderedDict[tuple, Callable | None] = collections.OrderedDict()

    def __len__(self):
        return sum(function is not None for function in self._compiled.values())

    def __call__(self, function: Callable, *arguments, compile_now: bool = False, **static):
        """`function(*arguments, **static)`.

        Args:
            function: a method of the model.
            arguments: tensors, nested tuples of tensors, and None.
            compile_now: compile on the first call with these shapes. By default that one runs as it is, because
                compiling takes longer than one call.
            static: hashable; another value is another function.
        """
        if keras.backend.backend() == "torch" or self._model.run_eagerly:
            return function(*arguments, **static)
        weights = [variable.value for variable in self._model.variables]
        if _is_traced((weights, arguments)):
            return function(*arguments, **static)
        if _are_variables(weights):
            weights = []  # Compiled code reads them where they are. To hand over each takes as long as a small layer.
        shapes = keras.tree.map_structure(
            lambda x: None if x is None else (tuple(x.shape), keras.backend.standardize_dtype(x.dtype)), arguments
        )
        key = (
            function.__name__,
            shapes,
            tuple(sorted(static.items())),
            self._model.jit_compile,
            unrolls_short_loops(),
        )
        with self._lock:
            is_known = key in self._compiled
            compiled = self._compiled.pop(key, None)
            if compiled is None and (is_known or compile_now):
                compiled = self._compile(function, static)
            self._compiled[key] = compiled
            if len(self._compiled) > _KEPT:
                self._compiled.popitem(last=False)
        return function(*arguments, **static) if compiled is None else compiled(weights, *arguments)

    def _compile(self, function: Callable, static: dict) -> Callable:
        # TensorFlow warns where functions of the same code are traced again and again; these are no such functions.
        pure = functools.partial(self._with_weights, functools.partial(function, **static))
        if keras.backend.backend() == "jax":
            import jax

            return jax.jit(pure)
        import tensorflow as tf

        return tf.function(pure, autograph=False, jit_compile=self._model.jit_compile or None)

    def _with_weights(self, function: Callable, weights: list, *arguments):
        if not weights:
            return function(*arguments)
        with keras.StatelessScope(list(zip(self._model.variables, weights, strict=True))):
            return function(*arguments)


def _is_traced(tensors) -> bool:
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return not tf.executing_eagerly()
    import jax

    return any(isinstance(tensor, jax.core.Tracer) for tensor in keras.tree.flatten(tensors))


def _are_variables(tensors: list) -> bool:
    """Whether they are TensorFlow's variables, not values that stand for them, as in a `keras.StatelessScope`."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return all(isinstance(tensor, tf.Variable) for tensor in tensors)


def gradients(wanted: bool, *tensors):
    """A context in which Torch records no gradient, unless it is wanted or one of the tensors takes part in one.

    TensorFlow and JAX record none unless they are told to.

    Args:
        wanted: whether weights are to be trained by what is computed.
        tensors: arguments; nested tuples of tensors, and None.
    """
    if keras.backend.backend() != "torch" or wanted:
        return contextlib.nullcontext()
    if any(getattr(tensor, "requires_grad", False) for tensor in keras.tree.flatten(tensors)):
        return contextlib.nullcontext()
    import torch

    return torch.no_grad()
