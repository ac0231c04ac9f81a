"""Metrics against the golden arrays and scikit-image."""

import golden
import keras
import numpy as np
import pytest
import skimage.metrics

from keras_frnn import metrics

FUNCTIONS = {"mse": metrics.mse, "psnr": metrics.psnr, "dssim": metrics.dssim}
CLASSES = {"mse": metrics.MSE, "psnr": metrics.PSNR, "dssim": metrics.DSSIM}
TOLERANCE = {"mse": 1e-5, "psnr": 1e-3, "dssim": 1e-5}


def videos(channels=3, size=(16, 19)):
    generator = np.random.default_rng(0)
    true = generator.uniform(0, 1, (2, 3, *size, channels))
    # From nearly equal to unrelated frames.
    noise = generator.normal(0, 1, true.shape) * np.array([0.01, 0.1, 0.5])[None, :, None, None, None]
    return true.astype("float32"), np.clip(true + noise, 0, 1).astype("float32")


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("prediction", ["prediction", "copy_last"])
def test_golden(name, prediction):
    context, future = golden.frames()
    frames = golden.arrays()["predictions"] if prediction == "prediction" else np.repeat(context[:, -1:], 3, axis=1)
    values = keras.ops.convert_to_numpy(FUNCTIONS[name](future, frames))
    expected = golden.arrays()[f"metrics/{prediction}"][:, list(FUNCTIONS).index(name)]
    np.testing.assert_allclose(values, expected, rtol=0, atol=TOLERANCE[name])


@pytest.mark.parametrize("channels", [1, 3])
def test_scikit_image(channels):
    true, predicted = videos(channels)
    ssim = dict(data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    computed = {
        name: keras.ops.convert_to_numpy(function(true, predicted, value_range=(0, 1)))
        for name, function in FUNCTIONS.items()
    }
    for b in range(2):
        for t in range(3):
            pair = true[b, t].astype("float64"), predicted[b, t].astype("float64")
            expected = {
                "mse": skimage.metrics.mean_squared_error(*pair),
                "psnr": skimage.metrics.peak_signal_noise_ratio(*pair, data_range=1),
                "dssim": (1 - skimage.metrics.structural_similarity(*pair, **ssim)) / 2,
            }
            for name, value in expected.items():
                assert computed[name][b, t] == pytest.approx(value, abs=TOLERANCE[name])


def hard_for_dssim(size=(17, 12), channels=2):
    """Pairs of frames in [0, 1] whose variances are much smaller than their values, and other extremes."""
    generator = np.random.default_rng(0)
    noise = generator.uniform(0, 1, (*size, channels))
    flat, half = np.ones_like(noise), np.zeros_like(noise)
    half[: size[0] // 2] = 1
    return {
        **{
            f"{kind} {gray} and {change} less": (
                gray * flat + scale * noise,
                (gray - change) * flat + scale * noise[::-1],
            )
            for kind, scale in (("flat", 0), ("nearly flat", 1e-3))
            for gray, change in ((0.9, 1e-4), (0.9, 4e-3), (1, 1e-7), (0.5, 0.5), (0.3, 0))
        },
        "inverted": (noise, 1 - noise),
        "inverted halves": (half, 1 - half),
        "halves": (half, 0.999 * half),
        "true black": (0 * flat, noise),
        "predicted black": (noise, 0 * flat),
        "black and white": (0 * flat, flat),
        "equal": (noise, noise),
        "beyond the range": (noise, 3 * noise[::-1] - 1),
    }


def test_dssim_is_never_negative_and_equals_scikit_images():
    pairs = {name: np.float32(pair) for name, pair in hard_for_dssim().items()}
    frames = np.stack(list(pairs.values()), axis=1)[:, None]
    ssim = dict(data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    (values,) = keras.ops.convert_to_numpy(metrics.dssim(*frames, value_range=(0, 1)))
    for (name, pair), value in zip(pairs.items(), values, strict=True):
        expected = (1 - skimage.metrics.structural_similarity(*pair.astype("float64"), **ssim)) / 2
        assert value >= 0, name
        assert value == pytest.approx(expected, rel=1e-5, abs=1e-7), name
    metric = metrics.DSSIM(value_range=(0, 1), per_step=True)
    metric.update_state(*frames)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(metric.result()), values, rtol=1e-6)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_ranges_and_layouts(name):
    true, predicted = videos()
    expected = keras.ops.convert_to_numpy(FUNCTIONS[name](true, predicted, value_range=(0, 1)))
    for values in (
        FUNCTIONS[name](true * 2 - 1, predicted * 2 - 1),
        FUNCTIONS[name](true * 255, predicted * 255, value_range=(0, 255)),
        FUNCTIONS[name](np.moveaxis(true, -1, 2), np.moveaxis(predicted, -1, 2), (0, 1), data_format="channels_first"),
    ):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(values), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", CLASSES)
def test_metric_is_the_mean_of_the_function(name):
    true, predicted = videos()
    values = keras.ops.convert_to_numpy(FUNCTIONS[name](true, predicted, value_range=(0, 1)))
    metric = CLASSES[name](value_range=(0, 1))
    steps = CLASSES[name](value_range=(0, 1), per_step=True)
    for m in metric, steps:
        for b in range(2):
            m.update_state(true[b : b + 1], predicted[b : b + 1])
    assert float(metric.result()) == pytest.approx(values.mean(), rel=1e-5)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(steps.result()), values.mean(axis=0), rtol=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0
    metric.update_state(true, predicted, sample_weight=np.array([1.0, 0.0]))
    assert float(metric.result()) == pytest.approx(values[0].mean(), rel=1e-5)
    twin = type(metric).from_config(metric.get_config())
    assert twin.get_config() == metric.get_config()


def test_infinite_psnr_is_excluded_from_the_mean():
    true, predicted = videos()
    predicted[0, 0] = true[0, 0]
    values = keras.ops.convert_to_numpy(metrics.psnr(true, predicted, (0, 1)))
    assert np.isinf(values[0, 0])
    assert np.isfinite(values).sum() == values.size - 1
    metric = metrics.PSNR(value_range=(0, 1), per_step=True)
    metric.update_state(true, predicted)
    expected = [values[1, 0], values[:, 1].mean(), values[:, 2].mean()]
    np.testing.assert_allclose(keras.ops.convert_to_numpy(metric.result()), expected, rtol=1e-5)


class TestValuesThatAreNotFinite:
    @pytest.mark.parametrize("name", CLASSES)
    def test_nan_is_visible(self, name):
        true, predicted = videos()
        predicted[1, 2, 5, 5, 0] = np.nan
        values = keras.ops.convert_to_numpy(FUNCTIONS[name](true, predicted, (0, 1)))
        np.testing.assert_array_equal(np.isnan(values), [[False] * 3, [False, False, True]])
        metric, steps = CLASSES[name](value_range=(0, 1)), CLASSES[name](value_range=(0, 1), per_step=True)
        for m in metric, steps:
            m.update_state(true, predicted)
            m.update_state(true, true)
        assert np.isnan(float(metric.result()))
        np.testing.assert_array_equal(np.isnan(keras.ops.convert_to_numpy(steps.result())), [False, False, True])
        # Frames without weight do not count.
        metric.reset_state()
        metric.update_state(true, predicted, sample_weight=np.array([1.0, 0.0]))
        assert float(metric.result()) == pytest.approx(values[0].mean(), rel=1e-5)

    def test_only_perfect_frames(self):
        true, _ = videos()
        perfect = {"mse": 0, "psnr": np.inf, "dssim": 0}
        for name, expected in perfect.items():
            metric, steps = CLASSES[name](value_range=(0, 1)), CLASSES[name](value_range=(0, 1), per_step=True)
            for m in metric, steps:
                m.update_state(true, true)
            assert float(metric.result()) == expected
            assert keras.ops.convert_to_numpy(steps.result()).tolist() == [expected] * 3

    def test_only_the_psnr_of_equal_frames_is_excluded(self):
        true, predicted = videos()
        predicted[0, 0, 0, 0, 0] = np.inf
        for cls, expected in ((metrics.MSE, np.inf), (metrics.PSNR, -np.inf)):
            metric = cls(value_range=(0, 1))
            metric.update_state(true, predicted)
            assert float(metric.result()) == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_dtypes(name, dtype):
    to_dtype = keras.ops.cast if dtype == "bfloat16" else np.ndarray.astype
    true, predicted = (to_dtype(frames, dtype) for frames in videos())
    rounded = (keras.ops.convert_to_numpy(keras.ops.cast(frames, "float32")) for frames in (true, predicted))
    expected = keras.ops.convert_to_numpy(FUNCTIONS[name](*rounded, (0, 1)))
    values = FUNCTIONS[name](true, predicted, (0, 1))
    assert keras.backend.standardize_dtype(values.dtype) == "float32"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(values), expected, rtol=1e-6)
    metric = CLASSES[name](value_range=(0, 1))
    metric.update_state(true, predicted)
    assert float(metric.result()) == pytest.approx(expected.mean(), rel=1e-5)


def test_default_data_format_is_that_of_keras():
    true, predicted = videos(size=(16, 19))
    expected = keras.ops.convert_to_numpy(metrics.dssim(true, predicted, (0, 1)))
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        metric = metrics.DSSIM(value_range=(0, 1))
        values = metrics.dssim(*(np.moveaxis(frames, -1, 2) for frames in (true, predicted)), (0, 1))
    finally:
        keras.config.set_image_data_format(before)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(values), expected, rtol=1e-5)
    assert metric.get_config()["data_format"] == "channels_first"


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(np.array([1.0, 0.25]), id="of sequences", marks=pytest.mark.once),
        pytest.param(np.array([[1.0, 0.0, 2.0], [0.5, 3.0, 0.0]]), id="of frames"),
    ],
)
def test_weighted_in_fit(weights):
    true, predicted = videos(channels=1)
    model = keras.Sequential([keras.layers.Dense(1, kernel_initializer="ones")])
    names = list(CLASSES)
    each = [CLASSES[name](value_range=(0, 1), per_step=True, name=f"{name}_steps") for name in names]
    together = [CLASSES[name](value_range=(0, 1)) for name in names]

    def loss(y_true, y_pred):  # One value per weight.
        return keras.ops.mean(keras.ops.abs(y_true - y_pred), axis=tuple(range(weights.ndim, 5)))

    model.compile(keras.optimizers.SGD(0.0), loss, weighted_metrics=[*together, *each])
    logs = model.fit(predicted, true, sample_weight=weights, batch_size=1, verbose=0).history
    of_frames = np.broadcast_to(weights.reshape(2, -1), (2, 3))
    for name in names:
        values = keras.ops.convert_to_numpy(FUNCTIONS[name](true, predicted, (0, 1)))
        assert logs[name][0] == pytest.approx(np.average(values, weights=of_frames), rel=1e-4)
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(logs[f"{name}_steps"][0]), np.average(values, 0, of_frames), rtol=1e-4, atol=1e-6
        )


def test_in_compile_and_fit():
    true, predicted = videos(channels=1)
    model = keras.Sequential([keras.layers.Rescaling(1.0)])
    model.compile(loss="mse", metrics=[cls(value_range=(0, 1)) for cls in CLASSES.values()])
    logs = model.evaluate(predicted, true, verbose=0, return_dict=True)
    for name, function in FUNCTIONS.items():
        expected = keras.ops.convert_to_numpy(function(true, predicted, (0, 1))).mean()
        assert logs[name] == pytest.approx(expected, rel=1e-4)


class TestErrors:
    @pytest.mark.parametrize("function", FUNCTIONS.values())
    def test_shapes(self, function):
        true, predicted = videos()
        for other in predicted[:, :2], predicted[0], predicted[..., :1]:
            with pytest.raises(ValueError, match=r"two videos of the same shape .* y_pred of shape"):
                function(true, other)

    def test_small_frames(self):
        frames = np.zeros((1, 1, 10, 16, 1))
        with pytest.raises(ValueError, match=r"at least 11x11 pixels. Received: shape=\(1, 1, 10, 16, 1\)"):
            metrics.dssim(frames, frames)

    def test_range(self):
        frames = np.zeros((1, 1, 16, 16, 1))
        for value_range in (1, 0), (0, np.nan), (0, np.inf), 255, ("black", "white"), None:
            with pytest.raises(ValueError, match=r"white above black. Received: value_range="):
                metrics.mse(frames, frames, value_range=value_range)
            with pytest.raises(ValueError, match=r"white above black. Received: value_range="):
                metrics.PSNR(value_range=value_range)

    def test_data_format(self):
        frames = np.zeros((1, 1, 16, 16, 1))
        for function in FUNCTIONS.values():
            with pytest.raises(ValueError, match="'channels_first'. Received: data_format='channel_first'"):
                function(frames, frames, data_format="channel_first")
        with pytest.raises(ValueError, match="'channels_first'. Received: data_format='NCHW'"):
            metrics.MSE(data_format="NCHW")

    @pytest.mark.parametrize("frames", ["frames", [[1, 2], [3]], {"frames": 0}])
    def test_no_numbers(self, frames):
        with pytest.raises(ValueError, match="array of numbers. Received: y_pred="):
            metrics.mse(np.zeros((1, 1, 16, 16, 1)), frames)

    @pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 3, 1), ()])
    def test_weights(self, shape):
        metric = metrics.MSE()
        with pytest.raises(ValueError, match=r"\(batch,\) or \(batch, time\). Received: sample_weight of shape"):
            metric.update_state(*videos(), sample_weight=np.ones(shape))

    def test_another_horizon(self):
        metric = metrics.MSE(per_step=True)
        metric.update_state(*videos())
        with pytest.raises(ValueError, match="counts 3 time steps. Received: frames of 2"):
            metric.update_state(*(frames[:, :2] for frames in videos()))
