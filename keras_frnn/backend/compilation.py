"""Compiling what a model does outside Keras' own `fit` and `predict`."""

import collections
import functools
import threading
from collections.abc import Callable

import keras

from keras_frnn.backend import engine
from keras_frnn.backend.common import unrolls_short_loops

_KEPT = 8  # Compiled functions per model. Each holds a graph.


class CompiledCalls:
    """Runs functions of a model, compiled when they are called again with arguments of the same shapes.

    Compiled functions use the weights that the model has when they are called; inside `model.stateless_call`, those
    given there. The functions used last are kept.

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
        variables = self._model.variables
        if self._model.run_eagerly or not engine.compiles(variables, arguments):
            return function(*arguments, **static)
        weights = engine.weights_to_pass(variables)
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
        # A new function each time: TensorFlow warns if one function is traced again and again.
        pure = functools.partial(self._with_weights, functools.partial(function, **static))
        return engine.compile_function(pure, self._model.jit_compile)

    def _with_weights(self, function: Callable, weights: list, *arguments):
        if not weights:
            return function(*arguments)
        with keras.StatelessScope(list(zip(self._model.variables, weights, strict=True))):
            return function(*arguments)
