import h5py
import keras
import numpy as np
import pytest

from keras_frnn import models


def make(**kwargs):
    return models.ConvLSTMForecaster(**{"horizon": 2, "filters": (4, 3), "kernel_size": 3, **kwargs})


def video(batch=2, time=3, size=(16, 20), channels=2, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (batch, time, *size, channels)).astype("float32")


def test_learns_to_repeat_a_still_video():
    model = make(horizon=2, filters=(8,), patch_size=2)
    still = np.repeat(video(time=1, size=(8, 8), channels=1), 3, axis=1)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    losses = model.fit(still, still[:, :2], epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 2


def test_forecasts_any_number_of_steps_with_the_same_weights():
    model, context = make(), video()
    longer = model.forecast(context, 5)
    assert longer.shape == (2, 5, 16, 20, 2)
    np.testing.assert_allclose(longer[:, :2], model.forecast(context), atol=1e-6)
    for variable in model.trainable_variables:
        variable.assign(variable * 1.5)
    assert np.abs(model.forecast(context, 5) - longer).max() > 1e-3


def test_reads_weights_of_version_0_2_0(tmp_path):
    model, other, path = make(), make(), tmp_path / "model.weights.h5"
    expected = model.forecast(video())
    model.save_weights(path)
    with h5py.File(path, "r+") as file:
        # Versions of Keras differ in whether they write a layer by its attribute or in the list of layers.
        place = next(name for name in ("readout", "layers/conv2d") if name in file)
        file.move(place, "to_patches")
    other.build((None, *video().shape[1:]))
    other.load_weights(path)
    np.testing.assert_array_equal(other.forecast(video()), expected)


def test_patches_stay_in_their_places():
    # Of a context that is black but for one pixel, only the patch with this pixel is seen by kernels of size 1.
    model = make(kernel_size=1, patch_size=4)
    black = -np.ones((1, 2, 16, 20, 1), "float32")
    lit = black.copy()
    lit[0, :, 6, 13] = 1
    changed = np.abs(model.forecast(lit) - model.forecast(black)).max(axis=(0, 1, 4)) > 1e-6
    rows, columns = np.nonzero(changed)
    assert rows.size > 0
    assert set(rows) <= {4, 5, 6, 7}
    assert set(columns) <= {12, 13, 14, 15}


def test_channels_first_equals_channels_last():
    last, first, context = make(data_format="channels_last"), make(data_format="channels_first"), video()
    expected = last.forecast(context)
    first(np.moveaxis(context, -1, 2))
    first.set_weights([keras.ops.convert_to_numpy(weight) for weight in last.weights])
    np.testing.assert_allclose(np.moveaxis(first.forecast(np.moveaxis(context, -1, 2)), 2, -1), expected, atol=1e-6)


def test_saves(tmp_path):
    model, context = make(), video()
    expected = model.forecast(context)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "model.keras").forecast(context), expected, atol=1e-6)


def test_frames_that_patches_cannot_divide():
    with pytest.raises(ValueError, match=r"multiples of patch_size=4; .* widths that work: 16 and 20"):
        make().forecast(video(size=(16, 18)))


@pytest.mark.parametrize("kwargs", [{"filters": (3, 0)}, {"kernel_size": 0}, {"patch_size": -1}, {"horizon": 1.5}])
def test_arguments(kwargs):
    with pytest.raises(ValueError, match=f"`{next(iter(kwargs))}` must be a positive integer"):
        make(**kwargs)
