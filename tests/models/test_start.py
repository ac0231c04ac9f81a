"""Networks that start from the weights of others."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_frnn import models
from keras_frnn.models.topologies import topology_of

RANDOM = np.random.default_rng(0)


def network(topology, channels: int = 1, family=models.FoldedRNN, **kwargs):
    model = family.from_topology(topology, 4, **kwargs)
    model.build((None, 3, 8, 8, channels))
    return model


def trained(topology, channels: int = 1, family=models.FoldedRNN):
    """A network with random weights, biases and initial states too."""
    model = network(topology, channels, family)
    model.set_weights([w + RANDOM.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


def frames(channels: int = 1) -> np.ndarray:
    return RANDOM.uniform(-1, 1, (2, 3, 8, 8, channels)).astype("float32")


def stack(kind: str, lowest=("conv", 2, 3), widths=(3, 4)) -> list:
    return [lowest, (kind, widths[0], 3), ("pool", 2), (kind, widths[1], 3)]


FAMILIES = [("recurrent", models.FoldedRNN), ("minimal", models.FoldedRNN), ("recurrent", models.LadderRNN)]


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_an_equal_network_takes_over_all_weights(kind, family):
    source, model = trained(stack(kind), family=family), network(stack(kind), family=family)
    assert models.start_from(model, source) == []
    for weight, expected in zip(model.get_weights(), source.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
def test_a_wider_network_begins_with_the_forecasts_of_a_narrower_one(kind, family):
    narrow = trained(stack(kind), family=family)
    wide = network(stack(kind, ("conv", 3, 3), (5, 4)), family=family)
    context = frames()
    forecast, other = narrow.forecast(context), wide.forecast(context)
    assert np.abs(forecast - other).max() > 0.01
    assert models.start_from(wide, narrow) == [
        "Layer 1 has 3 filters, 2 of them from the source.",
        "Layer 2 has 5 filters, 3 of them from the source.",
    ]
    np.testing.assert_allclose(wide.forecast(context), forecast, atol=1e-6)
    before = wide.get_weights()
    wide.compile(keras.optimizers.SGD(0.1), "mse")
    for _ in range(3):
        wide.train_on_batch(context, np.ones((2, 4, 8, 8, 1), "float32"))
    for old, new in zip(before, wide.get_weights(), strict=True):
        assert (old != new).reshape(-1, old.shape[-1]).any(axis=0).all()  # Every filter learns.


@pytest.mark.parametrize(("kind", "family"), FAMILIES)
@pytest.mark.parametrize("lowest", [("patch", 2), ("pool", 2)])
def test_gray_and_color(kind, family, lowest):
    gray = trained(stack(kind, lowest), family=family)
    color = network(stack(kind, lowest), 3, family)
    context = frames()
    forecast = gray.forecast(context)
    assert models.start_from(color, gray) == ["The source's frames have 1 channels, these 3."]
    np.testing.assert_allclose(color.forecast(context.repeat(3, -1)), forecast.repeat(3, -1), atol=1e-6)
    if family is models.FoldedRNN:  # It decodes from the last frame, so colors stay apart.
        red = np.concatenate([context, np.zeros_like(context).repeat(2, -1)], -1)
        assert np.ptp(color.forecast(red), axis=-1).max() > 0.1
    back = network(stack(kind, lowest), 1, family)
    assert models.start_from(back, color) == ["The source's frames have 3 channels, these 1."]
    for weight, expected in zip(back.get_weights(), gray.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6)


def test_a_preset_predicts_gray_video_as_it_predicts_it_in_color():
    preset = models.FoldedRNN.from_preset("moving-pictures")
    gray = models.FoldedRNN.from_topology(topology_of(preset.stack), 4)
    gray.build((None, None, 32, 32, 1))
    models.start_from(gray, preset)
    y, x = np.mgrid[:32, :32]
    context = np.stack([0.8 * np.sin((x + y + t) / 4) for t in range(5)])[None, ..., None].astype("float32")
    in_color = preset.forecast(context.repeat(3, -1), 4).mean(-1, keepdims=True)
    # It predicts colors that are nearly gray. The scale is what it predicts to change.
    others = gray.forecast(context, 4), context[:, -1:]
    difference, change = (np.sqrt(np.square(in_color - frames).mean()) for frames in others)
    assert difference < 0.2 * change


def test_color_through_the_kernel_of_a_convolution_is_a_compromise():
    """It is used in both directions: back and forth gives the same kernel."""
    gray, color, back = trained(stack("recurrent")), network(stack("recurrent"), 3), network(stack("recurrent"))
    models.start_from(color, gray)
    models.start_from(back, color)
    for weight, expected in zip(back.get_weights(), gray.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6)
    norms = [np.linalg.norm(model.stack[0].kernel.numpy()) for model in (gray, color)]
    np.testing.assert_allclose(*norms, rtol=1e-5)


def test_other_numbers_of_channels():
    """Of two and three, those in common are forecast alike: nothing reads the third one yet."""
    lowest = ("patch", 2)
    two, three = trained(stack("recurrent", lowest), 2), network(stack("recurrent", lowest), 3)
    context = frames(3)
    assert models.start_from(three, two) == ["The source's frames have 2 channels, these 3."]
    np.testing.assert_allclose(three.forecast(context)[..., :2], two.forecast(context[..., :2]), atol=1e-6)
    back = network(stack("recurrent", lowest), 2)
    models.start_from(back, three)
    np.testing.assert_allclose(back.forecast(context[..., :2]), two.forecast(context[..., :2]), atol=1e-6)


@pytest.mark.parametrize("lowest", [("patch", 2), ("conv", 6, 3)])
def test_motion_is_added_below(lowest):
    """The layers above are as they were, and the decoded estimates change as slowly as their gates say."""
    topology = stack("recurrent", lowest)
    source, model = trained(topology, 3), network([("motion",), *topology], 3, decoder_update_bias=-30.0)
    assert models.start_from(model, source) == ["The source has no FoldedMotion2D there: layer 1 is new."]
    context = frames(3)
    states, expected = model.encode(context), source.encode(context)
    for state, other in zip(states[1:], expected, strict=True):
        for output, like in zip(state[1:], other[1:], strict=True):
            np.testing.assert_allclose(ops.convert_to_numpy(output), ops.convert_to_numpy(like), atol=1e-6)
    if lowest[0] == "patch":
        encoded, _ = model.stack[0].encode(ops.convert_to_tensor(np.swapaxes(context, 0, 1)))
        above = np.repeat(ops.convert_to_numpy(encoded)[-1:], 4, axis=0)
        above[..., :3] = np.swapaxes(source.forecast(context), 0, 1)
        moved = model.stack[0].decode(ops.convert_to_tensor(above), states[0])
        np.testing.assert_allclose(model.forecast(context), np.swapaxes(ops.convert_to_numpy(moved), 0, 1), atol=1e-5)


def test_a_residual_block_is_added_between():
    source = trained(stack("recurrent"))
    topology = [*stack("recurrent")[:1], ("residual", 2, 3), *stack("recurrent")[1:]]
    model, context = network(topology), frames()
    assert models.start_from(model, source) == ["The source has no FoldedResidual2D there: layer 2 is new."]
    np.testing.assert_allclose(model.forecast(context), source.forecast(context), atol=1e-5)
    back, again = trained(topology), network(topology)
    assert models.start_from(again, back) == []
    np.testing.assert_allclose(again.forecast(context), back.forecast(context), atol=1e-5)
    with pytest.raises(ValueError, match="Layer 2 cannot start from the source's"):
        models.start_from(network([*topology[:1], ("residual", 3, 3), *topology[2:]]), back)


def test_gray_and_color_below_motion():
    topology = [("motion",), *stack("recurrent", ("patch", 2))]
    gray, color, back = trained(topology), network(topology, 3), network(topology)
    context = frames()
    assert models.start_from(color, gray) == ["The source's frames have 1 channels, these 3."]
    np.testing.assert_allclose(color.forecast(context.repeat(3, -1)), gray.forecast(context).repeat(3, -1), atol=1e-5)
    models.start_from(back, color)
    for weight, expected in zip(back.get_weights(), gray.get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-6)


def test_other_depths():
    source = trained(stack("recurrent"))
    shorter = network(stack("recurrent")[:2])
    assert models.start_from(shorter, source) == ["The source has 4 layers, of which the lowest 2 are used."]
    context = frames()
    np.testing.assert_allclose(shorter.forecast(context), source.truncate(2).forecast(context), atol=1e-6)
    deeper = network([*stack("recurrent"), ("recurrent", 5, 3)])
    own = deeper.stack[-1].get_weights()
    assert models.start_from(deeper, source) == ["The source has 4 layers; those above start with new weights."]
    for weight, expected in zip(deeper.get_weights(), [*source.get_weights(), *own], strict=True):
        np.testing.assert_array_equal(weight, expected)


class TestErrors:
    def test_no_network(self):
        model = network(stack("recurrent"))
        with pytest.raises(ValueError, match="`source` must be a FoldedRNN or a LadderRNN.*CopyLastFrame"):
            models.start_from(model, models.CopyLastFrame(4))
        with pytest.raises(ValueError, match="`source` has no weights yet"):
            models.start_from(model, models.FoldedRNN.from_topology(stack("recurrent"), 4))

    def test_other_families(self):
        with pytest.raises(ValueError, match="A FoldedRNN starts from a FoldedRNN. Received: a LadderRNN"):
            models.start_from(network(stack("recurrent")), network(stack("recurrent"), family=models.LadderRNN))

    @pytest.mark.parametrize(
        ("layer", "message"),
        [
            (("recurrent", 3, 5), r"Expected: .*\(3 filters, 3x3\), or with more.*Received: .*GRU\(3 filters, 5x5\)"),
            (("recurrent", 2, 3), r"Expected: .*\(3 filters, 3x3\), or with more.*Received: .*GRU\(2 filters, 3x3\)"),
            (("minimal", 3, 3), r"Received: FoldedMinConvGRU"),
            (("pool", 4), r"Received: FoldedMaxPooling2D\(size 4x4\)"),
        ],
    )
    def test_other_layers(self, layer, message):
        source, other = network(stack("recurrent")), stack("recurrent")
        other[1] = layer
        model = network(other)
        before = model.get_weights()
        with pytest.raises(ValueError, match="Layer 2 cannot start from the source's. " + ".*" + message):
            models.start_from(model, source)
        for weight, expected in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(weight, expected)
