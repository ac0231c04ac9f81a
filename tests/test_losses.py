import gradients
import keras
import numpy as np
import pytest
import skimage.metrics
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
    # With clipping there would be no gradient: tanh(6) is within 2e-5 of 1.
    model = keras.Sequential(
        [keras.Input((1,)), keras.layers.Dense(1, "tanh", bias_initializer=lambda *_, **__: [6.0])]
    )
    model.compile(keras.optimizers.SGD(0.1), losses.FrameCrossentropy())
    model.train_on_batch(np.zeros((1, 1)), -np.ones((1, 1)))
    assert model.get_weights()[1][0] < 6 - 1e-3


@pytest.mark.parametrize(
    "loss",
    [
        losses.FrameCrossentropy(reduction="sum"),
        losses.DSSIM("channels_first", reduction="sum"),
        losses.PlusDSSIM(losses.FrameCrossentropy(), 0.3, "channels_first", reduction="sum"),
    ],
)
def test_is_saved_with_a_model(loss, tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "tanh")])
    model.compile("sgd", loss)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded.loss) is type(loss)
    assert loaded.loss.get_config() == loss.get_config()


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "mean_with_sample_weight", "none"])
@pytest.mark.parametrize("loss_class", [losses.FrameCrossentropy, losses.DSSIM])
def test_weights_of_sequences_and_of_frames(loss_class, reduction):
    # There are as many sequences as columns and as many frames as rows, so weights on the wrong axes would not fail.
    truth, prediction = frames(shape=(13, 12, 12, 13, 1)), frames(1, (13, 12, 12, 13, 1))
    values = ops.convert_to_numpy(loss_class(reduction="none")(truth, prediction))
    generator = np.random.default_rng(0)
    for shape in ((13,), (1, 12), (13, 12)):
        weights = generator.integers(0, 4, shape).astype("float32")
        of_values = weights.reshape(*shape, *[1] * (values.ndim - len(shape)))
        weighted = values * of_values
        expected = {
            "none": weighted,
            "sum_over_batch_size": weighted.mean(),
            "mean_with_sample_weight": np.average(values, weights=np.broadcast_to(of_values, values.shape)),
        }[reduction]
        loss = loss_class(reduction=reduction)(truth, prediction, sample_weight=weights)
        np.testing.assert_allclose(ops.convert_to_numpy(loss), expected, rtol=1e-5, atol=1e-6)


def test_weights_of_another_shape():
    for loss, expected in ((losses.FrameCrossentropy(), r"\(2, 3, 12, 11\)"), (losses.DSSIM(), r"\(2, 3\)")):
        for shape in ((3,), (2, 2), (2, 3, 12, 11, 2)):
            received = rf"sample_weight of shape \({', '.join(map(str, shape))}"
            with pytest.raises(ValueError, match=f"must have shape {expected}, .* Received: {received}"):
                loss(frames(shape=(2, 3, 12, 11, 2)), frames(shape=(2, 3, 12, 11, 2)), np.ones(shape))


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_dssim_is_that_of_scikit_image(data_format):
    truth, prediction = frames(shape=(2, 3, 12, 13, 2)), frames(1, (2, 3, 12, 13, 2))
    ssim = dict(data_range=2, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    expected = np.array(
        [
            [(1 - skimage.metrics.structural_similarity(*pair, **ssim)) / 2 for pair in zip(*pairs, strict=True)]
            # Its constants are relative to zero, which must be black.
            for pairs in zip((truth + 1).astype("float64"), (prediction + 1).astype("float64"), strict=True)
        ]
    )
    if data_format == "channels_first":
        truth, prediction = np.moveaxis(truth, -1, 2), np.moveaxis(prediction, -1, 2)
    assert number(losses.DSSIM(data_format)(truth, prediction)) == pytest.approx(expected.mean(), abs=1e-5)
    each = losses.DSSIM(data_format, reduction="none")(truth, prediction, np.array([[1.0, 0.0, 2.0]]))
    np.testing.assert_allclose(ops.convert_to_numpy(each), expected * [1, 0, 2], atol=2e-5)


def dssim_gradient(truth, prediction):
    truth, prediction = truth.astype("float32"), prediction.astype("float32")
    (gradient,) = gradients.of_number(lambda x: losses.DSSIM("channels_last")(truth, x), [prediction])
    return ops.convert_to_numpy(gradient)


def test_dssim_has_the_gradient_of_scikit_images():
    generator = np.random.default_rng(0)
    noise = generator.uniform(-1, 1, (13, 12, 2))
    flat, direction = np.full_like(noise, 0.8), generator.normal(size=noise.shape)
    ssim = dict(data_range=2, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
    for truth, prediction in ((noise, noise[::-1]), (flat, 0.01 * noise + 0.8), (noise, flat), (-1 + 0 * noise, noise)):
        dssims = [
            (1 - skimage.metrics.structural_similarity(truth + 1, prediction + 1 + step * direction, **ssim)) / 2
            for step in (-1e-5, 1e-5)
        ]
        along = (dssim_gradient(truth[None, None], prediction[None, None])[0, 0] * direction).sum()
        assert along == pytest.approx((dssims[1] - dssims[0]) / 2e-5, rel=1e-3, abs=1e-6)


def test_dssim_of_equal_flat_frames_has_no_gradient():
    for gray in (-1.0, 0.8, 1.0):
        frame = np.full((1, 1, 12, 11, 1), gray, "float32")
        assert number(losses.DSSIM()(frame, frame)) == 0
        np.testing.assert_array_equal(dssim_gradient(frame, frame), 0)


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_dssim_has_gradients_where_frames_are_equal_and_where_they_are_black(start):
    truth = np.zeros((1, 1, 12, 12, 1), "float32") - 1
    truth[:, :, 3:8, 3:8] = 1
    model = keras.Sequential([keras.Input((1, 12, 12, 1)), keras.layers.Dense(1)])
    model.layers[-1].set_weights([np.array([[1 - start]], "float32"), np.zeros(1, "float32")])
    model.compile(keras.optimizers.SGD(0.1), losses.DSSIM())
    before = model.train_on_batch(truth, truth)
    after = model.test_on_batch(truth, truth)
    assert after < (before if start else 1e-4)


@pytest.mark.parametrize("loss", [keras.losses.MeanSquaredError(), losses.FrameCrossentropy()])
def test_a_loss_plus_dssim_is_their_sum(loss):
    shape = (2, 3, 12, 11, 2)
    truth, prediction = frames(shape=shape), frames(1, shape)
    expected = number(loss(truth, prediction)) + 0.3 * number(losses.DSSIM()(truth, prediction))
    both = losses.PlusDSSIM(loss, 0.3)
    assert number(both(truth, prediction)) == pytest.approx(expected, rel=1e-5)
    assert number(both(truth, ops.cast(prediction, "bfloat16"))) == pytest.approx(expected, rel=1e-2)
    # Weights are those of sequences.
    assert number(both(truth, prediction, np.array([1.0, 0.0]))) == pytest.approx(
        number(both(truth[:1], prediction[:1])) / 2, rel=1e-5
    )
    with pytest.raises(ValueError, match=r"Expected a keras.losses.Loss.*Received: loss='mse'"):
        losses.PlusDSSIM("mse", 0.3)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (losses.FrameCrossentropy(), "frames of the same shape."),
        (losses.DSSIM(), r"two videos of the same shape \(batch, time, height, width, channels\)."),
    ],
)
def test_wrong_frames(loss, expected):
    right = frames(shape=(2, 3, 11, 11, 2))
    for wrong, found in ((255 * np.abs(right), "values from 0"), (np.full_like(right, np.nan), "NaN")):
        with pytest.raises(ValueError, match=rf"values in \[-1, 1\]. Received: y_true with {found}"):
            loss(wrong, right)
        assert np.isnan(number(loss(ops.convert_to_tensor(wrong), right)))
        if found == "NaN":
            assert np.isnan(number(loss(right, wrong)))
    received = r"y_true of shape \(2, 3, 11, 11, 2\), y_pred of shape \(2, 3, 11, 11, 1\)"
    with pytest.raises(ValueError, match=f"{expected} Received: {received}"):
        loss(right, right[..., :1])
    if isinstance(loss, losses.DSSIM):
        with pytest.raises(ValueError, match=r"at least 11x11 pixels. Received: shape=\(2, 3, 4, 5, 2\)"):
            loss(frames(), frames())
        with pytest.raises(ValueError, match="`data_format` must be"):
            losses.DSSIM("last")
