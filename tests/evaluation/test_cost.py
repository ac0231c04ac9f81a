import keras
import numpy as np
import pytest

from keras_frnn import evaluation, models

FRAME = (64, 64, 1)


def paper(family):
    model = family.from_topology(models.PAPER_TOPOLOGY, horizon=10, kernel_initializer="zeros")
    return evaluation.cost(model, FRAME, context=10, horizon=10)


def test_cost_of_the_paper_topology():
    frnn, rladder = paper(models.FoldedRNN), paper(models.LadderRNN)
    assert round(frnn.macs / 1e9) == 194
    assert round(rladder.macs / 1e9) == 540
    assert rladder.macs / frnn.macs == pytest.approx(2.8, abs=0.05)
    # Input and output state of each recurrent layer in float32.
    states = [(32, 64 + 128), (32, 256), (16, 128 + 256), (16, 512), (8, 256 + 512), (8, 1024), (4, 768), (4, 512)]
    assert frnn.state_bytes == rladder.state_bytes == 4 * sum(size**2 * channels for size, channels in states)


def multiplications(layer, inputs):
    """Products in a stock convolution: one per kernel entry at each output position."""
    outputs = layer(inputs)
    return np.prod(outputs.shape[1:3]) * np.prod(layer.kernel.shape)


def test_counts_like_stock_convolutions():
    model = models.FoldedRNN.from_topology([("conv", 3, 5), ("pool", 2), ("recurrent", 4, 3)], horizon=3)
    cost = evaluation.cost(model, (8, 12, 2), context=5, horizon=3)
    convolution = multiplications(keras.layers.Conv2D(3, 5, padding="same"), np.zeros((1, 8, 12, 2)))
    # Three gates over the concatenated input and state.
    encoder = 3 * multiplications(keras.layers.Conv2D(4, 3, padding="same"), np.zeros((1, 4, 6, 3 + 4)))
    decoder = 3 * multiplications(keras.layers.Conv2D(3, 3, padding="same"), np.zeros((1, 4, 6, 4 + 3)))
    assert cost.encode_macs == 5 * (convolution + encoder)
    assert cost.decode_macs == 3 * (convolution + decoder) + 2 * encoder
    assert cost.weights == model.count_params()
    assert cost.training_step_seconds is None


def test_minimal_updates_cost_a_third():
    model = models.FoldedRNN.from_topology(models.MINIMAL_TOPOLOGY, horizon=10, kernel_initializer="zeros")
    cost = evaluation.cost(model, FRAME, context=10, horizon=10)
    assert round(cost.macs / 1e9) == 65
    # Two gates in two directions; two convolutions.
    layers = [(5, 64, 128), (5, 128, 128), (5, 128, 256), (5, 256, 256), (3, 256, 512), (3, 512, 512), (3, 512, 256)]
    kernels = sum(4 * side**2 * inputs * filters for side, inputs, filters in [*layers, (3, 256, 256)])
    assert 0 < cost.weights - kernels - 25 * (32 + 32 * 64) < 0.001 * kernels
    assert cost.weights == model.count_params()


def test_counts_minimal_updates_like_stock_convolutions():
    model = models.FoldedRNN.from_topology([("pool", 2), ("minimal", 4, 3)], horizon=3)
    cost = evaluation.cost(model, (8, 12, 2), context=5, horizon=3)
    encoder = 2 * multiplications(keras.layers.Conv2D(4, 3, padding="same"), np.zeros((1, 4, 6, 2)))
    decoder = 2 * multiplications(keras.layers.Conv2D(2, 3, padding="same"), np.zeros((1, 4, 6, 4)))
    assert (cost.encode_macs, cost.decode_macs) == (5 * encoder, 3 * decoder + 2 * encoder)
    assert cost.state_bytes == 4 * 4 * 6 * (2 + 4)


def test_counts_the_stock_conv_lstm():
    model = models.ConvLSTMForecaster(horizon=3, filters=(4, 2), kernel_size=3, patch_size=2)
    cost = evaluation.cost(model, (8, 12, 1), context=5, horizon=3)
    pixels = 4 * 6
    encoder = 9 * 4 * ((4 + 4) * 4 + (4 + 2) * 2)
    forecaster = 9 * 4 * ((1 + 2) * 2 + (2 + 4) * 4) + (4 + 2) * 4
    assert (cost.encode_macs, cost.decode_macs) == (5 * pixels * encoder, 3 * pixels * forecaster)
    assert cost.weights == model.count_params()


@pytest.mark.parametrize("family", [models.FoldedRNN, models.LadderRNN])
def test_measuring_does_not_change_the_model(family):
    model = family.from_topology([("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3)], horizon=2)
    model.build((None, None, 8, 8, 1))
    before = [np.array(keras.ops.convert_to_numpy(weight)) for weight in model.weights]
    cost = evaluation.cost(model, (8, 8, 1), context=2, horizon=3, batch_size=2, repeats=2)
    assert 0 < cost.forecast_seconds < 60
    assert 0 < cost.training_step_seconds < 60
    assert cost.peak_memory_bytes > 50e6
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), old)


def test_other_models():
    with pytest.raises(ValueError, match="Expected a model that has layers"):
        evaluation.cost(models.CopyLastFrame(3), FRAME, 10, 10)


@pytest.mark.parametrize(("dtype", "size"), [("float16", 2), ("bfloat16", 2), ("float32", 4), ("float64", 8)])
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")  # JAX computes in float32 unless told.
def test_states_of_every_dtype(dtype, size):
    topology = [("conv", 3, 3), ("pool", 2), ("recurrent", 4, 3), ("recurrent", 5, 3)]
    for family in (models.FoldedRNN, models.LadderRNN):
        model = family.from_topology(topology, horizon=2, dtype=dtype, kernel_initializer="zeros")
        numbers = 4 * 6 * (3 + 4 + 4 + 5)
        assert evaluation.cost(model, (8, 12, 1), context=2, horizon=2).state_bytes == size * numbers
    # Mixed precision, since Torch cannot draw ConvLSTM2D's orthogonal kernels in 16 bits.
    policy = f"mixed_{dtype}" if size == 2 else dtype
    model = models.ConvLSTMForecaster(horizon=2, filters=(4, 2), kernel_size=3, patch_size=2, dtype=policy)
    assert evaluation.cost(model, (8, 12, 1), 2, 2).state_bytes == size * 4 * 6 * 2 * (4 + 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(frame_shape=(8, 8)), "`frame_shape` must be .*3 of them"),
        (dict(context=0), "Received: context=0"),
        (dict(horizon=1.5), "Received: horizon=1.5"),
        (dict(batch_size=-1), "Received: batch_size=-1"),
        (dict(batch_size=1, repeats=0), "Received: repeats=0"),
    ],
)
def test_sizes(arguments, message):
    model = models.FoldedRNN.from_topology([("recurrent", 2, 3)], horizon=2)
    with pytest.raises(ValueError, match=message):
        evaluation.cost(model, **{"frame_shape": FRAME, "context": 2, "horizon": 2, **arguments})
