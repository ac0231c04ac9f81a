"""Gradients of a model, by variable path, and of functions: the one thing that Keras leaves to the backends."""

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


def of_gradient_penalty(model, video) -> dict[str, np.ndarray]:
    """Second order: gradients of the sum of squares of what a video's gradient is, of the output's sum of squares."""
    variables = model.trainable_variables
    backend, video = keras.backend.backend(), keras.ops.convert_to_tensor(video)

    def loss(output):
        return keras.ops.sum(keras.ops.square(output))

    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function
        def penalty_gradients():
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    inner.watch(video)
                    value = loss(model(video))
                penalty = loss(inner.gradient(value, video))
            return outer.gradient(penalty, [variable.value for variable in variables])

        values = penalty_gradients()
    elif backend == "jax":
        import jax

        non_trainable = [variable.value for variable in model.non_trainable_variables]

        def penalty(trainable):
            gradient = jax.grad(lambda video: loss(model.stateless_call(trainable, non_trainable, video)[0]))(video)
            return loss(gradient)

        values = jax.jit(jax.grad(penalty))([variable.value for variable in variables])
    else:
        import torch

        video = video.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(model(video)), video, create_graph=True)
        values = torch.autograd.grad(loss(gradient), [variable.value for variable in variables])
    return {v.path: keras.ops.convert_to_numpy(g) for v, g in zip(variables, values, strict=True)}


def of_number(function, arrays):
    """The gradients of a number with respect to its arguments, by the backend."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function
        def gradients(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                value = function(*tensors)
            return tape.gradient(value, tensors)

        return gradients(*map(tf.constant, arrays))
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(jax.grad(function, argnums=tuple(range(len(arrays)))))(*arrays)
    import torch

    tensors = [torch.tensor(array, requires_grad=True) for array in arrays]
    return torch.autograd.grad(function(*tensors), tensors)


def inside(function, tensors):
    """The same, as part of a computation that is differentiated itself."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensors)
            value = function(*tensors)
        return tape.gradient(value, tensors)
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function, argnums=tuple(range(len(tensors))))(*tensors)
    import torch

    return torch.autograd.grad(function(*tensors), tensors, create_graph=True)


def finite_differences(function, arrays, directions, step=1e-5):
    """The change of a number of float64 arrays along each array's direction, for each of them."""
    changes = []
    for index, direction in enumerate(directions):
        values = []
        for sign in (1, -1):
            moved = [np.float64(array) for array in arrays]
            moved[index] = moved[index] + sign * step * direction
            values.append(function(*moved))
        changes.append((values[0] - values[1]) / (2 * step))
    return changes
