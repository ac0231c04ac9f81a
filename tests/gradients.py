"""Gradients of a model's L1 loss, by variable path: the one thing that Keras leaves to the backends."""

import keras
import numpy as np


def of_l1_loss(model, context, future) -> tuple[float, dict[str, np.ndarray]]:
    variables = model.trainable_variables
    backend = keras.backend.backend()
    if backend == "tensorflow":
        loss, gradients = _tensorflow(model, variables, context, future)
    elif backend == "jax":
        loss, gradients = _jax(model, context, future)
    else:
        loss, gradients = _torch(model, variables, context, future)
    gradients = [keras.ops.convert_to_numpy(gradient) for gradient in gradients]
    return float(loss), {variable.path: g for variable, g in zip(variables, gradients, strict=True)}


def _l1(future, prediction):
    return keras.ops.mean(keras.ops.abs(future - prediction))


def _tensorflow(model, variables, context, future):
    import tensorflow as tf

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = _l1(future, model(context, training=True))
        return loss, tape.gradient(loss, [variable.value for variable in variables])

    return step()


def _jax(model, context, future):
    import jax

    def loss(trainable):
        prediction, _ = model.stateless_call(trainable, non_trainable, context)
        return _l1(future, prediction)

    trainable = [variable.value for variable in model.trainable_variables]
    non_trainable = [variable.value for variable in model.non_trainable_variables]
    return jax.jit(jax.value_and_grad(loss))(trainable)


def _torch(model, variables, context, future):
    import torch

    loss = _l1(keras.ops.convert_to_tensor(future), model(context, training=True))
    return loss.item(), torch.autograd.grad(loss, [variable.value for variable in variables])
