"""Network files that were forged: a sentence, before any memory is taken."""

import contextlib
import io
import json
import shutil
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest

from keras_frnn import models
from keras_frnn.command.networks import load_model
from keras_frnn.models.strangers import count_weights

SHAPE = (None, 3, 8, 8, 1)
WEIGHTS = "layers/folded_conv2d/vars"


def small(**kwargs):
    layers = [("conv", 3, 3), ("pool", 2), ("minimal", 5, 3), ("residual", 2, 3), ("recurrent", 4, (3, 1))]
    return models.FoldedRNN.from_topology(layers, horizon=2, **kwargs)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (small, SHAPE),
        (lambda: small(data_format="channels_first"), (None, None, 2, None, None)),
        (lambda: models.LadderRNN.from_topology([("patch", 2), ("conv", 3, 5), ("recurrent", 4, 3)], 2), SHAPE),
        (lambda: models.ConvLSTMForecaster(2, filters=(5, 3), kernel_size=(3, 5), patch_size=2), SHAPE),
        (lambda: models.PredRNN(2, filters=(3, 3), kernel_size=3, patch_size=2), SHAPE),
        (lambda: models.SimVP(2, context=3, filters=4, hidden_filters=5, encoder_layers=3, blocks=3), SHAPE),
        (lambda: models.StackedConvLSTM(2, filters=(5, 3), kernel_size=(3, 5), patch_size=2), SHAPE),
        (lambda: models.CopyLastFrame(2), SHAPE),
    ],
)
def test_weights_are_counted_as_keras_counts_them(make, shape):
    model = make()
    counted = count_weights(model, shape)
    assert not model.weights
    model.build(shape)
    assert counted == model.count_params()


def conv(config):
    return config["config"]["layers"][0]["config"]


def built_for(config, channels):
    for entry in (config, config["config"]["layers"][0]):
        for shape in entry.get("build_config", {}).values():
            if isinstance(shape, list):
                shape[-1] = channels


def of_os(config):
    config["config"]["layers"][0] = {"module": "os", "class_name": "system", "config": {}, "registered_name": "system"}


def initialized_by(module, name):
    entry = {"module": module, "class_name": name, "config": {}, "registered_name": None}
    return lambda config: conv(config).update(kernel_initializer=entry)


CONFIGS = {
    "filters": (lambda c: conv(c).update(filters=10**9), "damaged"),
    "kernel": (lambda c: conv(c).update(kernel_size=[10**5, 10**5]), r"30,000,00\d,\d+ weights, but the"),
    "channels": (lambda c: built_for(c, 10**9), r"\d,000,\d+,\d+ weights, but the"),
    "more than integers": (lambda c: conv(c).update(filters=10**30), "damaged"),
    "no number": (lambda c: conv(c).update(filters=float("nan")), "`filters` must be a positive integer"),
    "dtype": (lambda c: conv(c)["dtype"]["config"].update(name="float33"), "do not define a FoldedRNN: .*float33"),
    "dtype of the model": (lambda c: c["config"]["dtype"]["config"].update(name="complex64"), "`dtype` must be float"),
    "dtype that is none": (lambda c: conv(c).update(dtype=7), "do not define a FoldedRNN: .*7"),
    "code": (of_os, "os.system cannot be part of a network"),
    "import": (initialized_by("keras.utils", "get_file"), "keras.utils.get_file cannot be part of a network"),
    "no layers": (lambda c: c["config"].update(layers=7), "do not define a FoldedRNN"),
}
TEXTS = {
    "lists": "[" * 10_000 + "]" * 10_000,
    "objects": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "cut": '{"class_name": "FoldedRNN",',
    "long": " " * (2**24 + 1),
}
ONES = np.ones((3, 3, 1, 3))
NOISE = np.random.default_rng(0).normal(size=ONES.shape)
STORED = {
    "text": (dict(data=np.full(ONES.shape, b"a")), ", not floating-point numbers"),
    "complex": (dict(data=ONES.astype("complex64")), "'.*vars/0' has dtype complex64, not"),
    "integers": (dict(data=ONES.astype("int8")), "has dtype int8, not"),
    "sizes": (dict(data=ONES.astype([("a", "f4")])), ", not floating-point numbers"),
    "chunks": (dict(shape=(10**5, 10**5, 1, 3), dtype="f4", chunks=(100, 100, 1, 3)), "but less data is stored"),
    "gzip": (dict(data=ONES, chunks=ONES.shape, shuffle=True, compression="gzip"), "but less data is stored"),
    "lzf": (dict(data=NOISE, chunks=NOISE.shape, compression="lzf"), "is compressed in another way"),
    "gzip of chunks": (dict(data=NOISE, chunks=(1, 3, 1, 3), compression="gzip"), "is compressed in another way"),
    "another file": (dict(shape=ONES.shape, dtype="f4", external=[("/etc/passwd", 0, 108)]), "lies in other files"),
    "link": (h5py.SoftLink("/vars"), "'.*vars/0' is a link"),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A preset, and a .keras file, by the names of what is in both."""
    folder = tmp_path_factory.mktemp("good")
    model = models.FoldedRNN.from_topology([("conv", 3, 3), ("pool", 2), ("recurrent", 4, 3)], horizon=2)
    model.stack[0].name = "folded_conv2d"
    model.build(SHAPE)
    model.save_to_preset(folder / "preset")
    model.save(folder / "model.keras")
    return folder


@pytest.fixture(params=["preset", "model.keras"])
def forged(request, good, tmp_path):
    """A function: replaces the bytes of one file in a network by those that another function makes of it; loads it."""

    def load(name, forge):
        if request.param == "preset":
            shutil.copytree(good / "preset", tmp_path / "preset")
            path = tmp_path / "preset" / name
            path.write_bytes(forge(path.read_bytes()))
            if name == "config.json":  # What .keras files have in one place.
                with contextlib.suppress(ValueError, RecursionError):
                    shape = json.loads(path.read_bytes())["build_config"]["context_shape"]
                    metadata = json.loads((path.parent / "metadata.json").read_bytes())
                    (path.parent / "metadata.json").write_text(json.dumps({**metadata, "context_shape": shape}))
            return models.FoldedRNN.from_preset(tmp_path / "preset")
        with zipfile.ZipFile(good / "model.keras") as source, zipfile.ZipFile(tmp_path / "a.keras", "w") as target:
            for entry in source.namelist():
                target.writestr(entry, forge(source.read(entry)) if entry == name else source.read(entry))
        return load_model(str(tmp_path / "a.keras"))

    return load


class TestForged:
    def test_nothing(self, forged):
        assert forged("config.json", lambda content: content).horizon == 2

    @pytest.mark.once
    @pytest.mark.parametrize("case", CONFIGS)
    def test_configuration(self, forged, case):
        change, message = CONFIGS[case]

        def forge(content):
            config = json.loads(content)
            change(config)
            return json.dumps(config).encode()

        with pytest.raises(ValueError, match=message):
            forged("config.json", forge)

    @pytest.mark.once
    @pytest.mark.parametrize("case", TEXTS)
    def test_text(self, forged, case):
        with pytest.raises(ValueError, match="config.json.* is damaged"):
            forged("config.json", lambda content: TEXTS[case].encode())

    @pytest.mark.once
    @pytest.mark.parametrize("case", STORED)
    def test_weights(self, forged, case):
        stored, message = STORED[case]

        def forge(content):
            with h5py.File(file := io.BytesIO(content), "r+") as weights:
                del weights[WEIGHTS]["0"]
                if isinstance(stored, dict):
                    weights[WEIGHTS].create_dataset("0", **stored)
                else:
                    weights[WEIGHTS]["0"] = stored
            return file.getvalue()

        with pytest.raises(ValueError, match=message):
            forged("model.weights.h5", forge)

    @pytest.mark.once
    @pytest.mark.parametrize("chunk", [zlib.compress(bytes(10**7)), zlib.compress(NOISE.tobytes())[:-9], bytes(200)])
    def test_weights_that_inflate_to_other_sizes(self, forged, chunk):
        """HDF5 itself would inflate the first of them to 10 MB."""

        def forge(content):
            with h5py.File(file := io.BytesIO(content), "r+") as weights:
                del weights[WEIGHTS]["0"]
                compressed = dict(chunks=ONES.shape, shuffle=True, compression="gzip")
                new = weights[WEIGHTS].create_dataset("0", ONES.shape, "f8", **compressed)
                new.id.write_direct_chunk((0, 0, 0, 0), chunk)
            return file.getvalue()

        with pytest.raises(ValueError, match="is compressed in another way"):
            forged("model.weights.h5", forge)


@pytest.mark.once
def test_keras_files_that_are_something_else(good, tmp_path):
    path = tmp_path / "a.keras"
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match="is not a network that Keras loads: "):
        load_model(str(path))
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(ValueError, match="holds a Sequential. Expected a trained network"):
        load_model(str(path))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(10**7))
    with pytest.raises(ValueError, match="unpacks to 10,000,000 bytes"):
        load_model(str(path))
