"""Activations, and their gradients given what they returned: one operation each, where autodiff takes three."""

import keras
from keras import ops


def tanh(x):
    """The hyperbolic tangent, in the dtype of `x`; that of `keras.ops` makes float32 of float64 on JAX."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.numpy.tanh(x)
    return ops.tanh(x)


def sigmoid_gradient(y, upstream):
    """The gradient with respect to `x` of `y = sigmoid(x)`, given that with respect to `y`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.raw_ops.SigmoidGrad(y=y, dy=upstream)
    if backend == "torch":
        import torch

        return torch.ops.aten.sigmoid_backward(upstream, y)
    return upstream * (y * (1 - y))


def tanh_gradient(y, upstream):
    """The gradient with respect to `x` of `y = tanh(x)`, given that with respect to `y`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.raw_ops.TanhGrad(y=y, dy=upstream)
    if backend == "torch":
        import torch

        return torch.ops.aten.tanh_backward(upstream, y)
    return upstream * (1 - y * y)
