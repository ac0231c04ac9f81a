"""The cost of a model: counted from its layers, and measured on this machine."""

import dataclasses
import math

import keras
import numpy as np

from keras_frnn.checks import check_positive_integer, check_positive_integers
from keras_frnn.layers import layout
from keras_frnn.layers.folded_conv2d import FoldedConv2D
from keras_frnn.layers.folded_residual2d import FoldedResidual2D
from keras_frnn.machine import median_seconds, peak_memory_bytes
from keras_frnn.models.folded_rnn import FoldedRNN
from keras_frnn.models.ladder_rnn import LadderRNN
from keras_frnn.models.layer_stack import LayerStack
from keras_frnn.models.patch_predictor import PatchPredictor, kernel_numbers
from keras_frnn.models.video_predictor import VideoPredictor


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of a model. Values that were not measured are None.

    Attributes:
        weights: number of trainable parameters.
        encode_macs: multiply-accumulates of the encoding convolutions, for one sequence.
        decode_macs: multiply-accumulates of the decoding convolutions, for one sequence.
        state_bytes: memory of the state of one sequence in the compute dtype.
        training_step_seconds: median time of one optimizer step on a batch.
        forecast_seconds: median time of one forecast of a batch.
        peak_memory_bytes: peak memory of this process so far. It is only meaningful in a process that does nothing
            else.
    """

    weights: int
    encode_macs: int
    decode_macs: int
    state_bytes: int
    training_step_seconds: float | None = None
    forecast_seconds: float | None = None
    peak_memory_bytes: int | None = None

    @property
    def macs(self) -> int:
        """Multiply-accumulates of encoding and decoding one sequence."""
        return self.encode_macs + self.decode_macs


def cost(
    model: VideoPredictor,
    frame_shape: tuple[int, int, int],
    context: int,
    horizon: int,
    batch_size: int | None = None,
    repeats: int = 5,
) -> Cost:
    """Counts, and optionally measures, the cost of a model. The model is not changed.

    Multiply-accumulates are those of all convolutions in the models' equations, in every step. Arithmetic that an
    implementation saves, and that of layers without kernels, only shows in the times. A ladder network runs both
    directions in `context - 1 + horizon` steps. The top layer of a folded network updates both of its states in every
    predicted step except the last.

    Args:
        model: `FoldedRNN`, `LadderRNN`, `ConvLSTMForecaster`, `StackedConvLSTM`, `PredRNN` or `SimVP`.
        frame_shape: `(height, width, channels)` of a frame, for any `data_format` of the model.
        context: number of given frames.
        horizon: number of predicted frames.
        batch_size: batch size for measuring a training step (RMSProp, L1 loss) and a forecast. None: only count.
        repeats: number of measurements after one warm-up, of which the median is taken.

    Raises:
        ValueError: the model is of another kind, frames do not fit it, or a size is not a positive integer.
    """
    if not isinstance(model, (FoldedRNN, LadderRNN, PatchPredictor)):
        raise ValueError(f"Expected a model that has layers, such as a FoldedRNN. Received: model={model!r}")
    height, width, channels = check_positive_integers(tuple(frame_shape), "frame_shape", 3)
    frame_shape = (height, width, channels)
    context, horizon = check_positive_integer(context, "context"), check_positive_integer(horizon, "horizon")
    repeats = check_positive_integer(repeats, "repeats")
    if batch_size is not None:
        batch_size = check_positive_integer(batch_size, "batch_size")
    shape = (None, context, *layout.frame_shape(*frame_shape, model.data_format))
    if not model.built:
        model.build(shape)
    if isinstance(model, PatchPredictor):
        encode, decode, numbers = model.count(frame_shape, context, horizon)
        state_bytes = numbers * _bytes_of(model.compute_dtype)
    else:
        encode, decode, state_bytes = _count_stack(model, shape, context, horizon)
    weights = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    measured = {} if batch_size is None else _measure(model, (batch_size, *shape[1:]), horizon, repeats)
    return Cost(weights, encode, decode, state_bytes, **measured)


def _count_stack(model: LayerStack, shape: tuple, context: int, horizon: int) -> tuple[int, int, int]:
    encode = decode = top_encode = state_bytes = 0
    for layer in model.stack:
        encoded_shape = layer.encoded_shape(shape)
        height, width, _ = layout.frame_size_and_channels(shape, layer.data_format)
        if isinstance(layer, FoldedConv2D):
            macs = height * width * math.prod(layer.kernel.shape)
            encode, decode = encode + macs, decode + macs
        elif isinstance(layer, FoldedResidual2D):
            macs = height * width * kernel_numbers(layer.encoder)
            encode, decode = encode + macs, decode + macs
        elif isinstance(layer, model.recurrent_layer):
            top_encode = height * width * kernel_numbers(layer.encoder.weights)
            encode, decode = encode + top_encode, decode + height * width * kernel_numbers(layer.decoder.weights)
        numbers = sum(math.prod(part[1:]) for part in layer.state_shapes(shape))
        state_bytes += numbers * _bytes_of(layer.compute_dtype)
        shape = encoded_shape
    if isinstance(model, LadderRNN):
        steps = context - 1 + horizon
        return steps * encode, steps * decode, state_bytes
    return context * encode, horizon * decode + (horizon - 1) * top_encode, state_bytes


def _bytes_of(dtype: str) -> int:
    """Bytes per number: 4 for `"float32"`, 2 for `"bfloat16"`."""
    return int(dtype.rpartition("float")[2]) // 8


def _measure(model, context_shape: tuple, horizon: int, repeats: int) -> dict:
    # A twin is trained, so that the model does not change.
    twin = type(model).from_config({**model.get_config(), "horizon": horizon})
    twin.build(context_shape)
    twin.compile(keras.optimizers.RMSprop(1e-4), "mae")
    generator = np.random.default_rng(0)
    context = generator.uniform(-1, 1, context_shape).astype("float32")
    future = generator.uniform(-1, 1, (context_shape[0], horizon, *context_shape[2:])).astype("float32")
    # `train_on_batch` returns the loss as a number, and `forecast` an array, so both wait for the device.
    seconds = median_seconds(
        repeats,
        training_step_seconds=lambda: twin.train_on_batch(context, future),
        forecast_seconds=lambda: twin.forecast(context),
    )
    return {**seconds, "peak_memory_bytes": peak_memory_bytes()}
