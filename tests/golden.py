"""The golden arrays: what the authors' implementation computed from known weights and frames."""

import functools
import json
import pathlib

import numpy as np

from keras_frnn import layers, models, reference

DATA = pathlib.Path(__file__).parent / "data"


@functools.cache
def arrays(name: str = "frnn") -> dict:
    with np.load(DATA / f"{name}.npz") as file:
        return dict(file)


def spec(name: str = "frnn") -> dict:
    return json.loads(str(arrays(name)["spec"]))


def of_layer(kind: str, index: int, name: str = "frnn") -> dict:
    """The arrays of one layer; `kind` is `weights` or `gradients`."""
    prefix = f"{kind}/layer{index:02d}/"
    return {key.removeprefix(prefix): value for key, value in arrays(name).items() if key.startswith(prefix)}


def frames(name: str = "frnn") -> tuple[np.ndarray, np.ndarray]:
    """Context and future."""
    return np.split(arrays(name)["frames"], [spec(name)["context"]], axis=1)


def topology(name: str = "frnn") -> list[tuple]:
    kinds = {"conv": "conv", "gru": "recurrent"}
    return [("pool", 2) if kind == "pool" else (kinds[kind], rest[1], rest[0]) for kind, *rest in spec(name)["layers"]]


def network(name: str = "frnn", **kwargs) -> models.FoldedRNN | models.LadderRNN:
    """The network of the golden arrays, with their weights."""
    family = {"frnn": models.FoldedRNN, "rladder": models.LadderRNN}[name]
    model = family.from_topology(topology(name), horizon=spec(name)["horizon"], **kwargs)
    context, _ = frames(name)
    if model.data_format == "channels_first":
        context = np.moveaxis(context, -1, 2)
    model.build(context.shape)
    for index, layer in enumerate(model.stack):
        if not isinstance(layer, layers.FoldedMaxPooling2D):
            reference.assign_reference(layer, of_layer("weights", index, name))
    return model
