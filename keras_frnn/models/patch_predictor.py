import math
from collections.abc import Iterable, Sequence

import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_data_format, check_positive_integer, check_positive_integers, nearest_multiples
from keras_frnn.layers import layout
from keras_frnn.models.frames import check_channels, check_frames, check_rank
from keras_frnn.models.video_predictor import VideoPredictor


class PatchPredictor(VideoPredictor):
    """Base of models without folded layers: what networks of other papers have in common here.

    The pixels of each patch of a frame become channels, so that layers work at a lower resolution. A subclass
    implements `layers_and_inputs`, whose last layer is `readout`, `predict_patches` and `count`.

    Args:
        horizon: number of frames that a call predicts.
        patch_size: side of the patches.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.
    """

    def __init__(self, horizon: int, patch_size: int, data_format: str | None, **kwargs):
        super().__init__(horizon=horizon, **kwargs)
        self.patch_size = check_positive_integer(patch_size, "patch_size")
        self.data_format = check_data_format(data_format)

    def predict_patches(self, patches, steps: int):
        """The next steps of a sequence of patches, see `layers.layout`, as such a sequence."""
        raise NotImplementedError

    def count(self, frame_shape: tuple[int, int, int], context: int, horizon: int) -> tuple[int, int, int]:
        """Multiply-accumulates of encoding and of decoding a sequence, and the numbers in its state."""
        raise NotImplementedError

    @property
    def divisor(self) -> tuple[str, int]:
        """What height and width of frames must be multiples of: its name, for messages, and its value."""
        return "patch_size", self.patch_size

    def make_weights(self, context_shape):
        size = [length // self.patch_size for length in self._checked_size(context_shape)[:2]]
        for layer, channels in self.layers_and_inputs(context_shape):
            time = (None,) if isinstance(layer, keras.layers.ConvLSTM2D) else ()
            layer.build((None, *time, *size, channels))
        self.readout = layer  # The last.

    def predict_frames(self, context, steps: int):
        context = check_frames(context)
        self._check_fit(context.shape)
        side = (self.patch_size, self.patch_size)
        sequence = layout.to_sequence(ops.convert_to_tensor(context), self.data_format)
        patches = layout.over_time(lambda frames: backend.space_to_depth(frames, side), sequence)
        patches = self.predict_patches(patches, steps)
        sequence = layout.over_time(lambda frames: backend.depth_to_space(frames, side), patches)
        return layout.from_sequence(sequence, self.data_format)

    def make_readout(self, channels: int) -> keras.layers.Layer:
        """A layer from features to patches in (-1, 1)."""
        return keras.layers.Conv2D(channels, 1, activation="tanh", data_format="channels_last", dtype=self.dtype_policy)

    def patch_channels(self, context_shape) -> int:
        *_, channels = layout.frame_size_and_channels(context_shape, self.data_format)
        return channels * self.patch_size**2

    def pixels(self, frame_shape: tuple[int, int, int]) -> int:
        """Patches per frame of `(height, width, channels)`."""
        return frame_shape[0] * frame_shape[1] // self.patch_size**2

    def _check_fit(self, shape):
        self._checked_size(shape)
        check_channels(shape, self.context_shape, self.data_format)

    def _checked_size(self, shape) -> tuple:
        height, width, channels = layout.frame_size_and_channels(check_rank(shape), self.data_format)
        name, divisor = self.divisor
        for axis, length in (("height", height), ("width", width)):
            if length is None:
                raise ValueError(
                    f"The {axis} of the frames must be known. Received: frames of shape {tuple(shape)} with "
                    f"data_format='{self.data_format}'"
                )
            if length % divisor:
                raise ValueError(
                    f"The height and width of the frames must be multiples of {name}={divisor}; the nearest {axis}s "
                    f"that work: {nearest_multiples(length, divisor)}. "
                    f"Received: frames of shape {tuple(shape)} with data_format='{self.data_format}'"
                )
        return height, width, channels

    def get_config(self) -> dict:
        return {**super().get_config(), "patch_size": self.patch_size, "data_format": self.data_format}


class StepwisePredictor(PatchPredictor):
    """Base of networks that see one frame at a time, and after the context their own predictions.

    A subclass implements `make_cells`, the layers below `readout`, `initial_state`, `step` and `memory`.
    """

    def __init__(
        self,
        horizon: int,
        filters: Sequence[int] = (128, 128, 128, 128),
        kernel_size: int | tuple[int, int] = 5,
        patch_size: int = 4,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(horizon, patch_size, data_format, **kwargs)
        self.filters = check_positive_integers(tuple(filters), "filters", len(tuple(filters)))
        self.kernel_size = check_positive_integers(kernel_size, "kernel_size", 2)
        self.cells = self.make_cells()

    def make_cells(self) -> list[keras.layers.Layer]:
        raise NotImplementedError

    def initial_state(self, patches):
        """The state before the first frame, of which `patches` are those, `(batch, height, width, channels)`."""
        raise NotImplementedError

    def step(self, state, patches):
        """The state after a frame. Its first tensor is what the frame after it is read from."""
        raise NotImplementedError

    def predict_patches(self, patches, steps):
        patches = ops.cast(patches, self.compute_dtype)
        state, _ = backend.scan(self.step, self.initial_state(patches[0]), patches, select=lambda state: ())
        first = self.readout(keras.tree.flatten(state)[0])
        if steps == 1:
            return first[None]

        def feed_back(carry, _):
            state = self.step(*carry)
            return state, self.readout(keras.tree.flatten(state)[0])

        _, later = backend.scan(feed_back, (state, first), ops.arange(1, steps), select=lambda carry: carry[1])
        return ops.concatenate([first[None], later])

    def zeros(self, patches, channels: int):
        """A state of zeros, for every patch."""
        return ops.zeros((*ops.shape(patches)[:-1], channels), dtype=self.compute_dtype)

    def count(self, frame_shape, context, horizon):
        pixels = self.pixels(frame_shape)
        step = pixels * sum(kernel_numbers(cell.weights) for cell in self.cells)
        readout = pixels * kernel_numbers(self.readout.weights)
        return context * step, (horizon - 1) * step + horizon * readout, pixels * self.memory

    @property
    def memory(self) -> int:
        """Numbers in the state, per patch."""
        raise NotImplementedError

    def get_config(self) -> dict:
        return {**super().get_config(), "filters": self.filters, "kernel_size": self.kernel_size}


def kernel_numbers(weights: Iterable) -> int:
    """The numbers in those of the weights that are kernels of convolutions: a pixel's multiply-accumulates."""
    return sum(math.prod(weight.shape) for weight in weights if len(weight.shape) == 4)
