"""Trained networks in folders with the layout of KerasHub: `config.json`, `model.weights.h5`, `metadata.json`.

Some are included in the package.
"""

import json
import os
import pathlib

import h5py
import keras
import numpy as np

from keras_frnn.files import atomic_path
from keras_frnn.models.strangers import (
    check_count,
    check_weights,
    how_to_compress,
    make_network,
    parse_json,
    read_text,
)

BUILT_IN = pathlib.Path(__file__).parent.parent / "presets"
_BITS = 8
_LARGEST = (2**_BITS - 1) * 2 ** (16 - _BITS)  # Of the numbers of float16 with so many bits.
_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"


class BuiltInPresets:
    """A class attribute: the metadata of the package's networks of that class, by name.

    It is read on access, not when the package is imported.
    """

    def __get__(self, _, cls: type[keras.Model]) -> dict[str, dict]:
        contents = {path.parent.name: json.loads(path.read_text()) for path in sorted(BUILT_IN.glob(f"*/{_METADATA}"))}
        return {name: metadata for name, metadata in contents.items() if metadata["class_name"] == cls.__name__}


def load_preset(cls, preset: str | os.PathLike, load_weights: bool, **kwargs) -> keras.Model:
    """See `LayerStack.from_preset`."""
    names = cls.presets
    folder = BUILT_IN / preset if preset in names else pathlib.Path(preset)
    missing = [name for name in (_CONFIG, _WEIGHTS, _METADATA) if not (folder / name).is_file()]
    if missing:
        found = f"a folder without {' and '.join(missing)}" if folder.is_dir() else "neither"
        raise ValueError(
            f"`preset` must be one of {list(names)}, or a folder written by `save_to_preset`. Received: "
            f"preset={os.fspath(preset)!r}, which is {found}."
        )
    content, metadata = (parse_json(read_text(folder / name), str(folder / name)) for name in (_CONFIG, _METADATA))
    try:
        class_name, config, context_shape = content["class_name"], content["config"], metadata["context_shape"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder} is damaged: {_CONFIG} or {_METADATA} was not written by `save_to_preset` ({error!r})."
        ) from error
    if class_name != cls.__name__:
        raise ValueError(
            f"{folder} holds a {class_name}. Received: {cls.__name__}.from_preset. Call {class_name}.from_preset."
        )
    model = make_network(cls, config, context_shape, str(folder / _CONFIG), **kwargs)
    size = (folder / _WEIGHTS).stat().st_size
    check_count(model, context_shape, size, str(folder))
    model.build(tuple(context_shape))
    if load_weights:
        try:
            with h5py.File(folder / _WEIGHTS) as file:
                check_weights(file, size)
            model.load_weights(folder / _WEIGHTS)
        # Damage raises various errors of h5py and Keras.
        except Exception as error:
            raise ValueError(
                f"The weights in {folder / _WEIGHTS} are damaged, or do not fit the network in {_CONFIG}: {error}"
            ) from error
    return model


def save_preset(model: keras.Model, folder: str | os.PathLike, metadata: dict | None, dtype: str):
    """See `LayerStack.save_to_preset`."""
    if not model.built:
        raise ValueError("The network has no weights yet. Call it on frames, or train it, before saving it.")
    if dtype not in ("float32", "float16"):
        raise ValueError(f"`dtype` must be 'float32' or 'float16'. Received: dtype={dtype!r}")
    folder = pathlib.Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"A preset is a folder. Received: folder={os.fspath(folder)!r}, which is a file.")
    written = {
        "class_name": type(model).__name__,
        "context_shape": model.context_shape,
        "weights": model.count_params(),
        "keras_version": keras.__version__,
    }
    try:
        texts = {
            _CONFIG: json.dumps(keras.saving.serialize_keras_object(model), indent=2),
            _METADATA: json.dumps({**(metadata or {}), **written}, indent=2),
        }
    except TypeError as error:
        raise ValueError(f"`metadata` must be JSON-serializable: {error}. Received: metadata={metadata!r}") from error
    with atomic_path(folder / _WEIGHTS) as temporary:
        model.save_weights(temporary, overwrite=True)
        if dtype == "float16":
            _to_float16(temporary)
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text + "\n")


def _to_float16(path: pathlib.Path):
    """Rounds the weights to eight significant bits, as bfloat16 has, and stores them as compressed float16.

    Keras loads them without conversion.
    """
    with h5py.File(path) as file:
        values = {}
        file.visititems(lambda name, item: values.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    beyond = [name for name, value in values.items() if np.abs(value).max(initial=0) > _LARGEST]
    if beyond:
        raise ValueError(f"float16 cannot hold the weights {', '.join(beyond)}, which exceed {_LARGEST}.")
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            fraction, exponent = np.frexp(value)
            rounded = np.ldexp(np.rint(fraction * 2**_BITS) / 2**_BITS, exponent).astype("float16")
            file.create_dataset(name, data=rounded, **how_to_compress(rounded))
