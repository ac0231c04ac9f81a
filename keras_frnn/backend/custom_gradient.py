"""Gradients written by hand, of any order."""

import keras


def custom_gradient(forward, backward, plain):
    """`plain`, a function of tensors, that is differentiated with a gradient written by hand.

    The gradient of that gradient is that of `plain`. (`keras.ops.custom_gradient` would differentiate what is written,
    taking what was kept for constants.) JAX refuses its forward mode, `jax.jvp`.

    Args:
        forward: function of tensors that returns what `plain` does, one tensor, and a tuple of tensors to keep.
        backward: function of the gradient of the output, the tuple of inputs and the residuals, that returns the
            gradients of all inputs.
        plain: function of tensors that autodiff can go through, as often as it likes.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _in_tensorflow(forward, backward, plain)
    if backend == "jax":
        return _in_jax(forward, backward, plain)
    return _in_torch(forward, backward, plain)


def _in_tensorflow(forward, backward, plain):
    import tensorflow as tf

    @tf.custom_gradient
    def first_order(upstream, inputs, residuals):
        def gradient(*upstreams):
            with tf.GradientTape() as outer:
                outer.watch((upstream, inputs))
                with tf.GradientTape() as inner:
                    inner.watch(inputs)
                    output = plain(*inputs)
                gradients = inner.gradient(output, inputs, upstream, tf.UnconnectedGradients.ZERO)
            dupstream, dinputs = outer.gradient(gradients, (upstream, inputs), upstreams, tf.UnconnectedGradients.ZERO)
            return dupstream, dinputs, tf.nest.map_structure(lambda _: None, residuals)

        return tuple(backward(upstream, inputs, residuals)), gradient

    @tf.custom_gradient
    def run(*inputs):
        output, residuals = forward(*inputs)
        return output, lambda upstream: first_order(upstream, inputs, residuals)

    return run


def _in_jax(forward, backward, plain):
    import jax

    def autodiff(upstream, inputs):
        return jax.vjp(plain, *inputs)[1](upstream)

    @jax.custom_vjp
    def first_order(upstream, inputs, residuals):
        return tuple(backward(upstream, inputs, residuals))

    first_order.defvjp(
        lambda *arguments: (first_order(*arguments), arguments[:2]),
        lambda arguments, upstreams: (*jax.vjp(autodiff, *arguments)[1](upstreams), None),
    )

    @jax.custom_vjp
    def keeping(*inputs):
        return forward(*inputs)

    @jax.custom_vjp
    def run(*inputs):
        return forward(*inputs)[0]

    def run_keeping(*inputs):
        # JAX differentiates this in turn for second order: not through `forward`, either.
        output, residuals = keeping(*inputs)
        return output, (inputs, residuals)

    def keep_twice(*inputs):
        output, residuals = keeping(*inputs)
        return (output, residuals), (inputs, residuals)

    keeping.defvjp(keep_twice, lambda residuals, upstreams: first_order(upstreams[0], *residuals))
    run.defvjp(run_keeping, lambda residuals, upstream: first_order(upstream, *residuals))
    return run


def _in_torch(forward, backward, plain):
    # A module of its own: torch.compile goes through a class that is there, not through one that is made on the way.
    from keras_frnn.backend.torch_function import CustomGradient

    return lambda *inputs: CustomGradient.apply(forward, backward, plain, *inputs)
