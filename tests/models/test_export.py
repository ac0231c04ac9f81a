"""Exported models run without this package, and give what the network gives."""

import keras
import numpy as np
import pytest
from exports import MARKS, PAGE, SUFFIXES, export_and_compare, table
from keras import ops

from keras_frnn import models
from keras_frnn.backend import export_refusal, missing_export_modules

BACKEND = keras.backend.backend()
READERS = {"onnx": "onnxruntime", "litert": "ai_edge_litert", "openvino": "openvino"}
HERE = [format for format in SUFFIXES if export_refusal(format) is None]


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # LiteRT's converter loads JAX, and starts processes.
@pytest.mark.parametrize("format", HERE)
def test_exported_models_give_the_same(format, tmp_path):
    if missing := missing_export_modules(format):
        pytest.skip(f"needs {missing}: the extra `export`")
    if format in READERS:
        pytest.importorskip(READERS[format])
    differences = export_and_compare(tmp_path, format)
    assert differences.keys() == {"forecast", "encode", "decode"}
    assert max(differences.values()) < 1e-5, differences


@pytest.mark.skipif(BACKEND == "jax", reason="compiles for minutes")
def test_motion_gives_the_same(tmp_path):
    topology = [("motion",), ("patch", 2), ("recurrent", 4, 3)]
    format = "torch" if BACKEND == "torch" else "tf_saved_model"
    differences = export_and_compare(tmp_path, format, topology, ["forecast"])
    assert differences["forecast"] < 1e-5


def test_steps_give_what_the_network_gives():
    network = models.FoldedRNN.from_topology([("pool", 2), ("minimal", 3, 3), ("recurrent", 4, 3)], horizon=2)
    video = np.random.default_rng(0).uniform(-1, 1, (2, 3, 8, 8, 1)).astype("float32")
    expected = network.decode(network.encode(video), steps=4)
    network.stack[1].initial_output_state.assign([0.1, -0.2, 0.3])
    changed = network.decode(network.encode(video), steps=4)
    assert np.abs(ops.convert_to_numpy(changed - expected)).max() > 1e-4  # The start of the state matters.
    encode, decode, start = network.streaming_models((8, 8, 1), steps=4)
    state = [np.repeat(part, 2, axis=0) for part in start]
    for t in range(3):
        state = encode([video[:, t], *state])
    np.testing.assert_allclose(ops.convert_to_numpy(decode(state)), ops.convert_to_numpy(changed), rtol=0, atol=1e-6)


@pytest.mark.parametrize("format", sorted(set(SUFFIXES) - set(HERE)))
def test_what_cannot_be_is_refused(format, tmp_path):
    model = models.FoldedRNN.from_topology([("recurrent", 2, 3)], horizon=2)
    with pytest.raises(ValueError, match=f"cannot be exported as '{format}' on this backend: .*another KERAS_BACKEND"):
        model.export(tmp_path / f"model{SUFFIXES[format]}", format)


def test_refusals(tmp_path):
    network = models.FoldedRNN.from_topology([("recurrent", 2, 3)], horizon=2)
    format = HERE[-1] if BACKEND == "torch" else "tf_saved_model"
    path = tmp_path / f"model{SUFFIXES[format]}"
    with pytest.raises(ValueError, match=r"`format` must be one of \['tf_saved_model'.* Received: format='h5'"):
        network.export(path, "h5")
    with pytest.raises(ValueError, match=r"must end in \.onnx\. Received"):
        network.export("model.pb", "onnx")
    with pytest.raises(ValueError, match="has no weights yet"):
        network.export(path, format)
    network.build((None, None, 8, 8, 1))
    with pytest.raises(ValueError, match="frames of one size and number.*Received: context_shape="):
        network.export(path, format)
    half = models.FoldedRNN.from_topology([("recurrent", 2, 3)], horizon=2, dtype="mixed_bfloat16")
    half.build((None, 3, 8, 8, 1))
    with pytest.raises(ValueError, match="Received: a model with dtype='mixed_bfloat16'"):
        half.export(path, format)


@pytest.mark.once
def test_table_in_the_documentation():
    assert PAGE.read_text().split(MARKS[0])[1].split(MARKS[1])[0].strip() == table()
