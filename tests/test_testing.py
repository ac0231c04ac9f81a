"""Every layer here fulfils the contract, and the check finds what breaks it."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_frnn import backend, layers
from keras_frnn.testing import check_folded_layer

FRAMES = np.random.default_rng(0).uniform(-1, 1, (2, 4, 8, 12, 3)).astype("float32")
LAYERS = [
    layers.FoldedConv2D(4, 5),
    layers.FoldedConv2D(4, (3, 1), kernel_initializer=layers.ScaledOrthogonal(seed=1)),
    layers.FoldedMaxPooling2D((4, 3)),
    layers.FoldedPatch2D((2, 3)),
    layers.FoldedMotion2D(reach=2.0),
    layers.FoldedResidual2D(2, (3, 1)),
    layers.FoldedConvGRU(5, 3, update_bias=-1.0, return_sequences=True),
    layers.FoldedMinConvGRU(5, (3, 5)),
    layers.BridgeLadder(5, 3),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_fulfil_the_contract(layer):
    check_folded_layer(layer, FRAMES)
    assert not layer.built


def test_channels_first():
    check_folded_layer(layers.FoldedConvGRU(5, 3, data_format="channels_first"), np.moveaxis(FRAMES, -1, 2))


@keras.saving.register_keras_serializable(package="tests")
class Difference(layers.FoldedLayer):
    """What changes from step to step."""

    def __init__(self, scale=0.5, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def encode(self, sequence, state=None, remat=False):
        last = ops.zeros_like(sequence[0]) if state is None else state[0]
        return self.scale * (sequence - ops.concatenate([last[None], sequence[:-1]])), (sequence[-1],)

    def decode(self, sequence, state, upsampling=(1, 1), remat=False):
        return state[0] + ops.cumsum(backend.upsample(sequence, upsampling), axis=0) / self.scale

    def encoded_shape(self, sequence_shape):
        return tuple(sequence_shape)

    def state_shapes(self, sequence_shape):
        return ((sequence_shape[0], *self.size_and_channels(sequence_shape)),)

    def initial_values(self):
        return (0.0,)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def test_a_layer_that_is_right():
    check_folded_layer(Difference(), FRAMES)


def encode_without_state(self, sequence, state=None, remat=False):
    return Difference.encode(self, sequence)


def encode_from_other_values(self, sequence, state=None, remat=False):
    return Difference.encode(self, sequence, (ops.ones_like(sequence[0]),) if state is None else state)


def encode_otherwise_with_remat(self, sequence, state=None, remat=False):
    outputs, state = Difference.encode(self, sequence, state)
    return outputs + remat, state


def encode_in_float32(self, sequence, state=None, remat=False):
    outputs, state = Difference.encode(self, sequence, state)
    return ops.cast(outputs, "float32"), state


def encode_from_a_list(self, sequence, state=None, remat=False):
    return Difference.encode(self, sequence, state)[0], [sequence[-1]]


def decode_from_later_steps(self, sequence, state, upsampling=(1, 1), remat=False):
    return Difference.decode(self, ops.flip(sequence, 0), state, upsampling)


def decode_without_upsampling(self, sequence, state, upsampling=(1, 1), remat=False):
    return Difference.decode(self, sequence, state)


def decode_upsampling_later(self, sequence, state, upsampling=(1, 1), remat=False):
    return Difference.decode(self, sequence, state, upsampling) + (upsampling[0] - 1)


def decode_the_last_step(self, sequence, state, upsampling=(1, 1), remat=False):
    return Difference.decode(self, sequence, state, upsampling)[-1:]


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"encode": encode_without_state}, "encode of parts, from state to state, differs from that of the whole"),
        ({"encode": encode_from_other_values}, "does not start from its `initial_values`"),
        ({"encode": encode_otherwise_with_remat}, "encode returns something else with `remat=True`"),
        (
            {"encode": encode_in_float32},
            "With dtype='mixed_bfloat16', encode of Broken must be bfloat16. It is float32",
        ),
        ({"encode": encode_from_a_list}, "must return its state as a tuple. It returns <class 'list'>"),
        ({"decode": decode_from_later_steps}, "lets a step depend on steps that come later"),
        ({"decode": decode_without_upsampling}, r"raises \w+ when it decodes with upsampling=\(2, 2\): "),
        ({"decode": decode_upsampling_later}, "decode does not upsample first"),
        ({"decode": decode_the_last_step}, r"must return a sequence of shape \(3, 2, 8, 12, 3\). It returns \(1, 2, "),
        ({"decodes_by_upsampling": True}, "decodes_by_upsampling is true, and `decode` does more"),
        (
            {"downsampling": (2, 2)},
            r"downsampling is \(2, 2\), and `encode` turns frames of size \(8, 12\) into \(8, 12\)",
        ),
        ({"encoded_shape": lambda self, shape: (*shape[:-1], 1)}, r"encoded_shape says \(2, 4, 8, 12, 1\), and"),
        (
            {"state_shapes": lambda self, shape: ()},
            r"state_shapes says \[\], and `encode` returns a state of shapes \[\(",
        ),
        ({"initial_values": lambda self: ()}, "initial_values has 0 values for 1 tensors of state"),
        ({"rollout": lambda self, state, steps: state[0][None]}, r"rollout must return a sequence of shape \(3, "),
        ({"build": lambda self, shape: None}, r"build must call `super\(\).build\(sequence_shape\)`"),
        ({"get_build_config": lambda self: None}, "get_build_config must have what `build` needs"),
        (
            {"get_config": lambda self: layers.FoldedLayer.get_config(self)},
            r"get_config lacks the arguments \['scale'\]",
        ),
        ({"compute_output_shape": lambda self, shape: (1,)}, r"says \(1,\), and a call returns \(2, 4, 8, 12, 3\)"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_layers_that_break_the_contract(broken, sentence):
    kind = keras.saving.register_keras_serializable("tests")(type("Broken", (Difference,), broken))
    with pytest.raises(AssertionError, match=sentence):
        check_folded_layer(kind(scale=0.25), FRAMES)


def test_what_is_not_a_folded_layer_or_a_video():
    with pytest.raises(AssertionError, match="Dense must be a subclass of keras_frnn.layers.FoldedLayer"):
        check_folded_layer(keras.layers.Dense(2), FRAMES)
    with pytest.raises(AssertionError, match=r"must be a video. Received: shape=\(4, 8, 12, 3\)"):
        check_folded_layer(Difference(), FRAMES[0])
