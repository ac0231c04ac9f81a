"""Weights of the authors' implementation in our models.

The authors keep one kernel a gate over the concatenated input and state, a `GatedUpdate` keeps them as its loop uses
them. This module knows which slice of ours is which of theirs.
"""

import numpy as np

from keras_frnn.layers.folded_conv2d import FoldedConv2D
from keras_frnn.layers.folded_conv_gru import FoldedConvGRU
from keras_frnn.layers.gated_update import GatedUpdate


def to_reference(layer, values: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The authors' arrays of a folded layer, from values (weights or gradients) of our variables.

    Args:
        layer: a built folded layer of a model.
        values: an array for the path of each of the layer's variables.

    Returns:
        Arrays by the authors' names, `w1`, `b1`, ... ; empty for a layer without weights.
    """
    if isinstance(layer, FoldedConv2D):
        return {
            "w": values[layer.kernel.path],
            "b1": values[layer.bias.path],
            "b2": values[layer.decoder_bias.path],
        }
    if isinstance(layer, FoldedConvGRU):
        return {
            **_gates_to_reference(layer.encoder, values, "", state_first=False),
            **_gates_to_reference(layer.decoder, values, "_back", state_first=True),
            "state_init": values[layer.initial_output_state.path],
        }
    return {}


def assign_reference(layer, arrays: dict[str, np.ndarray]):
    """Gives a folded layer the authors' weights; the inverse of `to_reference`."""
    if isinstance(layer, FoldedConv2D):
        layer.kernel.assign(arrays["w"])
        layer.bias.assign(arrays["b1"])
        layer.decoder_bias.assign(arrays["b2"])
    elif isinstance(layer, FoldedConvGRU):
        _assign_gates(layer.encoder, arrays, "", state_first=False)
        _assign_gates(layer.decoder, arrays, "_back", state_first=True)
        layer.initial_output_state.assign(arrays["state_init"])


def _gates_to_reference(update: GatedUpdate, values: dict, suffix: str, state_first: bool) -> dict:
    f = update.filters
    kernels = np.split(values[update.kernel.path], 3, axis=-1)
    recurrent = values[update.recurrent_kernel.path]
    states = [recurrent[..., :f], recurrent[..., f:], values[update.candidate_kernel.path]]
    biases = np.split(values[update.bias.path], 3)
    arrays = {}
    for gate, (of_input, of_state, bias) in enumerate(zip(kernels, states, biases, strict=True), start=1):
        parts = (of_state, of_input) if state_first else (of_input, of_state)
        arrays[f"w{gate}{suffix}"] = np.concatenate(parts, axis=2)
        arrays[f"b{gate}{suffix}"] = bias
    return arrays


def _assign_gates(update: GatedUpdate, arrays: dict, suffix: str, state_first: bool):
    joint = [arrays[f"w{gate}{suffix}"] for gate in (1, 2, 3)]
    split = update.filters if state_first else update.input_channels
    first, second = [w[:, :, :split] for w in joint], [w[:, :, split:] for w in joint]
    states, inputs = (first, second) if state_first else (second, first)
    update.kernel.assign(np.concatenate(inputs, axis=-1))
    update.recurrent_kernel.assign(np.concatenate(states[:2], axis=-1))
    update.candidate_kernel.assign(states[2])
    update.bias.assign(np.concatenate([arrays[f"b{gate}{suffix}"] for gate in (1, 2, 3)]))
