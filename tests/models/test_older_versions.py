"""Networks that version 0.2.0 saved on TensorFlow, after a step of Adam, compared with what it forecast."""

import pathlib

import keras
import numpy as np
import pytest

from keras_frnn import models

FOLDER = pathlib.Path(__file__).parent.parent / "data" / "version_0_2_0"


@pytest.fixture
def forecasts():
    with np.load(FOLDER / "forecasts.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", ["folded", "ladder"])
def test_keras_files(name, forecasts):
    model = keras.saving.load_model(FOLDER / f"{name}.keras")
    context = forecasts["context"]
    np.testing.assert_allclose(model.forecast(context), forecasts[name], atol=1e-5)
    assert int(model.optimizer.iterations) == 1
    model.fit(context, context[:, :2], verbose=0)
    assert int(model.optimizer.iterations) == 2


def test_presets(forecasts):
    model = models.FoldedRNN.from_preset(FOLDER / "preset")
    np.testing.assert_allclose(model.forecast(forecasts["context"]), forecasts["folded"], atol=1e-5)
