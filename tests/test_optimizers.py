import keras
import numpy as np
import pytest

from keras_frnn import models, optimizers


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


SHAPES = {"tall": (3, 3, 4, 8), "wide": (1, 1, 4, 8), "on_pixels": (3, 3, 1, 8), "dense": (4, 8), "bias": (8,)}


def muon_steps(optimizer, gradients, shapes):
    """The variables, which begin at zero, after each step."""
    variables = [keras.Variable(np.zeros(shape, "float32")) for shape in shapes]
    for step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(gradient) for gradient in step], variables)
        yield [keras.ops.convert_to_numpy(variable) for variable in variables]


def newton_schulz(matrix):
    """Jordan's iteration on the singular values, which leaves the singular vectors as they are."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.linalg.norm(values)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return (left * values) @ right


def test_muon_takes_kernels_as_matrices_and_leaves_the_rest_to_adam():
    generator = np.random.default_rng(0)
    gradients = [[generator.normal(size=shape).astype("float32") for shape in SHAPES.values()] for _ in range(3)]
    steps = muon_steps(optimizers.ConvMuon(0.01), gradients, SHAPES.values())
    adam = muon_steps(keras.optimizers.Adam(0.01), gradients, SHAPES.values())
    expected, momentums = [0, 0], [0, 0]
    for step, found, adams in zip(gradients, steps, adam, strict=True):
        for i, gradient in enumerate(step[:2]):
            matrix = gradient.reshape(-1, 8).astype("float64")
            momentums[i] = 0.95 * momentums[i] + matrix
            update = newton_schulz(matrix + 0.95 * momentums[i])
            expected[i] = expected[i] - 0.01 * 0.2 * max(matrix.shape) ** 0.5 * update
            np.testing.assert_allclose(found[i].reshape(matrix.shape), expected[i], atol=2e-6)
        for one, other in zip(found[2:], adams[2:], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not hasattr(keras.optimizers, "Muon"), reason="this Keras has no Muon")
def test_muon_of_a_kernel_is_stock_muon_of_its_matrix():
    gradients = [[gradient] for gradient in np.random.default_rng(0).normal(size=(4, 3, 3, 4, 8)).astype("float32")]
    stock = keras.optimizers.Muon(0.01, weight_decay=0, adam_weight_decay=0)
    matrices = muon_steps(stock, [[step[0].reshape(36, 8)] for step in gradients], [(36, 8)])
    kernels = muon_steps(optimizers.ConvMuon(0.01), gradients, [(3, 3, 4, 8)])
    for (kernel,), (matrix,) in zip(kernels, matrices, strict=True):
        np.testing.assert_allclose(kernel.reshape(36, 8), matrix, atol=1e-6)


def test_training_with_muon_goes_on_after_saving(tmp_path):
    generator = np.random.default_rng(0)
    frames = generator.uniform(-1, 1, (2, 4, 8, 8, 1)).astype("float32")
    model = models.FoldedRNN.from_topology([("conv", 2, 3), ("recurrent", 3, 3)], horizon=2)
    model.compile(optimizers.ConvMuon(1e-2, rms=0.1, global_clipnorm=1.0), "mse")
    model.fit(frames[:, :2], frames[:, 2:], epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.get_config() == model.optimizer.get_config()
    one, other = (n.fit(frames[:, :2], frames[:, 2:], epochs=2, verbose=0).history["loss"] for n in (model, loaded))
    np.testing.assert_allclose(one, other, rtol=1e-5)
    assert one[1] < one[0]


@pytest.mark.parametrize(("warm_up", "cooldown"), [(0, 1.0), (7, 0.3), (7, 0.0), (100, 1.0)])
def test_rate_rises_stays_and_falls(warm_up, cooldown):
    schedule = optimizers.WarmUpAndCosine(2e-3, 40, warm_up, cooldown)
    steps = np.arange(45)
    rates = [float(schedule(keras.ops.convert_to_tensor(step))) for step in steps]
    over = np.clip((steps - (1 - cooldown) * 40) / (cooldown * 40), 0, 1) if cooldown else 0 * steps
    expected = 2e-3 * np.minimum(1, (steps + 1) / max(warm_up, 1)) * (0.02 + 0.49 * (1 + np.cos(np.pi * over)))
    np.testing.assert_allclose(rates, expected, rtol=1e-5)
    if (warm_up, cooldown) == (0, 1.0):
        stock = keras.optimizers.schedules.CosineDecay(2e-3, 40, alpha=0.02)
        np.testing.assert_allclose(rates, [float(stock(step)) for step in steps], rtol=1e-5)


def test_rate_is_saved_and_goes_on(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(optimizers.WarmUpAndCosine(1.0, 10, 3, 0.5)), "mse")
    model.fit(np.ones((2, 1)), np.ones((2, 1)), batch_size=1, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert float(loaded.optimizer.learning_rate) == pytest.approx(1.0)  # Of the third step.
    with pytest.raises(ValueError, match=r"from 0 to 1. Received: cooldown=2"):
        optimizers.WarmUpAndCosine(1.0, 10, cooldown=2)


@pytest.mark.parametrize("kind", [optimizers.TF1RMSprop, optimizers.ConvMuon])
def test_steps_with_a_scaled_loss_are_those_without(kind):
    """As `fit` takes them with mixed_float16: by `stateless_apply` on JAX, where Keras' own `apply` keeps a tracer."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(size=(8, 4, 4, 2)).astype("float32")
    outputs = inputs.sum(-1, keepdims=True)

    def trained(scaled):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.layers.Conv2D(3, 2, padding="same"), keras.layers.Dense(1)])
        optimizer = kind(1e-2)
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=4.0, dynamic_growth_steps=2)
        model.compile(optimizer, "mse")
        model.fit(inputs, outputs, batch_size=4, epochs=3, shuffle=False, verbose=0)
        return [keras.ops.convert_to_numpy(weight) for weight in model.weights]

    for found, expected in zip(trained(True), trained(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
