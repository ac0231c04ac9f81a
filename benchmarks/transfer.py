"""Networks that take over the weights of another one."""

import numpy as np
from keras import ops

from keras_frnn import models


def rebuilt(model, *, in_float32: bool = False, **changes) -> models.FoldedRNN:
    """A network with the same weights and another configuration.

    Args:
        model: built.
        in_float32: compute in float32, whatever the model computes in.
        **changes: to the model's configuration, such as `horizon`.
    """
    config = model.get_config()
    if in_float32:
        for part in (config, *(layer["config"] for layer in config["layers"])):
            part.pop("dtype", None)
    twin = models.FoldedRNN.from_config({**config, **changes})
    twin.build(model.context_shape)
    twin.set_weights(model.get_weights())
    return twin


def start_from(model, narrower):
    """Gives a network the weights of one with the same layers and no more filters, so that both forecast the same.

    Filters beyond the narrower network's keep their weights, but the kernels that connect them to the others are zero.
    Training changes that.

    Args:
        model: the network whose weights change; built.
        narrower: the other network; built.

    Reference: Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016, for the idea that a
    wider network starts from the function of a narrower one.
    """
    for weight, initial in zip(model.weights, narrower.weights, strict=True):
        wide, narrow = (np.array(ops.convert_to_numpy(part)) for part in (weight, initial))
        *_, part, name = weight.path.split("/")
        # Recurrent layers have one kernel per direction, in which the kernels of the gates are concatenated.
        in_cell = part in ("encoder", "decoder")
        gates = {"kernel": 3, "bias": 3, "recurrent_kernel": 2}.get(name, 1) if in_cell else 1
        weight.assign(_widened(wide, narrow, gates, both_directions=not in_cell))


def _widened(wide: np.ndarray, narrow: np.ndarray, gates: int, both_directions: bool) -> np.ndarray:
    new, old = (array.reshape(*array.shape[:-1], gates, -1) for array in (wide, narrow))
    filters = old.shape[-1]
    if old.ndim == 2:  # A bias, or an initial state.
        new[:, :filters] = old
        return new.reshape(wide.shape)
    channels = old.shape[-3]
    new[..., channels:, :, :filters] = 0
    if both_directions:
        new[..., :channels, :, filters:] = 0
    new[..., :channels, :, :filters] = old
    return new.reshape(wide.shape)
