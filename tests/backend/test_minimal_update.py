"""Minimal updates against their definition, step by step in float64 NumPy, and finite differences of that."""

import gradients
import keras
import numpy as np
import pytest
from keras import ops

from keras_frnn import backend
from keras_frnn.backend import engine
from keras_frnn.layers.min_conv_gru_cell import minimal_update


def numbers(steps=5, shape=(2, 3, 1), filters=4, seed=0, shift=0.0):
    """A state, and what the gates see: those of the update moved by `shift`."""
    generator = np.random.default_rng(seed)
    x = generator.normal(0, 2, (steps, *shape, 2 * filters))
    x[..., :filters] += shift
    return generator.uniform(-1, 1, (*shape, filters)).astype("float32"), x.astype("float32")


def by_definition(h, x, mask=None):
    h, states = np.float64(h), []
    for t, step in enumerate(np.float64(x)):
        z, c = np.split(step, 2, axis=-1)
        z, c = 1 / (1 + np.exp(-z)), np.tanh(c)
        if mask is not None:
            z = z * mask[t]
        h = z * c + (1 - z) * h
        states.append(h)
    return np.stack(states)


def array(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


@pytest.fixture(params=["as here", "as on accelerators"])
def way(request, monkeypatch):
    if request.param == "as on accelerators":
        monkeypatch.setattr(engine, "_is_on_cpu", lambda: False, raising=False)  # JAX alone asks.


@pytest.mark.parametrize(("steps", "shift"), [(1, 0), (5, 0), (40, -4), (5, 20), (5, -20)])
def test_states(steps, shift, way):
    h, x = numbers(steps, shift=shift)
    states = backend.minimal_recurrence(ops.convert_to_tensor(h), ops.convert_to_tensor(x))
    np.testing.assert_allclose(array(states), by_definition(h, x), rtol=0, atol=1e-6)
    # The recurrence over all steps has an implementation of its own; this is the equation that readers see.
    first = minimal_update(ops.convert_to_tensor(h), ops.convert_to_tensor(x[0]))
    np.testing.assert_allclose(array(first), by_definition(h, x)[0], rtol=0, atol=1e-6)


def test_masked_steps_leave_the_state(way):
    h, x = numbers()
    mask = np.random.default_rng(1).uniform(size=(5, 2, 1, 1, 1)) < 0.5
    states = backend.minimal_recurrence(*map(ops.convert_to_tensor, (h, x, mask)))
    np.testing.assert_allclose(array(states), by_definition(h, x, mask), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [0, -4])
def test_gradients(shift, way):
    tensors, directions = numbers(shift=shift), numbers(seed=1)
    weights = np.random.default_rng(2).normal(size=(5, *tensors[0].shape)).astype("float32")

    by_hand = backend.minimal_recurrence_gradients(*map(ops.convert_to_tensor, (*tensors, weights)))
    by_autodiff = gradients.of_number(
        lambda *tensors: ops.sum(ops.multiply(weights, backend.minimal_recurrence(*tensors))), tensors
    )
    expected = gradients.finite_differences(lambda *x: np.sum(weights * by_definition(*x)), tensors, directions)
    for computed in (by_autodiff, by_hand):
        for gradient, direction, change in zip(computed, directions, expected, strict=True):
            np.testing.assert_allclose(np.sum(array(gradient) * direction), change, rtol=1e-4, atol=1e-4)


def test_gradients_of_gradients(way):
    tensors, directions, others = (numbers(steps=3, seed=seed) for seed in range(3))

    def change(*tensors, step=1e-3):
        """That of the sum of the cubes of the states along the directions."""
        ends = [
            np.sum(by_definition(*(x + sign * step * d for x, d in zip(tensors, directions, strict=True))) ** 3)
            for sign in (1, -1)
        ]
        return (ends[0] - ends[1]) / (2 * step)

    def by_backend(*tensors):
        inner = gradients.inside(lambda *tensors: ops.sum(backend.minimal_recurrence(*tensors) ** 3), tensors)
        return sum(ops.sum(ops.multiply(direction, g)) for direction, g in zip(directions, inner, strict=True))

    computed = gradients.of_number(by_backend, tensors)
    expected = gradients.finite_differences(change, tensors, others, step=1e-3)
    for gradient, direction, expected_change in zip(computed, others, expected, strict=True):
        np.testing.assert_allclose(np.sum(array(gradient) * direction), expected_change, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("dtype", "error"), [("bfloat16", 0.02), ("float16", 0.003)])
@pytest.mark.parametrize("shift", [-4, 0, 4])
def test_sixteen_bits(dtype, error, shift, way):
    h, x = (ops.cast(ops.convert_to_tensor(part), dtype) for part in numbers(12, shift=shift))
    states = backend.minimal_recurrence(h, x)
    assert keras.backend.standardize_dtype(states.dtype) == dtype
    np.testing.assert_allclose(array(states), by_definition(array(h), array(x)), rtol=0, atol=error)
    upstream = ops.ones_like(states)
    exact = backend.minimal_recurrence_gradients(*(ops.cast(part, "float32") for part in (h, x, upstream)))
    for computed, expected in zip(backend.minimal_recurrence_gradients(h, x, upstream), exact, strict=True):
        np.testing.assert_allclose(array(computed), array(expected), rtol=0, atol=3 * error * array(expected).max())
