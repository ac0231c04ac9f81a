"""Networks that begin with what a narrower one has learned."""

import numpy as np
from keras import ops


def start_from(model, narrower):
    """Gives a network the forecasts of another one whose layers are the same, with as many filters or fewer.

    Filters beyond the other's keep their weights, so they are ready to be listened to, but those that were there before
    do not listen to them yet: their kernels are zero there.

    Args:
        model: built; its weights change.
        narrower: built.

    Reference: Chen et al., "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016, for the idea that a
    wider network starts from the function of a narrower one.
    """
    for weight, initial in zip(model.weights, narrower.weights, strict=True):
        wide, narrow = (np.array(ops.convert_to_numpy(part)) for part in (weight, initial))
        *_, part, name = weight.path.split("/")
        # A recurrent layer has the kernels of its gates in one, and a kernel for each direction.
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
