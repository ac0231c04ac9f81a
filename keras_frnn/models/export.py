"""Networks in formats that run without this package and without Keras. What works where: docs/export.md."""

import contextlib
import io
import os
import pathlib
import warnings
from typing import TYPE_CHECKING

from keras_frnn.backend import export_options, export_refusal, missing_export_modules
from keras_frnn.checks import check_suffix
from keras_frnn.files import atomic_path

_SUFFIXES = {"tf_saved_model": None, "onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "torch": ".pt2"}

# The mixin is typed as a model; at run time, classes list it before `keras.Model`.
if TYPE_CHECKING:
    from keras import Model as _Model
else:
    _Model = object


class Exportable(_Model):
    """A model that exports itself; comes before `keras.Model` among the base classes."""

    def _export_signature(self, batch: int | None) -> list:
        """The inputs as `keras.InputSpec`s, of known shape except for the batch."""
        raise NotImplementedError

    def export(self, filepath, format: str = "tf_saved_model", verbose: bool = False, input_signature=None, **kwargs):
        """Writes the model in a format that runs without this package: `keras.Model.export`.

        A SavedModel takes batches of any size; other formats take the batch of the signature, by default one sequence.

        Args:
            filepath: a folder for `"tf_saved_model"`; else a file whose name ends in `.onnx` (`"onnx"`), `.tflite`
                (`"litert"`), `.xml` (`"openvino"`, beside it comes a `.bin`) or `.pt2` (`"torch"`).
            format: one of these.
            verbose: whether the converters may print.
            input_signature: list of a `keras.InputSpec` with shape and dtype of the frames; by default the frames that
                the model was built for.
            kwargs: of the format, see `keras.Model.export`.

        Raises:
            ValueError: a format that this backend cannot write, a file's name that does not fit it, a model that is
                not built or not in float32, or frames of unknown number or size.
            ImportError: a converter is not installed.

        Example:

        >>> import keras, keras_frnn, tempfile
        >>> model = keras_frnn.models.FoldedRNN.from_preset("moving-digits")
        >>> format, name = ("torch", "a.pt2") if keras.backend.backend() == "torch" else ("tf_saved_model", "a")
        >>> model.export(f"{tempfile.mkdtemp()}/{name}", format)  # doctest: +SKIP
        """
        if format not in _SUFFIXES:
            raise ValueError(f"`format` must be one of {list(_SUFFIXES)}. Received: format={format!r}")
        if (suffix := _SUFFIXES[format]) is not None:
            check_suffix(filepath, suffix)
        if reason := export_refusal(format):
            raise ValueError(
                f"This model cannot be exported as '{format}' on this backend: {reason}. Save it as a .keras file, "
                "load that with another KERAS_BACKEND, and export it there; docs/export.md has what works where."
            )
        if missing := missing_export_modules(format):
            raise ImportError(
                f"To export as '{format}' takes {' and '.join(missing)}: pip install 'keras-frnn[export]'"
                + (" litert-torch" if "litert_torch" in missing else "")
            )
        if not self.built:
            raise ValueError("The model has no weights yet. Call it on frames, or train it, before it is exported.")
        if any(layer.compute_dtype != "float32" for layer in self._flatten_layers() if layer.weights):
            raise ValueError(
                "Only models that compute in float32 are exported. Received: a model with "
                f"dtype={self.dtype_policy.name!r}. Load its weights into one of dtype='float32'."
            )
        if input_signature is None:
            input_signature = self._export_signature(None if format == "tf_saved_model" else 1)
        kwargs = export_options(format, kwargs)
        quiet = contextlib.nullcontext() if verbose else contextlib.redirect_stdout(io.StringIO())
        # Formats of several files are written in place.
        at = contextlib.nullcontext(filepath) if suffix in (None, ".xml") else atomic_path(filepath)
        if format == "openvino":
            pathlib.Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        with quiet, at as path, warnings.catch_warnings():
            # Converters warn of their own deprecations, and that our checks of shapes are not traced.
            warnings.simplefilter("default" if verbose else "ignore")
            super().export(os.fspath(path), format, verbose=verbose, input_signature=input_signature, **kwargs)
