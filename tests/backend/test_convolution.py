"""Convolutions that save arithmetic, and gradients written by hand, against plain ones."""

import gradients
import keras
import numpy as np
import pytest
from keras import ops

from keras_frnn import backend, layers
from keras_frnn.backend import engine
from keras_frnn.layers import layout


def array(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (5, 5), (2, 2), (4, 3), (5, 2)])
@pytest.mark.parametrize("factors", [(1, 1), (2, 2), (1, 2), (3, 2), (4, 4)])
def test_upsampled_convolution(kernel_size, factors):
    x, kernel = array(2, 5, 4, 3), array(*kernel_size, 3, 6)
    conv = keras.layers.Conv2D(6, kernel_size, padding="same", use_bias=False, data_format="channels_last")
    conv.build(x.shape)
    conv.set_weights([kernel])
    expected = conv(x.repeat(factors[0], axis=1).repeat(factors[1], axis=2))
    result = backend.upsampled_conv(ops.convert_to_tensor(x), ops.convert_to_tensor(kernel), factors)
    np.testing.assert_allclose(ops.convert_to_numpy(result), ops.convert_to_numpy(expected), rtol=0, atol=2e-5)


@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (5, 5), (4, 3)])
@pytest.mark.parametrize("factors", [(1, 1), (2, 2), (1, 2), (3, 2)])
def test_gradients_of_upsampled_convolution(kernel_size, factors):
    # The convolution is linear in either argument: the products of its output are those of the argument.
    x, kernel = array(2, 5, 4, 3), array(*kernel_size, 3, 6)
    gradient = array(2, 5 * factors[0], 4 * factors[1], 6)

    def product(x, kernel):
        y = backend.upsampled_conv(ops.convert_to_tensor(x), ops.convert_to_tensor(kernel), factors)
        return np.sum(ops.convert_to_numpy(y) * gradient, dtype="float64")

    tensors = [ops.convert_to_tensor(part) for part in (x, kernel)]
    dx, dkernel = backend.upsampled_conv_gradients(*tensors, factors, ops.convert_to_tensor(gradient))
    for other in (array(2, 5, 4, 3)[::-1], array(2, 5, 4, 3)[:, ::-1]):
        expected = product(other.copy(), kernel)
        np.testing.assert_allclose(np.sum(other * ops.convert_to_numpy(dx), dtype="float64"), expected, atol=1e-3)
    for other in (array(*kernel_size, 3, 6)[..., ::-1], array(*kernel_size, 3, 6)[..., ::-1, :]):
        expected = product(x, other.copy())
        np.testing.assert_allclose(np.sum(other * ops.convert_to_numpy(dkernel), dtype="float64"), expected, atol=1e-3)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="other backends take all frames at once")
@pytest.mark.parametrize(("cached", "cached_by_all", "parts"), [(1, 600, 7), (300, 600, 3), (300, 700, 1)])
def test_gradient_of_a_kernel_from_parts_of_the_frames(cached, cached_by_all, parts, monkeypatch):
    x, gradient = (ops.convert_to_tensor(array(7, 5, 4, channels)) for channels in (3, 2))
    expected = backend.kernel_gradient(x, gradient, (3, 3))
    calls, original = [], engine._conv
    monkeypatch.setattr(engine, "_conv", lambda *inputs: calls.append(inputs) or original(*inputs))
    monkeypatch.setattr(engine, "_CACHED_VALUES", cached)
    monkeypatch.setattr(engine, "_CACHED_BY_ALL", cached_by_all)
    result = backend.kernel_gradient(x, gradient, (3, 3))
    assert len(calls) == parts
    np.testing.assert_allclose(ops.convert_to_numpy(result), ops.convert_to_numpy(expected), rtol=0, atol=1e-5)


def test_a_5x5_kernel_becomes_four_of_3x3(monkeypatch):
    shapes = []
    original = engine.same_conv
    monkeypatch.setattr(
        engine, "same_conv", lambda x, kernel: shapes.append(tuple(kernel.shape)) or original(x, kernel)
    )
    backend.upsampled_conv(ops.zeros((1, 4, 4, 2)), ops.zeros((5, 5, 2, 7)), (2, 2))
    assert shapes == [(3, 3, 2, 4 * 7)]


class Encoder(keras.Model):
    """A layer's encoding, with or without recomputation."""

    def __init__(self, layer, remat):
        super().__init__()
        self.layer, self.remat = layer, remat

    def call(self, video):
        sequence = layout.to_sequence(ops.convert_to_tensor(video), self.layer.data_format)
        return layout.from_sequence(self.layer.encode(sequence, remat=self.remat)[0], self.layer.data_format)


class WrittenOut(keras.Model):
    """A FoldedConvGRU's equations step by step, left to the backend to differentiate."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, video):
        sequence = layout.to_sequence(ops.convert_to_tensor(video), self.layer.data_format)
        update, project = self.layer.encoder.make_transition(), self.layer.encoder.make_projection()
        state = ops.broadcast_to(self.layer.initial_output_state, (*sequence.shape[1:4], self.layer.filters))
        states = []
        for t in range(sequence.shape[0]):
            state = update(state, project(sequence[t]))
            states.append(state)
        return layout.from_sequence(ops.stack(states), self.layer.data_format)


@pytest.mark.parametrize(
    ("kernel_size", "data_format", "remat"),
    [
        ((3, 3), "channels_last", True),
        ((5, 3), "channels_first", False),
        ((2, 2), "channels_last", False),
        ((1, 4), "channels_last", True),
    ],
)
def test_gradient_of_the_loop_over_time(kernel_size, data_format, remat):
    layer = layers.FoldedConvGRU(4, kernel_size, return_sequences=True, data_format=data_format)
    shape = (2, 5, 6, 7, 3) if data_format == "channels_last" else (2, 5, 3, 6, 7)
    layer.build(shape)
    model = Encoder(layer, remat)
    model.build(shape)
    layer.initial_output_state.assign(array(4) / 4)
    video, target = array(*shape), array(*layer.compute_output_shape(shape))
    loss, computed = gradients.of_l1_loss(model, video, target)
    reference = WrittenOut(layer)
    reference.build(shape)
    expected_loss, expected = gradients.of_l1_loss(reference, video, target)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    assert set(computed) == set(expected)
    for name, gradient in expected.items():
        assert np.abs(gradient).max() > 0
        np.testing.assert_allclose(computed[name], gradient, rtol=0, atol=1e-5 * np.abs(gradient).max(), err_msg=name)


class StockConvolutions(keras.Model):
    """States that come from each other by a convolution of Keras' own, which the backend differentiates."""

    def __init__(self, kernel_size):
        super().__init__()
        self.conv = keras.layers.Conv2D(3, kernel_size, padding="same", use_bias=False, data_format="channels_last")

    def build(self, shape):
        self.conv.build((shape[0], *shape[2:]))

    def states(self, sequence):
        states = [sequence[0]]
        for x in ops.unstack(sequence[1:]):
            states.append(ops.tanh(self.conv(states[-1]) + x))
        return ops.stack(states[1:])

    def call(self, video):
        return ops.swapaxes(self.states(ops.swapaxes(ops.convert_to_tensor(video), 0, 1)), 0, 1)


class ConvolutionsInALoop(StockConvolutions):
    def states(self, sequence):
        def step(state, x):
            return ops.tanh(backend.same_conv(state, self.conv.kernel) + x)

        return backend.scan(step, sequence[0], sequence[1:])[1]


@pytest.mark.parametrize("kernel_size", [(1, 1), (3, 3), (5, 3), (2, 4)])
def test_gradient_of_a_convolution_inside_of_a_loop(kernel_size):
    video, target = array(2, 5, 6, 7, 3), array(2, 4, 6, 7, 3)
    results = []
    for model in (StockConvolutions(kernel_size), ConvolutionsInALoop(kernel_size)):
        model.build(video.shape)
        model.conv.kernel.assign(array(*kernel_size, 3, 3) / 5)
        loss, values = gradients.of_l1_loss(model, video, target)
        results.append((loss, *values.values()))
    (expected_loss, expected), (loss, computed) = results
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize(("kernel_size", "remat"), [((3, 3), False), ((2, 3), True)])
def test_gradient_of_the_gradient(kernel_size, remat):
    layer = layers.FoldedConvGRU(3, kernel_size, return_sequences=True, data_format="channels_last")
    video = array(2, 3, 4, 5, 2)
    layer.build(video.shape)
    computed, expected = Encoder(layer, remat), WrittenOut(layer)
    for model in (computed, expected):
        model.build(video.shape)
    layer.initial_output_state.assign(array(3) / 4)
    expected = gradients.of_gradient_penalty(expected, video)
    computed = gradients.of_gradient_penalty(computed, video)
    assert computed.keys() == expected.keys()
    for name, gradient in expected.items():
        assert np.abs(gradient).max() > 0
        np.testing.assert_allclose(computed[name], gradient, rtol=0, atol=1e-4 * np.abs(gradient).max(), err_msg=name)


@pytest.mark.parametrize("size", [(2, 2), (1, 2), (3, 2)])
def test_gradient_of_max_pooling_goes_to_the_first_of_the_greatest(size):
    x = np.random.default_rng(0).integers(-2, 2, (3, 6, 8, 4)).astype("float32")
    upstream = array(3, 6 // size[0], 8 // size[1], 4)
    (computed,) = gradients.of_number(
        lambda x: ops.sum(ops.multiply(upstream, backend.max_pool(ops.convert_to_tensor(x), size))), [x]
    )
    expected = np.zeros_like(x)
    for image, row, column, channel in np.ndindex(*upstream.shape):
        top, left = row * size[0], column * size[1]
        block = x[image, top : top + size[0], left : left + size[1], channel]
        below, beside = np.unravel_index(np.argmax(block), size)
        expected[image, top + below, left + beside, channel] = upstream[image, row, column, channel]
    np.testing.assert_array_equal(ops.convert_to_numpy(computed), expected)
