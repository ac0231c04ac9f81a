"""Models, exported and run by a process of its own. `python tests/exports.py` writes the table in docs/export.md."""

import os
import pathlib
import subprocess
import sys

import numpy as np
from keras import ops

from keras_frnn import models
from keras_frnn.backend import export_refusal

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "export.md"
SUFFIXES = {"tf_saved_model": "", "onnx": ".onnx", "litert": ".tflite", "openvino": ".xml", "torch": ".pt2"}
BACKENDS = ("tensorflow", "jax", "torch")
# Formats and backends of which `export_and_compare` was seen to pass.
COMPARED = {
    ("tf_saved_model", "tensorflow"),
    ("tf_saved_model", "jax"),
    ("onnx", "tensorflow"),
    ("onnx", "torch"),
    ("litert", "tensorflow"),
    ("litert", "torch"),
    ("openvino", "torch"),
    ("torch", "torch"),
}
MARKS = ("<!-- table -->", "<!-- end of table -->")

# Runs in a process that has neither this package nor Keras.
RELOAD = """
import pathlib, sys
import numpy as np

def run(path, inputs):
    if path.is_dir():
        import tensorflow as tf
        model = tf.saved_model.load(path)  # Has the variables, so it must stay.
        inputs = [tf.constant(x) for x in inputs]
        return model.serve(inputs[0] if "forecast" in path.name else inputs)
    if path.suffix == ".onnx":
        import onnxruntime
        session = onnxruntime.InferenceSession(path)
        return session.run(None, dict(zip([x.name for x in session.get_inputs()], inputs, strict=True)))
    if path.suffix == ".xml":
        import openvino
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        return list(openvino.Core().compile_model(path, "CPU", settings)(inputs).values())
    if path.suffix == ".pt2":
        import torch
        inputs = [torch.tensor(x) for x in inputs]
        with torch.no_grad():
            return torch.export.load(path).module()(inputs[0] if "forecast" in path.name else inputs)
    from ai_edge_litert.interpreter import Interpreter
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    # By name, where there is one: the converters sort them otherwise than the model.
    signature = interpreter.get_signature_runner()
    names = sorted(signature.get_input_details(), key=lambda name: int("".join(filter(str.isdigit, name)) or -1))
    outputs = signature(**dict(zip(names, inputs, strict=True)))
    return [outputs[n] for n in sorted(outputs, key=lambda name: int(name.rsplit("_", 1)[-1]))]

for name in sys.argv[1:]:
    path = pathlib.Path(name)
    arrays = np.load(path.with_suffix(".npz"))
    count = sum(key.startswith("in") for key in arrays)
    inputs = [arrays[f"in{i}"] for i in range(count)]
    expected = [arrays[f"out{i}"] for i in range(len(arrays) - count)]
    found = run(path, inputs)
    found = list(found) if isinstance(found, (list, tuple)) else [found]
    worst = max(np.abs(np.asarray(a) - b).max() for a, b in zip(found, expected, strict=True))
    assert "keras_frnn" not in sys.modules
    print("compared", path.stem, worst)
"""


TOPOLOGY = [("conv", 3, 3), ("pool", 2), ("recurrent", 4, 3)]


def make_cases(batch: int = 1, topology=TOPOLOGY) -> dict:
    """Name -> a model to export, its inputs and its outputs: the forecast and the two steps of streaming."""
    network = models.FoldedRNN.from_topology(topology, horizon=2)
    network.build((None, 2, 8, 12, 1))
    generator = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(weight + generator.normal(0, 0.1, weight.shape))
    video = generator.uniform(-1, 1, (batch, 2, 8, 12, 1)).astype("float32")
    encode, decode, start = network.streaming_models((8, 12, 1))
    state = [
        ops.convert_to_numpy(part)
        for part in encode([video[:, 0], *(np.repeat(part, batch, axis=0) for part in start)])
    ]
    inputs = {"forecast": [video], "encode": [video[:, 1], *state], "decode": state}
    return {
        "forecast": (network, inputs["forecast"], [network(video)]),
        "encode": (encode, inputs["encode"], encode(inputs["encode"])),
        "decode": (decode, inputs["decode"], [decode(inputs["decode"])]),
    }


def export_and_compare(
    folder: pathlib.Path, format: str, topology=TOPOLOGY, names=("forecast", "encode", "decode")
) -> dict[str, float]:
    """Name -> the largest difference between a model and its export, run in another process."""
    # A SavedModel takes batches of any size.
    cases, paths = make_cases(2 if format == "tf_saved_model" else 1, topology), []
    for name in names:
        model, inputs, outputs = cases[name]
        model.export(path := folder / f"{name}{SUFFIXES[format]}", format)
        arrays = {f"in{i}": x for i, x in enumerate(inputs)}
        arrays |= {f"out{i}": ops.convert_to_numpy(x) for i, x in enumerate(outputs)}
        np.savez(path.with_suffix(".npz"), **arrays)
        paths.append(path)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    process = subprocess.run(
        [sys.executable, "-c", RELOAD, *map(str, paths)], capture_output=True, text=True, cwd="/", env=environment
    )
    assert process.returncode == 0, process.stderr
    lines = [line.split(" ") for line in process.stdout.splitlines()]
    return {line[1]: float(line[2]) for line in lines if line[0] == "compared"}


def cell(format: str, backend: str) -> str:
    """What the table says of a format on a backend."""
    if reason := export_refusal(format, backend):
        return "no: " + reason
    return "yes" if (format, backend) in COMPARED else "not compared yet"


def table() -> str:
    rows = ["| format | TensorFlow | JAX | Torch |", "| --- | --- | --- | --- |"]
    rows += [f"| `{format}` | {' | '.join(cell(format, backend) for backend in BACKENDS)} |" for format in SUFFIXES]
    return "\n".join(rows)


if __name__ == "__main__":
    text = PAGE.read_text()
    before, after = text.split(MARKS[0])[0], text.split(MARKS[1])[1]
    PAGE.write_text(f"{before}{MARKS[0]}\n{table()}\n{MARKS[1]}{after}")
