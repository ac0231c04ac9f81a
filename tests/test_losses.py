import keras
import numpy as np
import pytest
from keras import ops

from keras_frnn import losses


def frames(seed=0, shape=(2, 3, 4, 5, 2)):
    return np.random.default_rng(seed).uniform(-0.9, 0.9, shape).astype("float32")


def number(tensor):
    return float(ops.convert_to_numpy(ops.cast(tensor, "float32")))


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_is_the_stock_crossentropy_of_probabilities(reduction, weighted):
    truth, prediction = frames(), frames(1)
    weights = np.array([0.5, 2.0], "float32")[:, None, None, None] if weighted else None
    stock = keras.losses.BinaryCrossentropy(reduction=reduction)((truth + 1) / 2, (prediction + 1) / 2, weights)
    ours = losses.FrameCrossentropy(reduction=reduction)(truth, prediction, weights)
    np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(stock), rtol=2e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_is_finite_at_the_ends(dtype):
    ends = ops.convert_to_tensor([[-1.0, 1.0, -1.0, 1.0]])
    loss = losses.FrameCrossentropy(dtype=dtype)
    assert number(loss(ends, ops.cast(ends, dtype))) == pytest.approx(1e-4, rel=0.02)
    assert number(loss(ends, ops.cast(-ends, dtype))) == pytest.approx(-np.log(1e-4), rel=0.01)
    assert number(loss(ends, ops.cast(-1.5 * ends, dtype))) == pytest.approx(-np.log(1e-4), rel=0.01)


def test_learns_from_saturated_pixels():
    # Where clipping would leave no gradient: tanh(6) is within 2e-5 of 1.
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, "tanh", bias_initializer=lambda *_, **__: [6.0])]
    )
    model.compile(keras.optimizers.SGD(0.1), losses.FrameCrossentropy())
    model.train_on_batch(np.zeros((1, 1)), -np.ones((1, 1)))
    assert model.get_weights()[1][0] < 6 - 1e-3


def test_is_saved_with_a_model(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "tanh")])
    model.compile("sgd", losses.FrameCrossentropy(reduction="sum"))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.loss, losses.FrameCrossentropy)
    assert loaded.loss.get_config() == model.loss.get_config()


def test_wrong_frames():
    loss, right = losses.FrameCrossentropy(), frames()
    for wrong, found in ((255 * np.abs(right), "values from 0"), (np.full_like(right, np.nan), "NaN")):
        with pytest.raises(ValueError, match=rf"values in \[-1, 1\]. Received: y_true with {found}"):
            loss(wrong, right)
        assert np.isnan(number(loss(ops.convert_to_tensor(wrong), right)))
        if found == "NaN":
            assert np.isnan(number(loss(right, wrong)))
    with pytest.raises(ValueError, match=r"same shape. Received: y_true of shape \(2, 3, 4, 5, 2\), y_pred of .* 1\)"):
        loss(right, right[..., :1])
