"""The export formats of each backend, and the modules that they need."""

import importlib.util

import keras

# What converts, besides the backend: modules, named as they are imported.
_NEEDED = {
    ("onnx", "tensorflow"): ("tf2onnx", "onnx"),
    ("onnx", "torch"): ("onnxscript", "onnx"),
    ("openvino", "torch"): ("openvino", "scipy"),
    ("litert", "torch"): ("litert_torch",),
}

_REFUSED = {
    ("tf_saved_model", "torch"): "Keras needs torch_xla for it, of which there is none for this Torch",
    ("onnx", "jax"): "jax2onnx writes max pooling over four axes, and ONNX Runtime runs three",
    ("openvino", "tensorflow"): "OpenVINO does not run the loop over time that it makes of TensorFlow's",
    ("openvino", "jax"): "Keras asks jax2tf for `enable_xla=False`, which JAX ignores by now",
    ("litert", "jax"): "Keras has no LiteRT export for JAX",
    ("torch", "tensorflow"): "an exported program of Torch is made by Torch alone",
    ("torch", "jax"): "an exported program of Torch is made by Torch alone",
}


def export_refusal(format: str, backend: str | None = None) -> str | None:
    """Why the current Keras cannot write this format, by default on the backend in use; None where it can."""
    return _REFUSED.get((format, backend or keras.backend.backend()))


def missing_export_modules(format: str) -> list[str]:
    """The modules that writing this format needs on this backend and that are not installed."""
    needed = _NEEDED.get((format, keras.backend.backend()), ())
    return [name for name in needed if importlib.util.find_spec(name) is None]
