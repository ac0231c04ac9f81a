"""Values and gradients against the authors' implementation; tolerances are those of the recorded arrays."""

import golden
import gradients
import keras
import numpy as np
import pytest

from keras_frnn import models, reference

ARRAYS_A_LAYER = {"frnn": 13, "rladder": 14}


@pytest.fixture(scope="module", params=["frnn", "rladder"])
def name(request):
    return request.param


@pytest.fixture(scope="module", params=["channels_last", "channels_first"])
def model(request, name):
    return golden.network(name, data_format=request.param)


def as_format(frames, model):
    return np.moveaxis(frames, -1, 2) if model.data_format == "channels_first" else frames


def test_predictions_and_loss(name, model):
    context, future = golden.frames(name)
    arrays = golden.arrays(name)
    prediction = keras.ops.convert_to_numpy(model(as_format(context, model)))
    np.testing.assert_allclose(prediction, as_format(arrays["predictions"], model), rtol=0, atol=1e-5)
    error = prediction - as_format(future, model)
    np.testing.assert_allclose(np.abs(error).mean(), arrays["l1_loss"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.square(error).mean(), arrays["mse"], rtol=0, atol=1e-6)


def test_gradients(name, model):
    check_gradients(name, model)


def test_gradients_when_gates_are_computed_again():
    recomputing = golden.network("frnn", remat=True)
    models.FoldedRNN(recomputing.stack, recomputing.horizon)  # Shares the layers, and changes nothing in them.
    check_gradients("frnn", recomputing)


def check_gradients(name, model):
    context, future = (as_format(frames, model) for frames in golden.frames(name))
    loss, values = gradients.of_l1_loss(model, context, future)
    np.testing.assert_allclose(loss, golden.arrays(name)["l1_loss"], rtol=0, atol=1e-6)
    compared = 0
    for index, layer in enumerate(model.stack):
        expected = golden.of_layer("gradients", index, name)
        computed = reference.to_reference(layer, values)
        assert computed.keys() == expected.keys()
        for key, array in expected.items():
            tolerance = 1e-4 * np.abs(array).max()
            np.testing.assert_allclose(computed[key], array, rtol=0, atol=tolerance, err_msg=f"layer {index} {key}")
            compared += 1
    assert compared == 2 * 3 + 4 * ARRAYS_A_LAYER[name]


def test_frames_one_at_a_time(name, model):
    context, _ = (as_format(frames, model) for frames in golden.frames(name))
    expected = as_format(golden.arrays(name)["predictions"], model)
    state = None
    for t in range(context.shape[1]):
        state = model.encode(context[:, t : t + 1], state)
    for _ in range(2):  # Decoding reads the state and leaves it as it was.
        np.testing.assert_allclose(keras.ops.convert_to_numpy(model.decode(state)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("depth", [8, 7, 5, 4])
def test_truncated(depth):
    context, _ = golden.frames()
    prediction = golden.network().truncate(depth).forecast(context)
    np.testing.assert_allclose(prediction, golden.arrays()[f"truncated/depth{depth:02d}"], rtol=0, atol=1e-5)
