import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_frnn import layers, models

VIDEO = np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 12, 2)).astype("float32")


def test_equals_space_to_depth():
    expected = tf.nn.space_to_depth(VIDEO.reshape(6, 8, 12, 2), 4).numpy().reshape(2, 3, 2, 3, 32)
    encoded = keras.ops.convert_to_numpy(layers.FoldedPatch2D(4)(VIDEO))
    np.testing.assert_array_equal(encoded, expected)
    first = np.moveaxis(VIDEO, -1, 2)
    encoded = keras.ops.convert_to_numpy(layers.FoldedPatch2D(4, data_format="channels_first")(first))
    np.testing.assert_array_equal(encoded, np.moveaxis(expected, -1, 2))


@pytest.mark.parametrize("size", [1, 2, (4, 3)])
def test_decoding_is_the_inverse(size):
    layer = layers.FoldedPatch2D(size)
    encoded, state = layer.encode(keras.ops.convert_to_tensor(VIDEO))
    assert state == ()
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.decode(encoded, state)), VIDEO)


def test_decoding_upsamples_what_is_still_to_be_upsampled():
    layer = layers.FoldedPatch2D(2)
    decoded = layer.decode(keras.ops.convert_to_tensor(VIDEO[..., :1].repeat(4, axis=-1)), (), (2, 3))
    expected = VIDEO[..., :1].repeat(4, axis=2).repeat(6, axis=3)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(decoded), expected)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_anywhere_in_a_network(place, tmp_path):
    topology = [("conv", 4, 3), ("recurrent", 8, 3), ("recurrent", 8, 3)]
    topology.insert(place, ("patch", 2))
    model = models.FoldedRNN.from_topology(topology, horizon=4)
    context = VIDEO[..., :1]
    whole = model.forecast(context)
    assert whole.shape == (2, 4, 8, 12, 1)
    streamed = model.decode(model.encode(context[:, 1:], model.encode(context[:, :1])))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(streamed), whole, atol=1e-5)
    assert model.truncate(model.depths[0]).forecast(context).shape == whole.shape
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.forecast(context), whole, atol=1e-6)
    with pytest.raises(ValueError, match="cannot divide a width of 13 by 2.*nearest that work: 12 and 14"):
        model.encode(np.zeros((1, 3, 8, 13, 1), "float32"))


def test_errors():
    with pytest.raises(ValueError, match="`patch_size` must be a positive integer"):
        layers.FoldedPatch2D(0)
    with pytest.raises(ValueError, match=r"divides frames by \(4, 4\), not those of width 10.* work: 8 and 12"):
        layers.FoldedPatch2D(4)(np.zeros((1, 2, 8, 10, 1), "float32"))
