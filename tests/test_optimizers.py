import keras
import numpy as np

from keras_frnn import optimizers


def test_ten_steps_follow_the_formula():
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(3, 4)).astype("float32")
    # Like the gradients of frames, most are small compared to Keras' epsilon.
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
