"""Loads weights of the authors' implementation into our models.

The authors have one kernel per gate over the concatenated inputs and state; a `ConvGRUCell` stores its kernels in the
form that its loop uses. This module maps one to the other.
"""

import collections
import os
import re

import keras
import numpy as np

from keras_frnn.layers import layout
from keras_frnn.layers.bridge_ladder import BridgeLadder
from keras_frnn.layers.conv_gru_cell import ConvGRUCell
from keras_frnn.layers.folded_conv2d import FoldedConv2D
from keras_frnn.layers.folded_conv_gru import FoldedConvGRU
from keras_frnn.models.layer_stack import LayerStack
from keras_frnn.optional import tensorflow

_GATES = [f"{kind}{gate}" for kind in "bw" for gate in (1, 2, 3)]
_GATES_BACK = [f"{name}_back" for name in _GATES]

# The authors' names of each layer's variables, in the order in which their checkpoints number them.
VARIABLES = {
    FoldedConv2D: ["b1", "b2", "w"],
    FoldedConvGRU: [*_GATES, *_GATES_BACK, "state_init"],
    BridgeLadder: [*_GATES, "state_init", *_GATES_BACK, "state_init_back"],
}


def load_checkpoint(model: LayerStack, path: str | os.PathLike):
    """Loads a TensorFlow 1 checkpoint of the authors' implementation into a network, on any backend.

    Args:
        model: a `FoldedRNN` or `LadderRNN` with the checkpoint's topology. If it is not built yet, it is built for
            frames of any size with the checkpoint's number of channels.
        path: the checkpoint's path without `.index` or `.data-...`, such as `model.ckpt-500000`.

    Raises:
        FileNotFoundError: there is no checkpoint at `path`.
        ValueError: the checkpoint does not fit the model: it is of another kind of network or another topology, or a
            variable is missing or has a different shape. No weight is changed in this case.
        ImportError: TensorFlow is not installed.
    """
    if not isinstance(model, LayerStack):
        raise ValueError(f"Checkpoints can only be loaded into a FoldedRNN or LadderRNN. Received: model={model!r}")
    checkpoint = _read(path)
    ours = {index: type(layer) for index, layer in enumerate(model.stack) if type(layer) in VARIABLES}
    if checkpoint.keys() != ours.keys():
        raise ValueError(
            f"{path} is of another topology: it has weights for layers {sorted(checkpoint)}, but this "
            f"{type(model).__name__} of {len(model.stack)} layers has them in {sorted(ours)}."
        )
    where = {index: f"layer_{index} ('{model.stack[index].name}')" for index in ours}
    for index, kind in ours.items():
        if set(checkpoint[index]) != set(range(len(VARIABLES[kind]))):
            raise ValueError(_wrong_count(path, where[index], kind, checkpoint[index]))
    if not model.built:
        # The lowest layer decodes to a frame, with one bias per channel.
        kind = ours[min(ours)]
        _, bias = checkpoint[min(ours)][VARIABLES[kind].index("b2" if kind is FoldedConv2D else "b1_back")]
        model.build((None, None, *layout.frame_shape(None, None, len(bias), model.data_format)))
    loaded = {}
    for index, kind in ours.items():
        names, theirs = VARIABLES[kind], checkpoint[index]
        expected = {
            name: tuple(array.shape)
            for name, array in to_reference(model.stack[index], _values(model.stack[index])).items()
        }
        for number, name in enumerate(names):
            variable, array = theirs[number]
            if array.shape != expected[name]:
                raise ValueError(
                    f"Variable {variable} of {path} has shape {array.shape}, but {name} of {where[index]} has "
                    f"{expected[name]}."
                )
        loaded[index] = {name: theirs[number][1] for number, name in enumerate(names)}
    for index, arrays in loaded.items():
        assign_reference(model.stack[index], arrays)


def _read(path) -> dict[int, dict[int, tuple[str, np.ndarray]]]:
    """Name and values of each variable by layer and number, without optimizer slots and counters."""
    # Only reading needs TensorFlow.
    tf = tensorflow("Reading the authors' checkpoints", "Files that `model.save` wrote from one do not need it.")
    path = os.fspath(path)
    if not os.path.exists(f"{path}.index"):
        raise FileNotFoundError(
            f"There is no checkpoint {path} (no file {path}.index). Pass the path without its suffix, for example "
            "'model.ckpt-500000'."
        )
    try:
        reader = tf.train.load_checkpoint(path)
        shapes = reader.get_variable_to_shape_map()
        found: dict[int, dict] = collections.defaultdict(dict)
        scopes = set()
        for name in sorted(shapes):
            match = re.fullmatch(r"(.*/)?topology_\d+/layer_(\d+)/Variable(?:_(\d+))?", name)
            if match:
                scopes.add(name[: match.start(2)])
                found[int(match[2])][int(match[3] or 0)] = (name, reader.get_tensor(name))
    except (ValueError, IndexError, RuntimeError, tf.errors.OpError) as error:
        raise ValueError(f"{path} is not a readable TensorFlow checkpoint: {error}") from error
    if not found:
        raise ValueError(
            f"{path} has no variables named SCOPE/topology_0/layer_N/Variable, as the authors' implementation has. "
            f"Found: {sorted(shapes)[:5]}"
        )
    if len(scopes) > 1:
        raise ValueError(f"{path} holds more than one network: {sorted(scopes)}. Expected one.")
    return found


def _wrong_count(path, where: str, kind: type, theirs: dict) -> str:
    names, numbers = VARIABLES[kind], sorted(theirs)
    for other, other_names in VARIABLES.items():
        if numbers == list(range(len(other_names))):
            return (
                f"{path} is of another kind of network: its {where} is a {other.__name__} with {len(other_names)} "
                f"variables, but the model's is a {kind.__name__} with {len(names)}."
            )
    missing = [f"Variable_{n} ({name})" if n else f"Variable ({name})" for n, name in enumerate(names)]
    missing = [text for n, text in enumerate(missing) if n not in theirs]
    if not missing:
        return f"{path} has too many variables for {where}, a {kind.__name__}: {len(numbers)}."
    return f"{path} lacks variables of {where}, a {kind.__name__}: {', '.join(missing)}."


def to_reference(layer, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Converts values of a layer's variables (weights or gradients) to the authors' arrays.

    Args:
        layer: a built layer of a model.
        values: arrays by the paths of the layer's variables.

    Returns:
        Arrays by the authors' names, `w1`, `b1`, and so on; empty for a layer without weights.
    """
    if isinstance(layer, FoldedConv2D):
        variables = {"w": layer.kernel, "b1": layer.bias, "b2": layer.decoder_bias}
        return {name: values[variable.path] for name, variable in variables.items()}
    if isinstance(layer, FoldedConvGRU):
        return {
            **_gates_to_reference(layer.encoder, values, "", state_first=False),
            **_gates_to_reference(layer.decoder, values, "_back", state_first=True),
            "state_init": values[layer.initial_output_state.path],
        }
    if isinstance(layer, BridgeLadder):
        return {
            **_gates_to_reference(layer.encoder, values, "", state_first=False),
            **_gates_to_reference(layer.decoder, values, "_back", state_first=False),
            "state_init": values[layer.initial_encoder_state.path],
            "state_init_back": values[layer.initial_decoder_state.path],
        }
    return {}


def assign_reference(layer, arrays: dict[str, np.ndarray]):
    """Assigns the authors' arrays to a layer; the inverse of `to_reference`."""
    if isinstance(layer, FoldedConv2D):
        layer.kernel.assign(arrays["w"])
        layer.bias.assign(arrays["b1"])
        layer.decoder_bias.assign(arrays["b2"])
    elif isinstance(layer, FoldedConvGRU):
        _assign_gates(layer.encoder, arrays, "", state_first=False)
        _assign_gates(layer.decoder, arrays, "_back", state_first=True)
        layer.initial_output_state.assign(arrays["state_init"])
    elif isinstance(layer, BridgeLadder):
        _assign_gates(layer.encoder, arrays, "", state_first=False)
        _assign_gates(layer.decoder, arrays, "_back", state_first=False)
        layer.initial_encoder_state.assign(arrays["state_init"])
        layer.initial_decoder_state.assign(arrays["state_init_back"])


def _values(layer) -> dict[str, np.ndarray]:
    return {variable.path: keras.ops.convert_to_numpy(variable) for variable in layer.variables}


def _gates_to_reference(update: ConvGRUCell, values: dict, suffix: str, state_first: bool) -> dict:
    f = update.filters
    kernels = np.split(values[update.kernel.path], 3, axis=-1)
    recurrent = values[update.recurrent_kernel.path]
    states = [recurrent[..., :f], recurrent[..., f:], values[update.candidate_kernel.path]]
    biases = np.split(values[update.bias.path], 3)
    arrays = {}
    for gate, (of_inputs, of_state, bias) in enumerate(zip(kernels, states, biases, strict=True), start=1):
        parts = (of_state, of_inputs) if state_first else (of_inputs, of_state)
        arrays[f"w{gate}{suffix}"] = np.concatenate(parts, axis=2)
        arrays[f"b{gate}{suffix}"] = bias
    return arrays


def _assign_gates(update: ConvGRUCell, arrays: dict, suffix: str, state_first: bool):
    joint = [arrays[f"w{gate}{suffix}"] for gate in (1, 2, 3)]
    split = update.filters if state_first else update.input_channels
    first, second = [w[:, :, :split] for w in joint], [w[:, :, split:] for w in joint]
    states, inputs = (first, second) if state_first else (second, first)
    update.kernel.assign(np.concatenate(inputs, axis=-1))
    update.recurrent_kernel.assign(np.concatenate(states[:2], axis=-1))
    update.candidate_kernel.assign(states[2])
    update.bias.assign(np.concatenate([arrays[f"b{gate}{suffix}"] for gate in (1, 2, 3)]))
