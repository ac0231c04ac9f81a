"""Checks of layers that you have written yourself."""

import contextlib
import inspect

import keras
import numpy as np
from keras import ops

from keras_frnn.layers import layout
from keras_frnn.layers.folded_layer import FoldedLayer


def check_folded_layer(layer: FoldedLayer, frames: np.ndarray):
    """Raises if a layer breaks the contract of `FoldedLayer`, so that it may not work in a model.

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
    name, frames = type(layer).__name__, np.asarray(frames, "float32")
    _require(isinstance(layer, FoldedLayer), f"{name} must be a subclass of keras_frnn.layers.FoldedLayer.")
    _require(frames.ndim == 5 and frames.shape[1] > 1, f"`frames` must be a video. Received: shape={frames.shape}.")
    with _while_it(name, "is made from its configuration and built"):
        copy = _copy(layer, frames)
    with _while_it(name, "encodes"):
        sequence = layout.to_sequence(_tensor(frames), copy.data_format)
        outputs, state = copy.encode(sequence)
        _check_shapes(copy, name, frames.shape, sequence, outputs, state)
        _check_encoding(copy, name, sequence, outputs, state)
    above = _tensor(np.random.default_rng(1).uniform(-1, 1, (3, *outputs.shape[1:])))
    with _while_it(name, "decodes"):
        _check_decoding(copy, name, sequence, state, above)
    with _while_it(name, "decodes with upsampling=(2, 2)"):
        _, large = copy.encode(_upsampled(sequence, (2, 2)))
        expected = copy.decode(_upsampled(above, (2, 2)), large)
        _require_equal(copy.decode(above, large, (2, 2)), expected, f"{name}.decode does not upsample first.")
    with _while_it(name, "is saved and loaded"):
        _check_saving(copy, name, sequence, outputs)
    with _while_it(name, "has dtype='mixed_bfloat16'"):
        _check_dtypes(_copy(layer, frames, dtype="mixed_bfloat16"), name, ops.cast(sequence, "bfloat16"))
    with _while_it(name, "is called"):
        called = type(layer).from_config(layer.get_config())
        found, said = tuple(called(frames).shape), tuple(called.compute_output_shape(frames.shape))
        _require(found == said, f"{name}.compute_output_shape says {said}, and a call returns {found}.")
    if hasattr(copy, "rollout"):
        with _while_it(name, "rolls out"):
            _check_steps(name, "rollout", copy.rollout(state, 3), sequence)
            sentence = f"{name}.rollout of fewer steps is not the start of a longer one."
            _require_equal(copy.rollout(state, 1), copy.rollout(state, 3)[:1], sentence)


def _check_shapes(layer, name, shape, sequence, outputs, state):
    said, found = tuple(layer.encoded_shape(shape)), tuple(layout.from_sequence(outputs, layer.data_format).shape)
    _require(said == found, f"{name}.encoded_shape says {said}, and `encode` returns frames of shape {found}.")
    before, after = tuple(sequence.shape[2:4]), tuple(outputs.shape[2:4])
    _require(
        before == tuple(length * factor for length, factor in zip(after, layer.downsampling, strict=True)),
        f"{name}.downsampling is {layer.downsampling}, and `encode` turns frames of size {before} into {after}.",
    )
    _require(isinstance(state, tuple), f"{name}.encode must return its state as a tuple. It returns {type(state)}.")
    said, found = (list(map(tuple, shapes)) for shapes in (layer.state_shapes(shape), [part.shape for part in state]))
    _require(said == found, f"{name}.state_shapes says {said}, and `encode` returns a state of shapes {found}.")
    count = len(layer.initial_values())
    _require(count == len(state), f"{name}.initial_values has {count} values for {len(state)} tensors of state.")


def _check_encoding(layer, name, sequence, outputs, state):
    first, between = layer.encode(sequence[:1])
    others, last = layer.encode(sequence[1:], between)
    streamed = np.concatenate([ops.convert_to_numpy(part) for part in (first, others)])
    _require_equal(streamed, outputs, f"{name}.encode of parts, from state to state, differs from that of the whole.")
    for part, expected in zip(last, state, strict=True):
        _require_equal(part, expected, f"{name}.encode of parts ends in another state than that of the whole.")
    again, _ = layer.encode(sequence[1:], between)
    _require_equal(again, others, f"{name}.encode changes the state that it is given.")
    start = tuple(
        ops.broadcast_to(ops.cast(value, "float32"), part.shape)
        for value, part in zip(layer.initial_values(), state, strict=True)
    )
    started, _ = layer.encode(sequence, start)
    _require_equal(started, outputs, f"{name}.encode without a state does not start from its `initial_values`.")
    again, _ = layer.encode(sequence, remat=True)
    _require_equal(again, outputs, f"{name}.encode returns something else with `remat=True`.")


def _check_decoding(layer, name, sequence, state, above):
    decoded = layer.decode(above, state)
    _check_steps(name, "decode", decoded, sequence)
    fewer, again = layer.decode(above[:2], state), layer.decode(above, state)
    recomputed = layer.decode(above, state, remat=True)
    _require_equal(fewer, decoded[:2], f"{name}.decode lets a step depend on steps that come later.")
    _require_equal(again, decoded, f"{name}.decode changes the state that it is given.")
    _require_equal(recomputed, decoded, f"{name}.decode returns something else with `remat=True`.")
    if layer.decodes_by_upsampling:
        sentence = f"{name}.decodes_by_upsampling is true, and `decode` does more than repeat pixels."
        _require_equal(decoded, _upsampled(above, layer.downsampling), sentence)


def _check_steps(name, method, steps, sequence):
    found, expected = tuple(steps.shape), (3, *sequence.shape[1:])
    _require(found == expected, f"{name}.{method} must return a sequence of shape {expected}. It returns {found}.")


def _check_saving(layer, name, sequence, outputs):
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    _require(twin.built, f"{name}.get_build_config must have what `build` needs, and whether it has a decoder.")
    saved, loaded = ([tuple(weight.shape) for weight in copy.weights] for copy in (layer, twin))
    _require(saved == loaded, f"{name} has weights of shapes {saved}, and {loaded} when it is loaded.")
    twin.set_weights(layer.get_weights())
    _require_equal(twin.encode(sequence)[0], outputs, f"{name} encodes something else after it was saved and loaded.")


def _check_dtypes(layer, name, sequence):
    def require_bfloat16(what, tensor):
        found = keras.backend.standardize_dtype(tensor.dtype)
        _require(found == "bfloat16", f"With dtype='mixed_bfloat16', {what} of {name} must be bfloat16. It is {found}.")

    outputs, state = layer.encode(sequence)
    require_bfloat16("encode", outputs)
    for part in state:
        require_bfloat16("the state", part)
    require_bfloat16("decode", layer.decode(outputs, state))
    dtypes = {keras.backend.standardize_dtype(weight.dtype) for weight in layer.weights}
    _require(dtypes <= {"float32"}, f"With dtype='mixed_bfloat16', weights of {name} must be float32, not {dtypes}.")


def _copy(layer, frames, **changed):
    """A copy of a layer that was built for both directions, with random weights."""
    name, config = type(layer).__name__, layer.get_config()
    parameters = inspect.signature(type(layer).__init__).parameters.values()
    missing = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD} - {"self", *config}
    _require(not missing, f"{name}.get_config lacks the arguments {sorted(missing)}.")
    copy = type(layer).from_config({**config, **changed})
    copy.build_both_directions(frames.shape)
    shape = getattr(copy, "sequence_shape", None)
    _require(shape == frames.shape, f"{name}.build must call `super().build(sequence_shape)`.")
    random = np.random.default_rng(0)
    copy.set_weights([random.normal(0, 0.3, weight.shape) for weight in copy.weights])
    return copy


def _tensor(array):
    return ops.convert_to_tensor(np.asarray(array, "float32"))


def _upsampled(sequence, factors):
    return _tensor(ops.convert_to_numpy(sequence).repeat(factors[0], axis=2).repeat(factors[1], axis=3))


def _require_equal(found, expected, sentence: str):
    found, expected = ops.convert_to_numpy(found), ops.convert_to_numpy(expected)
    _require(found.shape == expected.shape and np.allclose(found, expected, rtol=0, atol=1e-4), sentence)


def _require(condition: bool, sentence: str):
    # Python skips `assert` statements when it runs with -O.
    if not condition:
        raise AssertionError(sentence)


@contextlib.contextmanager
def _while_it(name: str, does: str):
    try:
        yield
    except AssertionError:
        raise
    except Exception as error:
        raise AssertionError(f"{name} raises {type(error).__name__} when it {does}: {error}") from error
