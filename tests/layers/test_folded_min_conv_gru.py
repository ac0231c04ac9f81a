"""The minimal layer against its equations, step by step in NumPy and in float64."""

import gradients
import keras
import numpy as np
import pytest
from keras import ops

from keras_frnn import layers, models
from keras_frnn.layers import layout

SHAPE = (2, 5, 6, 8, 3)


def video(shape=SHAPE, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def array(tensor):
    return ops.convert_to_numpy(tensor)


def built(filters=4, kernel_size=(3, 5), **kwargs):
    layer = layers.FoldedMinConvGRU(filters, kernel_size, **kwargs)
    layer.build_both_directions(SHAPE)
    generator = np.random.default_rng(1)
    layer.set_weights([generator.normal(0, 0.4, w.shape).astype("float32") for w in layer.get_weights()])
    return layer


def convolved(x, kernel):
    """A "same" convolution of `(batch, height, width, channels)` in float64."""
    (kh, kw), (height, width) = kernel.shape[:2], x.shape[1:3]
    padded = np.pad(np.float64(x), [(0, 0), ((kh - 1) // 2, kh // 2), ((kw - 1) // 2, kw // 2), (0, 0)])
    return sum(
        padded[:, row : row + height, column : column + width] @ np.float64(kernel[row, column])
        for row in range(kh)
        for column in range(kw)
    )


def update(cell, h, x):
    z, c = np.split(convolved(x, array(cell.kernel)) + array(cell.bias), 2, axis=-1)
    z, c = 1 / (1 + np.exp(-z)), np.tanh(c)
    return z * c + (1 - z) * h


def iterated(cell, h, sequence):
    states = []
    for x in sequence:
        h = update(cell, h, x)
        states.append(h)
    return np.stack(states)


@pytest.mark.parametrize("remat", [False, True])
@pytest.mark.parametrize(("kernel_size", "upsampling"), [((3, 5), (1, 1)), ((5, 5), (2, 2)), ((2, 3), (1, 2))])
def test_both_directions_compute_the_equations(kernel_size, upsampling, remat):
    layer = built(kernel_size=kernel_size)
    sequence = layout.to_sequence(video(), "channels_last")
    outputs, (i, o) = layer.encode(ops.convert_to_tensor(sequence), remat=remat)
    start = np.broadcast_to(array(layer.initial_output_state), (2, 6, 8, 4))
    expected = iterated(layer.encoder, start, array(sequence))
    np.testing.assert_allclose(array(outputs), expected, rtol=0, atol=2e-6)
    np.testing.assert_allclose(array(o), expected[-1], rtol=0, atol=2e-6)
    np.testing.assert_array_equal(array(i), array(sequence)[-1])

    above = video((7, 2, 6 // upsampling[0], 8 // upsampling[1], 4), seed=2)
    frames = layer.decode(ops.convert_to_tensor(above), (i, o), upsampling, remat=remat)
    expected = iterated(layer.decoder, array(i), above.repeat(upsampling[0], axis=2).repeat(upsampling[1], axis=3))
    np.testing.assert_allclose(array(frames), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("steps", [1, 4])
def test_rollout_alternates_the_updates(steps):
    layer = built()
    i, o = video((2, 6, 8, 3)), video((2, 6, 8, 4), seed=3)
    computed = array(layer.rollout((ops.convert_to_tensor(i), ops.convert_to_tensor(o)), steps))
    expected = [update(layer.decoder, i, o)]
    for _ in range(steps - 1):
        o = update(layer.encoder, o, expected[-1])
        expected.append(update(layer.decoder, expected[-1], o))
    np.testing.assert_allclose(computed, np.stack(expected), rtol=0, atol=2e-6)


def test_weights():
    layer = layers.FoldedMinConvGRU(4, (3, 5), kernel_initializer=keras.initializers.GlorotUniform(seed=1))
    layer.build_both_directions(SHAPE)
    shapes = {name: tuple(w.shape) for name, w in ((w.path.split("/", 1)[1], w) for w in layer.weights)}
    assert shapes == {
        "initial_output_state": (4,),
        "encoder/kernel": (3, 5, 3, 8),
        "encoder/bias": (8,),
        "decoder/kernel": (3, 5, 4, 6),
        "decoder/bias": (6,),
    }
    np.testing.assert_array_equal(array(layer.encoder.bias), [-2] * 4 + [0] * 4)
    np.testing.assert_array_equal(array(layer.decoder.bias), [-2] * 3 + [0] * 3)
    gates = [gate for cell in (layer.encoder, layer.decoder) for gate in np.split(array(cell.kernel), 2, axis=-1)]
    assert len({gate.tobytes() for gate in gates}) == 4
    for gate, inputs, outputs in zip(gates, (3, 3, 4, 4), (4, 4, 3, 3), strict=True):
        limit = np.sqrt(6 / (15 * (inputs + outputs)))
        assert 0.9 * limit < np.abs(gate).max() <= limit


class Network(keras.Model):
    """Encoding and decoding, of this layer or of its equations step by step, left to the backend to differentiate."""

    def __init__(self, layer, remat=None):
        super().__init__()
        self.layer, self.remat = layer, remat

    def call(self, frames):
        sequence = layout.to_sequence(ops.convert_to_tensor(frames), "channels_last")
        if self.remat is not None:
            outputs, state = self.layer.encode(sequence, remat=self.remat)
            return layout.from_sequence(
                self.layer.decode(outputs[:, :, ::2, ::2], state, (2, 2), remat=self.remat), "channels_last"
            )
        encoder, decoder = self.layer.encoder, self.layer.decoder
        o = ops.broadcast_to(self.layer.initial_output_state, (*sequence.shape[1:4], self.layer.filters))
        i, outputs, decoded = sequence[-1], [], []
        for x in ops.unstack(sequence):
            o = encoder.make_transition()(o, encoder.make_projection()(x))
            outputs.append(o)
        for y in outputs:
            i = decoder.make_transition()(i, decoder.make_projection((2, 2))(y[:, ::2, ::2]))
            decoded.append(i)
        return layout.from_sequence(ops.stack(decoded), "channels_last")


@pytest.mark.parametrize("remat", [False, True])
def test_gradients(remat):
    layer = built(kernel_size=5)
    model, reference = Network(layer, remat), Network(layer)
    for network in (model, reference):
        network.build(SHAPE)
    loss, computed = gradients.of_l1_loss(model, video(), video(seed=4))
    expected_loss, expected = gradients.of_l1_loss(reference, video(), video(seed=4))
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-6)
    assert set(computed) == set(expected)
    for name, gradient in expected.items():
        assert np.abs(gradient).max() > 0
        np.testing.assert_allclose(computed[name], gradient, rtol=0, atol=1e-5 * np.abs(gradient).max(), err_msg=name)


def test_network_streams_is_cut_and_learns_in_every_weight():
    stack = [layers.FoldedMinConvGRU(4, 3), layers.FoldedMaxPooling2D(2), layers.FoldedMinConvGRU(5, 3)]
    model = models.FoldedRNN(stack, horizon=3)
    frames = video((2, 4, 8, 12, 1))
    whole = model.forecast(frames)
    state = None
    for first, last in ((0, 1), (1, 4)):
        state = model.encode(frames[:, first:last], state)
    np.testing.assert_allclose(array(model.decode(state)), whole, rtol=0, atol=2e-6)
    assert model.depths == [1, 3]
    assert model.truncate(1).forecast(video((1, 2, 7, 9, 1))).shape == (1, 3, 7, 9, 1)
    before = {v.path: array(v).copy() for v in model.trainable_variables}
    model.compile(keras.optimizers.SGD(1.0), "mae")
    model.fit(frames, video((2, 3, 8, 12, 1)), verbose=0)
    assert [path for path, value in before.items() if np.array_equal(value, array(_variable(model, path)))] == []


def _variable(model, path):
    return next(v for v in model.trainable_variables if v.path == path)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    full = built(return_sequences=True)
    half = built(return_sequences=True, dtype=policy)
    outputs = half(video())
    assert keras.backend.standardize_dtype(outputs.dtype) == half.compute_dtype
    np.testing.assert_allclose(array(ops.cast(outputs, "float32")), array(full(video())), rtol=0, atol=0.03)
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in half.weights} == {"float32"}
