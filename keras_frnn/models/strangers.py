"""Checks of a network's files before they are loaded: they may come from an untrusted source, or be damaged.

Everything is checked before weights are created. Their number according to the configuration is compared with the size
of the weights file, so a network needs no more memory than its files suggest, and only classes of this package are
created from them.
"""

import io
import json
import math
import os
import pathlib
import zipfile
import zlib
from typing import Any

import h5py
import keras
import numpy as np

from keras_frnn.checks import shapes_fit
from keras_frnn.hub import LARGEST_TEXT
from keras_frnn.layers.bridge_ladder import BridgeLadder
from keras_frnn.layers.folded_conv2d import FoldedConv2D
from keras_frnn.layers.folded_conv_gru import FoldedConvGRU
from keras_frnn.layers.folded_min_conv_gru import FoldedMinConvGRU
from keras_frnn.layers.folded_residual2d import FoldedResidual2D

_LARGEST_RATIO = 8  # The largest compression ratio of a .keras file, which Keras does not compress.
_LARGEST_WEIGHTS_RATIO = 2  # The largest compression ratio of the weights of a preset.
_LEVEL = 9  # Of gzip.
_LEAST_COMPRESSED = 4096  # Bytes of a weight. For less, HDF5's index would take more space than compression saves.
# The modules whose classes may be in a network's configuration, besides registered classes.
_MODULES = ("keras.initializers", "keras.random", "keras.dtype_policies")
_POLICIES = ("DTypePolicy", "FloatDTypePolicy")


def parse_json(text: bytes, name: str) -> Any:
    """The contents of untrusted JSON.

    Raises:
        ValueError: it is damaged, larger than 16 MiB, or nested too deeply.
    """
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"{name} is damaged: it has more than {LARGEST_TEXT:,} bytes.")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{name} is damaged: {error}.") from error
    except RecursionError:
        raise ValueError(f"{name} is damaged: it is nested too deeply.") from None


def read_text(path: pathlib.Path) -> bytes:
    """The contents of a file for `parse_json`, up to the largest size that it accepts plus one byte."""
    with open(path, "rb") as file:
        return file.read(LARGEST_TEXT + 1)


def make_network(cls: type[keras.Model], config: dict, context_shape, name: str, **kwargs) -> keras.Model:
    """Creates the network of a configuration without building its layers, so without weights.

    Args:
        cls: class of the network.
        config: the configuration, as returned by `get_config`.
        context_shape: shape of the frames that it will be built for.
        name: name of the file, for messages.
        kwargs: arguments that replace those of the configuration.

    Raises:
        ValueError: the configuration is damaged, or contains something that does not belong to a network.
    """
    try:
        _check_objects(config)
        network = cls.from_config({**_without_weights(config), **kwargs})
        _check_shape(context_shape)
    except (Exception, RecursionError) as error:
        # Keras prints the configuration before the actual error.
        reason = str(error).rsplit("Exception encountered: ", 1)[-1].strip().rstrip(".") or type(error).__name__
        raise ValueError(f"{name} and the arguments do not define a {cls.__name__}: {reason}.") from error
    return network


def check_count(network: keras.Model, context_shape, held: int, name: str):
    """Raises a ValueError if a network would have more weights than a file of `held` bytes can hold."""
    count = count_weights(network, context_shape)
    if 2 * count > _LARGEST_WEIGHTS_RATIO * held:  # float16
        raise ValueError(
            f"{name} is damaged: its network has {count:,} weights, but the {held:,} bytes of its weights file hold "
            "fewer."
        )


def count_weights(network: keras.Model, context_shape) -> int:
    """The number of weights that a network will have for frames of this shape; it is not built."""
    count = 0
    for layer, channels in network.layers_and_inputs(context_shape):
        if isinstance(layer, FoldedConv2D):
            count += math.prod(layer.kernel_size) * channels * layer.filters + layer.filters + channels
        elif isinstance(layer, FoldedResidual2D):
            middle = layer.expansion * channels
            count += 2 * (middle * (math.prod(layer.kernel_size) * channels + channels + 1) + 2 * channels)
        elif isinstance(layer, FoldedMinConvGRU):
            area = math.prod(layer.kernel_size)
            count += layer.filters + sum(2 * b * (area * a + 1) for a, b in _directions(channels, layer.filters))
        elif isinstance(layer, FoldedConvGRU):
            area = math.prod(layer.kernel_size)
            count += layer.filters + sum(3 * b * (area * (a + b) + 1) for a, b in _directions(channels, layer.filters))
        elif isinstance(layer, BridgeLadder):
            area = math.prod(layer.kernel_size)
            both = _directions(channels, layer.filters)
            count += layer.filters + channels + sum(3 * b * (area * (2 * a + b) + 1) for a, b in both)
        elif isinstance(layer, keras.layers.ConvLSTM2D):
            count += 4 * layer.filters * (math.prod(layer.kernel_size) * (channels + layer.filters) + 1)
        elif isinstance(layer, keras.layers.DepthwiseConv2D):
            count += channels * (math.prod(layer.kernel_size) + layer.use_bias)
        elif isinstance(layer, keras.layers.Conv2D):
            count += layer.filters * (math.prod(layer.kernel_size) * channels + layer.use_bias)
        elif isinstance(layer, keras.layers.GroupNormalization):
            count += 2 * channels
        elif isinstance(layer, keras.layers.BatchNormalization):
            count += 4 * channels
    return count


def _directions(channels: int, filters: int):
    """Channels of the inputs and states of encoding and of decoding."""
    return (channels, filters), (filters, channels)


def how_to_compress(weight: np.ndarray) -> dict:
    """Arguments of h5py's `create_dataset` for a weight; `check_weights` accepts no other compression."""
    inflated = weight.nbytes
    if inflated < _LEAST_COMPRESSED:
        return {}
    planes = weight.reshape(-1).view("uint8").reshape(-1, weight.itemsize).T  # As the filter `shuffle` orders bytes.
    if _LARGEST_WEIGHTS_RATIO * len(zlib.compress(planes.tobytes(), _LEVEL)) <= inflated:
        return {}
    return {"chunks": weight.shape, "shuffle": True, "compression": "gzip", "compression_opts": _LEVEL}


def check_weights(file: h5py.File, held: int):
    """Raises a ValueError if an HDF5 file of `held` bytes does not hold all its weights, or holds anything else."""
    claimed = 0

    def fault_of_link(path, link):
        return None if isinstance(link, h5py.HardLink) else f"{path!r} is a link, which may lead to other files"

    def fault_of_item(path, item):
        nonlocal claimed
        if not isinstance(item, h5py.Dataset):
            return None
        properties = item.id.get_create_plist()
        if properties.get_layout() == h5py.h5d.VIRTUAL or properties.get_external_count():
            return f"{path!r} lies in other files"
        is_number = item.dtype.kind == "f" or (item.dtype.kind in "iu" and path.startswith("optimizer"))
        if not is_number and item.attrs.get("dtype") != "bfloat16":
            return f"{path!r} has dtype {item.dtype}, not floating-point numbers"
        size = math.prod(item.shape or ()) * item.dtype.itemsize
        claimed += size
        is_compressed = _is_compressed(item)
        ratio = _LARGEST_WEIGHTS_RATIO if is_compressed else 1
        if ratio * item.id.get_storage_size() < size or claimed > _LARGEST_WEIGHTS_RATIO * held:
            return f"{path!r} has the shape {item.shape}, but less data is stored"
        if properties.get_nfilters() and not (is_compressed and _inflates_to(item, size)):
            return f"{path!r} is compressed in another way than by `save_to_preset`"
        return None

    # h5py swallows exceptions raised during a visit.
    fault = file.visititems_links(fault_of_link) or file.visititems(fault_of_item)
    if fault:
        raise ValueError(fault)


def _is_compressed(item: h5py.Dataset) -> bool:
    """Whether a weight is stored as `how_to_compress` says."""
    is_whole = item.chunks == item.shape and item.id.get_num_chunks() == 1
    return is_whole and item.shuffle and item.compression == "gzip" and item.id.get_create_plist().get_nfilters() == 2


def _inflates_to(item: h5py.Dataset, size: int) -> bool:
    """Whether a compressed weight has so many bytes. HDF5 would inflate any number."""
    unused_filters, chunk = item.id.read_direct_chunk((0,) * item.ndim)
    inflater = zlib.decompressobj()
    try:
        return not unused_filters and len(inflater.decompress(chunk, size + 1)) == size and inflater.eof
    except zlib.error:
        return False


def check_keras_file(path: str | os.PathLike, classes: tuple[type[keras.Model], ...]):
    """Checks a .keras file before Keras loads it.

    Args:
        path: path of the file.
        classes: allowed classes of its network.

    Raises:
        ValueError: the file is damaged, decompresses to far more than its size, or holds something else.
    """
    path = pathlib.Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
            if sum(sizes.values()) > _LARGEST_RATIO * path.stat().st_size:
                raise ValueError(f"{path} is damaged: it unpacks to {sum(sizes.values()):,} bytes.")
            with archive.open("config.json") as file:
                content = parse_json(file.read(LARGEST_TEXT + 1), f"config.json in {path}")
            weights = archive.read("model.weights.h5")
    # The exceptions of zipfile.
    except (OSError, KeyError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is not a network that Keras loads: {error}.") from error
    name = content.get("class_name") if isinstance(content, dict) else None
    cls = next((cls for cls in classes if cls.__name__ == name), None)
    if cls is None:
        found = f"a {name}" if name else "no network"
        raise ValueError(f"{path} holds {found}. Expected a trained network of keras_frnn.models.")
    context_shape = _built_for(content, "context_shape")
    network = make_network(cls, content.get("config"), context_shape, f"config.json in {path}")
    _check_built(network, content, context_shape, path)
    check_count(network, context_shape, len(weights), str(path))
    try:
        with h5py.File(io.BytesIO(weights)) as file:
            check_weights(file, len(weights))
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"model.weights.h5 in {path} is damaged: {error}.") from error


def _check_built(network: keras.Model, content: dict, context_shape, path: pathlib.Path):
    """Raises an error if a layer of a .keras file, which Keras builds separately, was not built for its frames."""
    shape = tuple(context_shape)
    entries = content["config"].get("layers", ())
    for layer, entry in zip(getattr(network, "stack", ()), entries, strict=False):
        built = _built_for(entry, "sequence_shape")
        if not isinstance(built, list) or not shapes_fit(built, shape):
            raise ValueError(
                f"config.json in {path} is damaged: layer '{layer.name}' was built for {built}. Expected {shape}."
            )
        shape = layer.encoded_shape(shape)


def _built_for(entry: dict, key: str):
    build_config = entry.get("build_config")
    return build_config.get(key) if isinstance(build_config, dict) else None


def _check_objects(config):
    """Raises an error if a configuration names foreign classes: old versions of Keras would import them."""
    if isinstance(config, list):
        for part in config:
            _check_objects(part)
    if not isinstance(config, dict):
        return
    if "class_name" in config:
        module, name = config.get("module"), config["class_name"]
        is_known = module in _MODULES or (module == "keras" and name in _POLICIES)
        if not is_known and keras.saving.get_registered_object(config.get("registered_name")) is None:
            raise ValueError(f"{module}.{name} cannot be part of a network")
    for part in config.values():
        _check_objects(part)


def _without_weights(config: dict) -> dict:
    """The configuration without the shapes that its layers were built for, with which they would create weights."""
    layers = [{key: part for key, part in layer.items() if key != "build_config"} for layer in config.get("layers", ())]
    return {**config, "layers": layers} if layers else dict(config)


def _check_shape(shape):
    is_shape = isinstance(shape, list | tuple) and len(shape) == 5
    if not is_shape or not all(
        length is None or (isinstance(length, int) and not isinstance(length, bool) and length > 0) for length in shape
    ):
        raise ValueError(f"the shape of its frames is {shape!r}; expected five positive integers, or null")
