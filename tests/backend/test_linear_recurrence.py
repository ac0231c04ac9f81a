"""The linear recurrence against its definition, in float64 NumPy, and finite differences of that."""

import gradients
import keras
import numpy as np
import pytest
from keras import ops

from keras_frnn import backend
from keras_frnn.backend import engine


def numbers(steps, shape=(2, 3, 1, 4), seed=0):
    generator = np.random.default_rng(seed)
    a, b = generator.uniform(-1, 1, (2, steps, *shape)).astype("float32")
    return a, b, generator.uniform(-1, 1, shape).astype("float32")


def by_definition(a, b, h, reverse):
    states = [np.asarray(h, "float64")]
    for t in reversed(range(len(a))) if reverse else range(len(a)):
        states.append(np.float64(a[t]) * states[-1] + b[t])
    return np.stack(states[::-1] if reverse else states)


def compute(*arrays, reverse=False, dtype="float32"):
    def function(*tensors):
        return backend.linear_recurrence(*(ops.cast(tensor, dtype) for tensor in tensors), reverse)

    if keras.backend.backend() == "jax":  # Compiling all of it takes less time than each of its operations.
        import jax

        function = jax.jit(function)
    return function(*map(ops.convert_to_tensor, arrays))


@pytest.fixture(params=["step_by_step", "all_at_once"])
def way(request, monkeypatch):
    monkeypatch.setattr(engine, "_compute", getattr(engine, f"_{request.param}"))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [1, 5, 64])
def test_states(steps, reverse, way):
    arrays = numbers(steps)
    states = compute(*arrays, reverse=reverse)
    np.testing.assert_allclose(ops.convert_to_numpy(states), by_definition(*arrays, reverse), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("steps", "reverse"), [(1, False), (7, False), (7, True)])
def test_gradients(steps, reverse, way):
    arrays, directions = numbers(steps), numbers(steps, seed=1)
    weights = np.random.default_rng(2).normal(size=(steps + 1, *arrays[2].shape)).astype("float32")
    computed = gradients.of_number(
        lambda *tensors: ops.sum(ops.multiply(weights, backend.linear_recurrence(*tensors, reverse))), arrays
    )
    expected = gradients.finite_differences(
        lambda *arrays: np.sum(weights * by_definition(*arrays, reverse)), arrays, directions
    )
    for gradient, direction, change in zip(computed, directions, expected, strict=True):
        np.testing.assert_allclose(np.sum(ops.convert_to_numpy(gradient) * direction), change, rtol=1e-4, atol=1e-4)


def test_gradients_of_gradients(way):
    steps = 4
    arrays, directions = numbers(steps), numbers(steps, seed=1)

    def first_order(states, a, b, h):
        """The products of the directions and the gradients of the sum of the cubes of the states."""
        start = np.zeros_like(directions[2]) if isinstance(h, np.ndarray) else ops.zeros_like(h)
        changes, change = [start + directions[2]], start + directions[2]
        for t in range(steps):
            change = a[t] * change + directions[0][t] * states[t] + directions[1][t]
            changes.append(change)
        return sum(3 * states[t] ** 2 * changes[t] for t in range(steps + 1)).sum()

    def by_backend(*tensors):
        inner = gradients.inside(lambda *tensors: ops.sum(backend.linear_recurrence(*tensors) ** 3), tensors)
        return sum(ops.sum(ops.multiply(direction, g)) for direction, g in zip(directions, inner, strict=True))

    computed = gradients.of_number(by_backend, arrays)
    others = numbers(steps, seed=3)
    expected = gradients.finite_differences(lambda *x: first_order(by_definition(*x, False), *x), arrays, others)
    for gradient, direction, change in zip(computed, others, expected, strict=True):
        np.testing.assert_allclose(np.sum(ops.convert_to_numpy(gradient) * direction), change, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits(dtype, way):
    arrays = numbers(12)
    states = compute(*arrays, dtype=dtype)
    assert keras.backend.standardize_dtype(states.dtype) == dtype
    computed = ops.convert_to_numpy(ops.cast(states, "float32"))
    np.testing.assert_allclose(computed, by_definition(*arrays, False), rtol=0, atol=0.05)


def test_accelerators_take_all_steps_at_once(monkeypatch):
    taken = []
    for name in ("_step_by_step", "_all_at_once"):
        monkeypatch.setattr(engine, name, lambda a, b, h, reverse, name=name: taken.append(name))
    tensors = [ops.convert_to_tensor(array) for array in numbers(5)]
    for device in (None, "gpu:0"):
        monkeypatch.setattr(engine, "accelerator", lambda device=device: device)
        engine._compute(*tensors, False)
    short = "_step_by_step" if keras.backend.backend() == "torch" else "_all_at_once"
    on_cpu = "_step_by_step" if backend.accelerator() is None or keras.backend.backend() != "torch" else short
    assert taken == [on_cpu, short]
