"""Checks of layers that you have written yourself."""

import contextlib
import inspect

import keras
import numpy as np
from keras import ops

from keras_frnn.layers import layout
from keras_frnn.layers.folded_layer import FoldedLayer

_TOLERANCE = 1e-4


def check_folded_layer(layer: FoldedLayer, frames: np.ndarray):
    """Raises where a layer breaks the contract of `FoldedLayer`, so that it may not work in a model.

    It makes copies of the layer from its configuration, gives them random weights, and runs both directions. The layer
    itself stays as it is.

    Args:
        layer: built or not; its `dtype` is float32.
        frames: array `(batch, time, height, width, channels)`, or channels first if the layer is, of two time steps or
            more, for example `np.random.default_rng(0).uniform(-1, 1, (2, 4, 8, 12, 3))`.

    Raises:
        AssertionError: a sentence says which part of the contract the layer breaks.

    Example:

    >>> from keras_frnn import layers, testing
    >>> frames = np.random.default_rng(0).uniform(-1, 1, (2, 4, 8, 12, 3))
    >>> testing.check_folded_layer(layers.FoldedConvGRU(5, 3), frames)
    """
    kind, frames = type(layer).__name__, np.asarray(frames, "float32")
    _require(isinstance(layer, FoldedLayer), f"{kind} must be a subclass of keras_frnn.layers.FoldedLayer.")
    _require(frames.ndim == 5 and frames.shape[1] > 1, f"`frames` must be a video. Received: shape={frames.shape}.")
    with _while_it(kind, "is made from its configuration and built"):
        copy = _copy(layer, frames)
    with _while_it(kind, "encodes"):
        sequence = _sequence(copy, frames)
        outputs, state = copy.encode(sequence)
        _check_shapes(copy, frames.shape, sequence, outputs, state)
        _check_state(copy, sequence, outputs, state)
    with _while_it(kind, "decodes"):
        _check_decoding(copy, sequence, state)
    with _while_it(kind, "decodes with upsampling=(2, 2)"):
        _check_upsampling(copy, sequence)
    with _while_it(kind, "is saved and loaded"):
        _check_saving(copy, sequence, outputs)
    with _while_it(kind, "has dtype='mixed_bfloat16'"):
        _check_dtypes(layer, frames)
    with _while_it(kind, "is called"):
        _check_call(layer, frames)
    if hasattr(copy, "rollout"):
        with _while_it(kind, "rolls out"):
            _check_rollout(copy, sequence, state)


def _check_shapes(layer, shape, sequence, outputs, state):
    name = type(layer).__name__
    encoded = tuple(layer.encoded_shape(shape))
    found = tuple(layout.from_sequence(outputs, layer.data_format).shape)
    _require(encoded == found, f"{name}.encoded_shape says {encoded}, and `encode` returns frames of shape {found}.")
    size = [length * factor for length, factor in zip(outputs.shape[2:4], layer.downsampling, strict=True)]
    _require(
        size == list(sequence.shape[2:4]),
        f"{name}.downsampling is {layer.downsampling}, and `encode` turns frames of size {tuple(sequence.shape[2:4])} "
        f"into frames of size {tuple(outputs.shape[2:4])}.",
    )
    _require(isinstance(state, tuple), f"{name}.encode must return its state as a tuple. It returns {type(state)}.")
    expected, shapes = _shapes(layer.state_shapes(shape)), _shapes(part.shape for part in state)
    _require(
        expected == shapes, f"{name}.state_shapes says {expected}, and `encode` returns a state of shapes {shapes}."
    )
    values = layer.initial_values()
    _require(
        len(values) == len(state), f"{name}.initial_values has {len(values)} values for {len(state)} tensors of state."
    )


def _check_state(layer, sequence, outputs, state):
    name = type(layer).__name__
    first, between = layer.encode(sequence[:1])
    others, last = layer.encode(sequence[1:], between)
    streamed = np.concatenate([_array(first), _array(others)])
    _require_equal(streamed, outputs, f"{name}.encode of parts, from state to state, differs from that of the whole.")
    for part, expected in zip(last, state, strict=True):
        _require_equal(part, expected, f"{name}.encode of parts ends in another state than that of the whole.")
    again, _ = layer.encode(sequence[1:], between)
    _require_equal(again, others, f"{name}.encode changes the state that it is given.")
    start = tuple(
        ops.broadcast_to(ops.cast(value, keras.backend.standardize_dtype(part.dtype)), part.shape)
        for value, part in zip(layer.initial_values(), state, strict=True)
    )
    started, _ = layer.encode(sequence, start)
    _require_equal(started, outputs, f"{name}.encode without a state does not start from its `initial_values`.")
    again, _ = layer.encode(sequence, remat=True)
    _require_equal(again, outputs, f"{name}.encode returns something else with `remat=True`.")


def _check_decoding(layer, sequence, state):
    name, above = type(layer).__name__, _above(layer, sequence)
    decoded = layer.decode(above, state)
    found, expected = tuple(decoded.shape), (3, *sequence.shape[1:])
    _require(found == expected, f"{name}.decode must return a sequence of shape {expected}. It returns {found}.")
    _require_equal(layer.decode(above, state), decoded, f"{name}.decode changes the state that it is given.")
    _require_equal(
        layer.decode(above[:2], state), decoded[:2], f"{name}.decode lets a step depend on steps that come later."
    )
    _require_equal(
        layer.decode(above, state, remat=True), decoded, f"{name}.decode returns something else with `remat=True`."
    )
    if layer.decodes_by_upsampling:
        _require_equal(
            decoded,
            _upsampled(above, layer.downsampling),
            f"{name}.decodes_by_upsampling is true, and `decode` does more than repeat pixels.",
        )


def _check_upsampling(layer, sequence):
    _, state = layer.encode(_upsampled(sequence, (2, 2)))
    above = _above(layer, sequence)
    expected = layer.decode(_upsampled(above, (2, 2)), state)
    sentence = f"{type(layer).__name__}.decode does not upsample by `upsampling` first."
    _require_equal(layer.decode(above, state, (2, 2)), expected, sentence)


def _check_rollout(layer, sequence, state):
    name = type(layer).__name__
    frames = layer.rollout(state, 3)
    found, expected = tuple(frames.shape), (3, *sequence.shape[1:])
    _require(found == expected, f"{name}.rollout must return a sequence of shape {expected}. It returns {found}.")
    _require_equal(layer.rollout(state, 1), frames[:1], f"{name}.rollout of fewer steps is not the start of a longer.")


def _check_saving(layer, sequence, outputs):
    name = type(layer).__name__
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    _require(twin.built, f"{name}.get_build_config must have what `build` needs, and whether it has a decoder.")
    shapes = [_shapes(weight.shape for weight in copy.weights) for copy in (layer, twin)]
    _require(shapes[0] == shapes[1], f"{name} has weights of shapes {shapes[0]}, and {shapes[1]} when it is loaded.")
    twin.set_weights(layer.get_weights())
    _require_equal(twin.encode(sequence)[0], outputs, f"{name} encodes something else after it was saved and loaded.")


def _check_dtypes(layer, frames):
    name, copy = type(layer).__name__, _copy(layer, frames, dtype="mixed_bfloat16")
    sequence = ops.cast(_sequence(copy, frames), "bfloat16")
    outputs, state = copy.encode(sequence)
    tensors = {"encode": outputs, "decode": copy.decode(outputs, state)}
    tensors.update({f"the state {index} of encode": part for index, part in enumerate(state)})
    for what, tensor in tensors.items():
        found = keras.backend.standardize_dtype(tensor.dtype)
        _require(found == "bfloat16", f"With dtype='mixed_bfloat16', {what} of {name} must be bfloat16. It is {found}.")
    found = {keras.backend.standardize_dtype(weight.dtype) for weight in copy.weights}
    _require(found <= {"float32"}, f"With dtype='mixed_bfloat16', the weights of {name} must be float32, not {found}.")


def _check_call(layer, frames):
    name, copy = type(layer).__name__, type(layer).from_config(layer.get_config())
    found, expected = _shapes([copy(frames).shape]), _shapes([copy.compute_output_shape(frames.shape)])
    _require(found == expected, f"{name}.compute_output_shape says {expected[0]}, and a call returns {found[0]}.")


def _copy(layer, frames, **changed):
    """A copy of a layer that was built for both directions, with random weights."""
    name = type(layer).__name__
    config, parameters = layer.get_config(), inspect.signature(type(layer).__init__).parameters.values()
    arguments = {p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD}
    _require(arguments <= config.keys(), f"{name}.get_config lacks the arguments {sorted(arguments - config.keys())}.")
    copy = type(layer).from_config({**config, **changed})
    copy.build_both_directions(frames.shape)
    _require(
        getattr(copy, "sequence_shape", None) == frames.shape,
        f"{name}.build must call `super().build(sequence_shape)`.",
    )
    random = np.random.default_rng(0)
    copy.set_weights([random.normal(0, 0.3, weight.shape) for weight in copy.weights])
    return copy


def _above(layer, sequence):
    """Three steps from a layer above."""
    shape = layer.encode(sequence)[0].shape
    return _tensor(np.random.default_rng(1).uniform(-1, 1, (3, *shape[1:])))


def _upsampled(sequence, factors):
    return _tensor(_array(sequence).repeat(factors[0], axis=2).repeat(factors[1], axis=3))


def _sequence(layer, frames):
    return layout.to_sequence(_tensor(frames), layer.data_format)


def _tensor(array):
    return ops.convert_to_tensor(np.asarray(array, "float32"))


def _array(tensor) -> np.ndarray:
    return ops.convert_to_numpy(tensor)


def _shapes(shapes) -> list[tuple]:
    return [tuple(shape) for shape in shapes]


def _require_equal(found, expected, sentence: str):
    found, expected = np.asarray(_array(found)), np.asarray(_array(expected))
    _require(found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=_TOLERANCE), sentence)


@contextlib.contextmanager
def _while_it(name: str, does: str):
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{name} raises {type(error).__name__} when it {does}: {error}") from error


def _require(condition: bool, sentence: str):
    # Python skips `assert` statements when it runs with -O.
    if not condition:
        raise AssertionError(sentence)
