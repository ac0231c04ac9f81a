import keras
import numpy as np

from keras_frnn import optimizers


def test_ten_steps_are_those_of_the_formula():
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(3, 4)).astype("float32")
    # As those of frames: most are small beside Keras' epsilon.
    gradients = (generator.normal(size=(10, 3, 4)) * 10.0 ** generator.integers(-6, 1, size=(3, 4))).astype("float32")
    variable = keras.Variable(weights)
    optimizer = optimizers.TF1RMSprop(1e-2)
    expected, mean_square = weights.astype("float64"), np.ones((3, 4))
    for step, gradient in enumerate(gradients.astype("float64")):
        optimizer.apply([keras.ops.convert_to_tensor(gradients[step])], [variable])
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        expected = expected - 1e-2 * gradient / np.sqrt(mean_square + 1e-10)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(variable), expected, rtol=1e-6, atol=1e-7)
    config = keras.optimizers.serialize(optimizer)
    assert keras.optimizers.deserialize(config).get_config() == optimizer.get_config()


def test_steps_with_a_scaled_loss_are_those_without():
    """As `fit` takes them with mixed_float16: by `stateless_apply` on JAX, where Keras' own `apply` keeps a tracer."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(8, 4)).astype("float32")
    outputs = inputs.sum(1, keepdims=True)

    def trained(scaled):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(1)])
        optimizer = optimizers.TF1RMSprop(1e-2)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=4.0, dynamic_growth_steps=2)
        model.compile(optimizer, "mse")
        model.fit(inputs, outputs, batch_size=4, epochs=3, shuffle=False, verbose=0)
        return [keras.ops.convert_to_numpy(weight) for weight in model.weights]

    for found, expected in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
