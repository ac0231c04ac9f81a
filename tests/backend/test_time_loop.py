import golden
import gradients
import keras
import numpy as np
import pytest
from keras import ops

from keras_frnn import backend
from keras_frnn.backend import engine


@pytest.mark.parametrize("steps", [1, 5])
def test_scan_is_a_loop(steps):
    inputs = np.arange(steps, dtype="float32")[:, None] + np.ones((steps, 3), "float32")

    def step(state, x):
        (total, product), (), last = state
        return (total + x, product * x), (), x + 0 * last

    start = (ops.zeros(3), ops.ones(3)), (), ops.zeros(3)
    last, chosen = backend.scan(step, start, ops.convert_to_tensor(inputs), select=lambda s: (s[0][1], s[2]))
    (total, product), empty, x = last
    assert empty == ()
    np.testing.assert_allclose(ops.convert_to_numpy(total), inputs.sum(axis=0))
    np.testing.assert_allclose(ops.convert_to_numpy(product), inputs.prod(axis=0))
    np.testing.assert_allclose(ops.convert_to_numpy(x), inputs[-1])
    np.testing.assert_allclose(ops.convert_to_numpy(chosen[0]), inputs.cumprod(axis=0))
    np.testing.assert_allclose(ops.convert_to_numpy(chosen[1]), inputs)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX alone has another loop for accelerators")
@pytest.mark.parametrize("name", ["frnn", "rladder"])
def test_networks_learn_the_same_in_the_loop_for_accelerators(name, monkeypatch):
    monkeypatch.setattr(engine, "_is_on_cpu", lambda: False)
    model = golden.network(name)
    context, future = golden.frames(name)
    loss, values = gradients.of_l1_loss(model, context, future)
    np.testing.assert_allclose(loss, golden.arrays(name)["l1_loss"], rtol=0, atol=1e-6)
    kernel = golden.of_layer("gradients", 0, name)["w"]
    computed = values[model.stack[0].kernel.path]
    np.testing.assert_allclose(computed, kernel, rtol=0, atol=1e-4 * np.abs(kernel).max())
