"""Networks of float64: their gradients are those of finite differences, which one float32 on the way would spoil."""

import gradients
import keras
import numpy as np
import pytest

from keras_frnn import models


@pytest.fixture
def _float64():
    if keras.backend.backend() != "jax":
        yield
        return
    import jax

    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


@pytest.mark.usefixtures("_float64")
@pytest.mark.parametrize(
    ("family", "kinds", "options"),
    [
        (models.FoldedRNN, ("recurrent", "minimal"), {}),
        (models.FoldedRNN, ("minimal", "recurrent"), {"remat": True}),
        (models.LadderRNN, ("recurrent", "recurrent"), {}),
    ],
)
def test_gradients_are_those_of_finite_differences(family, kinds, options):
    topology = [("conv", 2, 3), ("pool", 2), (kinds[0], 3, 5), (kinds[1], 1, 3)]
    model = family.from_topology(topology, horizon=2, dtype="float64", **options)
    generator = np.random.default_rng(0)
    context, future = generator.uniform(-0.9, 0.9, (2, 2, 3, 8, 6, 1))[:, :, :2]
    model.build(context.shape)

    def loss():
        prediction = keras.ops.convert_to_numpy(model(context))
        assert prediction.dtype == "float64"
        return np.abs(prediction - future).mean()

    _, found = gradients.of_l1_loss(model, context, future)
    weights = [keras.ops.convert_to_numpy(variable) for variable in model.trainable_variables]
    directions = [generator.normal(size=weight.shape) for weight in weights]
    values = []
    for step in (1e-6, -1e-6):
        for variable, weight, direction in zip(model.trainable_variables, weights, directions, strict=True):
            variable.assign(weight + step * direction)
        values.append(loss())
    along = sum((found[v.path] * d).sum() for v, d in zip(model.trainable_variables, directions, strict=True))
    assert {gradient.dtype for gradient in found.values()} == {np.dtype("float64")}
    assert along == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6)
