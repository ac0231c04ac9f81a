"""Networks of other papers: sizes and arithmetic as published, and what every model here can do."""

import math

import keras
import numpy as np
import pytest

from keras_frnn import datasets, evaluation, models
from keras_frnn.models.load_network import load_network

MAKE = {
    "PredRNN": lambda **kwargs: models.PredRNN(filters=(4, 4), kernel_size=3, patch_size=2, **kwargs),
    "SimVP": lambda **kwargs: models.SimVP(
        context=3, filters=4, hidden_filters=6, encoder_layers=2, blocks=3, **kwargs
    ),
    "StackedConvLSTM": lambda **kwargs: models.StackedConvLSTM(filters=(4, 3), kernel_size=3, patch_size=2, **kwargs),
}
each_peer = pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)


def video(batch=2, time=3, size=(8, 12), channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (batch, time, *size, channels)).astype("float32")


@pytest.mark.once
@pytest.mark.parametrize(
    ("make", "millions", "gmac"),
    [
        # The published 15.0 million weights of ConvLSTM-S include a 5x5 kernel from 2 x 128 to 128 channels per layer
        # that no equation uses: 3.3 million.
        (models.StackedConvLSTM, 15.0 - 4 * 25 * 256 * 128 / 1e6, 56.8),
        (models.PredRNN, 23.8, 116.0),
        (models.SimVP, 46.8, 16.5),
    ],
)
def test_sizes_are_those_published(make, millions, gmac):
    cost = evaluation.cost(make(horizon=10), (64, 64, 1), 10, 10)
    assert abs(cost.weights / 1e6 - millions) < 0.1
    assert abs(cost.macs / 1e9 - gmac) < 0.01 * gmac


def test_pred_rnn_is_its_equations():
    """With kernels of one pixel, whose convolutions are products with matrices."""
    model = models.PredRNN(horizon=3, filters=(3, 3), kernel_size=1, patch_size=1)
    context = video()
    model.build((None, *context.shape[1:]))
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(0, 0.5, weight.shape) for weight in model.weights])

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def matrix(layer):
        return keras.ops.convert_to_numpy(layer.kernel)[0, 0]

    def gates(tensor, count):
        return np.split(tensor, count, axis=-1)

    zeros = np.zeros((*context[:, 0].shape[:-1], 3))
    hidden, cells, memory, expected = [zeros] * 2, [zeros] * 2, zeros, []
    for t in range(5):
        x = context[:, t] if t < 3 else expected[-1]
        for index, cell in enumerate(model.cells):
            from_x = gates(x @ matrix(cell.of_inputs) + keras.ops.convert_to_numpy(cell.of_inputs.bias), 7)
            from_h, from_m = gates(hidden[index] @ matrix(cell.of_hidden), 4), gates(memory @ matrix(cell.of_memory), 3)
            i, f, g = (a + b for a, b in zip(from_x[:3], from_h[:3], strict=True))
            cells[index] = sigmoid(f) * cells[index] + sigmoid(i) * np.tanh(g)
            i, f, g = (a + b for a, b in zip(from_x[3:6], from_m, strict=True))
            memory = sigmoid(f) * memory + sigmoid(i) * np.tanh(g)
            both = np.concatenate([cells[index], memory], axis=-1)
            o = sigmoid(from_x[6] + from_h[3] + both @ matrix(cell.of_cells))
            x = hidden[index] = o * np.tanh(both @ matrix(cell.projection))
        if t >= 2:
            bias = keras.ops.convert_to_numpy(model.readout.bias)
            expected.append(np.tanh(x @ matrix(model.readout) + bias))
    np.testing.assert_allclose(model.forecast(context), np.stack(expected, 1), atol=1e-5)


def test_forget_gates_of_pred_rnn_begin_open():
    model = MAKE["PredRNN"](horizon=2)
    model.build((None, 3, 8, 12, 2))
    bias = keras.ops.convert_to_numpy(model.cells[1].of_inputs.bias).reshape(7, 4)
    np.testing.assert_array_equal(bias, np.array([0, 1, 0, 0, 1, 0, 0])[:, None] * np.ones(4))


def test_a_block_of_sim_vp_is_its_equations():
    """On an image of one pixel, of which kernels see their middle."""
    model = MAKE["SimVP"](horizon=3)
    model.build((None, 3, 2, 2, 1))
    block = model.translator[0]
    generator = np.random.default_rng(1)
    for weight in block.weights:
        weight.assign(generator.uniform(0.2, 1, weight.shape))

    def numpy(weight):
        return keras.ops.convert_to_numpy(weight).astype("float64")

    def apply(layer, x):
        kernel = numpy(layer.kernel)
        middle = kernel[kernel.shape[0] // 2, kernel.shape[1] // 2]
        x = x * middle[:, 0] if isinstance(layer, keras.layers.DepthwiseConv2D) else x @ middle
        return x + numpy(layer.bias) if layer.use_bias else x

    def norm(layer, x):
        deviation = np.sqrt(numpy(layer.moving_variance) + 1e-5)
        return numpy(layer.gamma) * (x - numpy(layer.moving_mean)) / deviation + numpy(layer.beta)

    def gelu(x):
        return x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))

    x = given = generator.normal(size=(2, block.inputs))
    y = norm(block.norms[0], x)
    f, g = np.split(apply(block.gate, apply(block.far, apply(block.near, gelu(apply(block.before_gate, y))))), 2, -1)
    x = x + apply(block.scales[0], apply(block.after_gate, f / (1 + np.exp(-g))) + y)
    y = apply(block.expand, norm(block.norms[1], x))
    x = x + apply(block.scales[1], apply(block.contract, gelu(apply(block.mix, y))))
    found = block(given[:, None, None].astype("float32"))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found)[:, 0, 0], apply(block.projection, x), rtol=1e-4, atol=1e-4
    )


@each_peer
def test_learns_forecasts_and_saves(make, tmp_path):
    model, context = make(horizon=3), video()
    moving = np.stack([np.roll(context[:, 0], t, axis=2) for t in range(6)], axis=1)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    errors = model.fit(moving[:, :3], moving[:, 3:], epochs=25, verbose=0).history["loss"]
    assert errors[-1] < 0.8 * errors[0]
    # For more steps than the horizon, it goes on from its own predictions. Sequences do not mix.
    expected, longer = model.forecast(context), model.forecast(context[::-1], 6)[::-1]
    assert longer.shape == (2, 6, 8, 12, 2)
    np.testing.assert_allclose(longer[:, :3], expected, atol=1e-5)
    seen = expected if isinstance(model, models.SimVP) else np.concatenate([context, expected], axis=1)
    np.testing.assert_allclose(longer[:, 3:], model.forecast(seen), atol=1e-5)
    model.save(tmp_path / "model.keras")
    model.save_to_preset(tmp_path / "preset")
    np.testing.assert_allclose(load_network(tmp_path / "model.keras").forecast(context), expected, atol=1e-5)
    rounded = load_network(tmp_path / "preset")
    for weight, saved in zip(model.weights, rounded.weights, strict=True):
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (saved, weight)), rtol=1e-3, atol=1e-6)


@pytest.mark.once
@each_peer
def test_channels_first_equals_channels_last(make):
    last, first, context = make(horizon=2), make(horizon=2, data_format="channels_first"), video()
    expected = last.forecast(context)
    first(np.moveaxis(context, -1, 2))
    first.set_weights([keras.ops.convert_to_numpy(weight) for weight in last.weights])
    np.testing.assert_allclose(np.moveaxis(first.forecast(np.moveaxis(context, -1, 2)), 2, -1), expected, atol=1e-5)


@pytest.mark.once
@each_peer
def test_in_mixed_precision(make):
    model = make(horizon=2, dtype="mixed_bfloat16")
    assert np.isfinite(model.forecast(video())).all()
    model.compile("adam", "mse")
    assert np.isfinite(model.fit(video(), video()[:, :2], verbose=0).history["loss"][0])


@pytest.mark.once
def test_scores_and_cost_of_all_side_by_side():
    test = datasets.moving_mnist("test", "mnist-5k", size=32, batch_size=2, sequences=4, context=3, horizon=3)
    peers = {name: make(horizon=3) for name, make in MAKE.items()}
    scores = evaluation.evaluate(peers, test)
    assert set(MAKE) <= set(scores.values)
    for model in peers.values():
        cost = evaluation.cost(model, (32, 32, 1), 3, 3, batch_size=1, repeats=1)
        assert cost.macs > 0
        assert cost.forecast_seconds > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: models.SimVP(2, context=0), "`context` must be a positive integer"),
        (lambda: models.SimVP(2, filters=3), "`filters` must be even"),
        (lambda: models.SimVP(2, blocks=1), "`blocks` must be 2 or more"),
        (lambda: models.PredRNN(2, filters=(4, 5)), "all have the same number of `filters`"),
        (lambda: models.PredRNN(2, kernel_size=0), "`kernel_size` must be a positive integer"),
        (lambda: models.StackedConvLSTM(2, filters=(0,)), "`filters` must be a positive integer"),
        (lambda: MAKE["SimVP"](horizon=2).forecast(video(size=(8, 9))), r"multiples of 2 \*\* \(encoder_layers // 2\)"),
        (lambda: MAKE["SimVP"](horizon=2).forecast(video(time=4)), "This SimVP takes 3 frames"),
        (lambda: MAKE["PredRNN"](horizon=2).forecast(video(size=(8, 9))), "multiples of patch_size=2"),
    ],
)
def test_what_does_not_fit(make, message):
    with pytest.raises(ValueError, match=message):
        make()
