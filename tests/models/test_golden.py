"""Values and gradients against the authors' implementation; tolerances are those of the recorded arrays."""

import golden
import gradients
import keras
import numpy as np
import pytest

from keras_frnn import reference


@pytest.fixture(scope="module", params=["channels_last", "channels_first"])
def model(request):
    return golden.folded_rnn(data_format=request.param)


def as_format(frames, model):
    return np.moveaxis(frames, -1, 2) if model.data_format == "channels_first" else frames


def test_predictions_and_loss(model):
    context, future = golden.frames()
    prediction = keras.ops.convert_to_numpy(model(as_format(context, model)))
    np.testing.assert_allclose(prediction, as_format(golden.arrays()["predictions"], model), rtol=0, atol=1e-5)
    error = prediction - as_format(future, model)
    np.testing.assert_allclose(np.abs(error).mean(), golden.arrays()["l1_loss"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.square(error).mean(), golden.arrays()["mse"], rtol=0, atol=1e-6)


def test_gradients(model):
    context, future = (as_format(frames, model) for frames in golden.frames())
    loss, values = gradients.of_l1_loss(model, context, future)
    np.testing.assert_allclose(loss, golden.arrays()["l1_loss"], rtol=0, atol=1e-6)
    compared = 0
    for index, layer in enumerate(model.folded_layers):
        expected = golden.of_layer("gradients", index)
        computed = reference.to_reference(layer, values)
        assert computed.keys() == expected.keys()
        for name, array in expected.items():
            tolerance = 1e-4 * np.abs(array).max()
            np.testing.assert_allclose(computed[name], array, rtol=0, atol=tolerance, err_msg=f"layer {index} {name}")
            compared += 1
    assert compared == 2 * 3 + 4 * 13


@pytest.mark.parametrize("depth", [8, 7, 5, 4])
def test_truncated(model, depth):
    context, _ = golden.frames()
    prediction = model.truncate(depth).forecast(as_format(context, model))
    expected = as_format(golden.arrays()[f"truncated/depth{depth:02d}"], model)
    np.testing.assert_allclose(prediction, expected, rtol=0, atol=1e-5)


def test_frames_one_at_a_time(model):
    context, _ = (as_format(frames, model) for frames in golden.frames())
    state = None
    for t in range(context.shape[1]):
        state = model.encode(context[:, t : t + 1], state)
    for _ in range(2):  # Decoding reads the state and leaves it as it was.
        prediction = keras.ops.convert_to_numpy(model.decode(state))
        expected = as_format(golden.arrays()["predictions"], model)
        np.testing.assert_allclose(prediction, expected, rtol=0, atol=1e-5)
