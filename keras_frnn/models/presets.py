"""Trained networks in folders with the layout of KerasHub: `config.json`, `model.weights.h5`, `metadata.json`.

Some are included in the package, others can be downloaded from the Hugging Face Hub and uploaded to it.
"""

import datetime
import json
import os
import pathlib
from typing import TYPE_CHECKING, Any

import h5py
import keras
import numpy as np

from keras_frnn import hub
from keras_frnn.files import atomic_path
from keras_frnn.hub import CONFIG, METADATA, WEIGHTS
from keras_frnn.models.strangers import (
    check_count,
    check_weights,
    count_weights,
    how_to_compress,
    make_network,
    parse_json,
    read_text,
)

BUILT_IN = pathlib.Path(__file__).parent.parent / "presets"
_LARGEST_WEIGHTS = 2**30  # Bytes that are downloaded, also of networks whose own layers `count_weights` does not know.

_BITS = 8
_LARGEST = (2**_BITS - 1) * 2 ** (16 - _BITS)  # Of the numbers of float16 with so many bits.

# The mixin is typed as a model; at run time, classes list it before `keras.Model`.
if TYPE_CHECKING:
    from keras import Model as _Model
else:
    _Model = object


class BuiltInPresets:
    """A class attribute: the metadata of the package's networks of that class and of its subclasses, by name.

    It is read on access, not when the package is imported.
    """

    def __get__(self, _, cls: type[keras.Model]) -> dict[str, dict]:
        contents = {path.parent.name: json.loads(path.read_text()) for path in sorted(BUILT_IN.glob(f"*/{METADATA}"))}
        return {
            name: metadata
            for name, metadata in contents.items()
            if _class_of({"registered_name": f"keras_frnn>{metadata['class_name']}"}, cls)
        }


class PresetModel(_Model):
    """A model that is loaded from presets and saved as one; comes before `keras.Model` among the base classes."""

    presets = BuiltInPresets()

    @classmethod
    def from_preset(cls, preset: str | os.PathLike, load_weights: bool = True, **kwargs) -> Any:
        """A trained network from the package, a folder, or the Hugging Face Hub.

        `models.VideoPredictor.from_preset` loads a network of any class of this package, other classes only their own.

        Args:
            preset: a name among those in `presets`; a folder that `save_to_preset` wrote; or `"hf://user/name"` on the
                Hugging Face Hub, which requires `pip install keras-frnn[hub]`. `"hf://user/name@revision"` is a branch,
                a tag or a commit.
            load_weights: whether it comes with its trained weights, or with new ones.
            kwargs: other arguments of the model than it was saved with, such as `horizon`.

        Raises:
            ValueError: the preset does not exist, is damaged, or holds a network of another class.
            OSError: the Hub cannot be reached.
            ImportError: huggingface_hub is not installed.

        Example:

        >>> import keras_frnn
        >>> model = keras_frnn.models.VideoPredictor.from_preset("moving-digits")
        >>> type(model).__name__, model.horizon
        ('FoldedRNN', 10)
        """
        return load_preset(cls, preset, load_weights, **kwargs)

    def save_to_preset(self, folder: str | os.PathLike, metadata: dict | None = None, dtype: str = "float32"):
        """Writes the network into a folder that `from_preset` reads on any backend.

        `metadata.json` also states the number of parameters, the version of Keras and the date.

        Args:
            folder: created if it does not exist.
            metadata: what else to put into `metadata.json`: how it was trained, its scores.
            dtype: of the stored weights: `"float32"`, or `"float16"`, rounded to two digits and compressed, for about a
                third of the size.

        Raises:
            ValueError: the network is not built; the folder is a file; metadata that JSON cannot hold; or weights that
                float16 cannot.
        """
        save_preset(self, folder, metadata, dtype)


def upload_preset(uri: str, preset: str | os.PathLike):
    """Uploads a folder that `save_to_preset` wrote to the Hugging Face Hub, in one commit.

    The network is loaded first, so a damaged one is not uploaded. Of the folder, `config.json`, `metadata.json`,
    `model.weights.h5` and `README.md` are uploaded. If neither the folder nor the repository has a `README.md`, it gets
    one that says how to load the network. It requires `pip install keras-frnn[hub]`, and a login with `hf auth login`.

    Args:
        uri: `"hf://user/name"`, a repository, which is created if it does not exist.
        preset: the folder.

    Raises:
        ValueError: the name is malformed, or the folder holds no network of this package.
        OSError: the Hub cannot be reached, or refuses the upload.
        ImportError: huggingface_hub is not installed.

    Example:

    >>> import keras_frnn
    >>> model = keras_frnn.models.FoldedRNN.from_preset("moving-digits")
    >>> model.save_to_preset("mine")  # doctest: +SKIP
    >>> keras_frnn.models.upload_preset("hf://user/name", "mine")  # doctest: +SKIP
    """
    if not hub.is_on_hub(uri):
        raise ValueError(f"`uri` must be 'hf://user/name', a repository on the Hugging Face Hub. Received: uri={uri!r}")
    folder = pathlib.Path(preset)
    if not folder.is_dir():
        raise ValueError(
            f"`preset` must be a folder that `save_to_preset` wrote. Received: preset={os.fspath(preset)!r}"
        )
    model = load_preset(PresetModel, folder, load_weights=True)
    hub.upload(uri, folder, _card(model, uri))


def load_preset(cls, preset: str | os.PathLike, load_weights: bool, **kwargs) -> keras.Model:
    """See `PresetModel.from_preset`."""
    name = os.fspath(preset)
    if hub.is_on_hub(preset):
        folder = hub.download(name, CONFIG, METADATA)
    else:
        folder = _local_folder(cls, preset)
        name = str(folder)
    content, metadata = (parse_json(read_text(folder / file), f"{file} in {name}") for file in (CONFIG, METADATA))
    try:
        class_name, config, context_shape = content["class_name"], content["config"], metadata["context_shape"]
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{name} is damaged: {CONFIG} or {METADATA} was not written by `save_to_preset` ({error!r})."
        ) from error
    found = _class_of(content, cls)
    if found is None:
        if known := _class_of(content, PresetModel):
            raise ValueError(
                f"{name} holds a {class_name}. Received: {cls.__name__}.from_preset. Call {known.__name__}.from_preset."
            )
        raise ValueError(f"{name} holds a {class_name!r}, which is no network of keras_frnn.models.")
    model = make_network(found, config, context_shape, f"{CONFIG} in {name}", **kwargs)
    if hub.is_on_hub(preset):
        # A file that is larger than the network's weights in float64 is not downloaded.
        largest = max(8 * count_weights(model, context_shape), _LARGEST_WEIGHTS)
        hub.download(name, WEIGHTS, largest=largest, beside=folder)
    size = (folder / WEIGHTS).stat().st_size
    check_count(model, context_shape, size, name)
    model.build(tuple(context_shape))
    if load_weights:
        try:
            with h5py.File(folder / WEIGHTS) as file:
                check_weights(file, size)
            model.load_weights(folder / WEIGHTS)
        # Damage raises various errors of h5py and Keras.
        except Exception as error:
            raise ValueError(
                f"{WEIGHTS} in {name} is damaged, or does not fit the network in {CONFIG}: {error}"
            ) from error
    return model


def _local_folder(cls, preset: str | os.PathLike) -> pathlib.Path:
    names = cls.presets
    folder = BUILT_IN / preset if preset in names else pathlib.Path(preset)
    missing = [file for file in (CONFIG, WEIGHTS, METADATA) if not (folder / file).is_file()]
    if missing:
        found = f"a folder without {' and '.join(missing)}" if folder.is_dir() else "none of these"
        raise ValueError(
            f"`preset` must be one of {list(names)}, a folder written by `save_to_preset`, or hf://user/name. "
            f"Received: preset={os.fspath(preset)!r}, which is {found}."
        )
    return folder


def _class_of(content: dict, base: type) -> type | None:
    """The class that a configuration names, if it is `base` or a subclass of it."""
    if content.get("class_name") == base.__name__:
        return base
    name = content.get("registered_name")
    found = keras.saving.get_registered_object(name) if isinstance(name, str) else None
    return found if isinstance(found, type) and issubclass(found, base) else None


def _card(model: keras.Model, uri: str) -> str:
    """The README.md of a repository, with the tags by which the Hub finds and counts it."""
    return f"""---
library_name: keras
tags: [keras, keras-frnn, video-prediction]
---
A {type(model).__name__} of [keras-frnn](https://pypi.org/project/keras-frnn/) with {model.count_params():,} parameters.
It predicts future video frames on TensorFlow, JAX and PyTorch:

```python
from keras_frnn import models  # pip install keras-frnn[hub]

model = models.{type(model).__name__}.from_preset("{uri}")
future = model.forecast(frames)  # frames in [-1, 1], of shape {model.context_shape}
```
"""


def save_preset(model: keras.Model, folder: str | os.PathLike, metadata: dict | None, dtype: str):
    """See `PresetModel.save_to_preset`."""
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
        "parameter_count": model.count_params(),
        "keras_version": keras.__version__,
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
    }
    try:
        texts = {
            CONFIG: json.dumps(keras.saving.serialize_keras_object(model), indent=2),
            METADATA: json.dumps({**(metadata or {}), **written}, indent=2),
        }
    except TypeError as error:
        raise ValueError(f"`metadata` must be JSON-serializable: {error}. Received: metadata={metadata!r}") from error
    with atomic_path(folder / WEIGHTS) as temporary:
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
