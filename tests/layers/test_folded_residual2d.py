import keras
import numpy as np
import pytest
import scipy.ndimage
from keras import ops

from keras_frnn import evaluation, layers, models
from keras_frnn.models.topologies import topology_of

TOPOLOGY = [("conv", 4, 3), ("residual", 2, 3), ("pool", 2), ("minimal", 6, 3), ("residual", 3, 1), ("recurrent", 5, 3)]
WITHOUT = [entry for entry in TOPOLOGY if entry[0] != "residual"]


def video(batch=2, time=3, channels=1):
    return np.random.default_rng(0).uniform(-1, 1, (batch, time, 8, 12, channels)).astype("float32")


def randomize(model):
    generator = np.random.default_rng(1)
    model.set_weights([generator.normal(0, 0.3, weight.shape) for weight in model.weights])


def expected_of(x, weights):
    """The equation, for one frame."""
    scale, kernel, bias, projection, projection_bias = weights
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * scale
    y = sum(
        scipy.ndimage.correlate(y[..., i], kernel[:, :, i, o], mode="constant")[..., None] * np.eye(kernel.shape[-1])[o]
        for i in range(kernel.shape[2])
        for o in range(kernel.shape[3])
    )
    y = y + bias
    y = y / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    return x + y @ projection[0, 0] + projection_bias


def test_both_directions_are_the_equation():
    layer = layers.FoldedResidual2D(2, (3, 5))
    frames = np.random.default_rng(0).normal(size=(2, 1, 6, 7, 3)).astype("float32")
    layer.build_both_directions((1, 2, 6, 7, 3))
    randomize(layer)
    for run, weights in (
        (lambda x: layer.encode(x)[0], layer.encoder),
        (lambda x: layer.decode(x, ()), layer.decoder),
    ):
        found = ops.convert_to_numpy(run(ops.convert_to_tensor(frames)))
        weights = [ops.convert_to_numpy(weight).astype("float64") for weight in weights]
        expected = np.stack([expected_of(frame[0].astype("float64"), weights)[None] for frame in frames])
        np.testing.assert_allclose(found, expected, atol=1e-5)
    # After a pooling layer above.
    small = ops.convert_to_tensor(frames[:, :, ::2, :4])
    large = ops.repeat(ops.repeat(small, 2, axis=2), 2, axis=3)
    np.testing.assert_allclose(
        *(ops.convert_to_numpy(x) for x in (layer.decode(small, (), (2, 2)), layer.decode(large, ()))), atol=1e-6
    )


def test_in_a_network(tmp_path):
    model, context = models.FoldedRNN.from_topology(TOPOLOGY, 2), video()
    model.build((None, *context.shape[1:]))
    randomize(model)
    expected = model.forecast(context, 4)
    stream = model.stream()
    for frame in context[0]:
        stream.update(frame)
    np.testing.assert_allclose(stream.forecast(4), expected[0], atol=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert topology_of(loaded.stack) == TOPOLOGY
    np.testing.assert_allclose(loaded.forecast(context, 4), expected, atol=1e-5)
    with_blocks, without = (
        evaluation.cost(models.FoldedRNN.from_topology(topology, 2), (8, 12, 1), 3, 2)
        for topology in (TOPOLOGY, WITHOUT)
    )
    # Each way: 3x3 and 1x1 kernels on 8x12 pixels, 1x1 kernels on 4x6.
    block = 96 * 4 * 8 * (9 + 1) + 24 * 6 * 18 * 2
    assert with_blocks.encode_macs - without.encode_macs == 3 * block
    assert with_blocks.decode_macs - without.decode_macs == 2 * block


def test_learns():
    model, context = models.FoldedRNN.from_topology(TOPOLOGY, 2), video()
    model.compile(keras.optimizers.Adam(0.01), "mse")
    errors = model.fit(context, context[:, :2], epochs=30, verbose=0).history["loss"]
    assert errors[-1] < 0.8 * errors[0]
    block = model.stack[1]
    assert all(np.abs(ops.convert_to_numpy(weight)).max() > 0 for weight in (block.encoder[3], block.decoder[3]))


@pytest.mark.parametrize("kwargs", [{"expansion": 0}, {"kernel_size": 1.5}])
def test_arguments(kwargs):
    with pytest.raises(ValueError, match=f"`{next(iter(kwargs))}` must be a positive integer"):
        layers.FoldedResidual2D(**kwargs)
