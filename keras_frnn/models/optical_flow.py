import itertools

import keras
import numpy as np
from keras import ops

from keras_frnn.checks import check_data_format, check_positive_integer
from keras_frnn.layers import layout
from keras_frnn.models.frames import check_frames, check_rank, to_numpy, to_uint8
from keras_frnn.models.video_predictor import VideoPredictor

_FLOWS = 3


@keras.saving.register_keras_serializable(package="keras_frnn")
class OpticalFlow(VideoPredictor):
    """A baseline without training: every pixel goes on moving as it did, and keeps its color.

    The motion is the mean of the optical flows between the last four context frames, which OpenCV estimates on the CPU
    with DIS. Step k shows the last frame moved by k times that. A single context frame is copied.

    It runs eagerly: `forecast`, `predict` and a call on arrays of frames work, in a compiled function it does not.

    Args:
        horizon: number of frames that a call predicts.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, context, height, width, channels)`, values in [-1, 1]; channels before height with
        `channels_first`. Any number of channels; the flow is that of their mean, or of the luminance of three. Height
        and width are at least `smallest`.
    Output shape: `(batch, horizon, height, width, channels)`.

    Raises:
        ValueError: frames that are too small, or are not frames in [-1, 1].

    Example:

    >>> import numpy as np
    >>> tuple(OpticalFlow(horizon=5).forecast(np.zeros((2, 10, 32, 32, 3), "float32")).shape)
    (2, 5, 32, 32, 3)

    Reference: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
    """

    smallest = 16
    """The least height and width. OpenCV crashes on some smaller frames."""

    def __init__(self, horizon: int, data_format: str | None = None, **kwargs):
        super().__init__(horizon, **kwargs)
        self.data_format = check_data_format(data_format)
        self.run_eagerly = True

    def forecast(self, context, steps: int | None = None, batch_size: int = 32) -> np.ndarray:
        steps = check_positive_integer(self.horizon if steps is None else steps, "steps")
        check_positive_integer(batch_size, "batch_size")
        context = check_frames(to_numpy(context))
        self.build_for(context.shape)
        first = self.data_format == "channels_first"
        frames = np.stack([_extrapolated(np.moveaxis(one, -3, -1) if first else one, steps) for one in context])
        return np.moveaxis(frames, -1, -3) if first else frames

    def predict_frames(self, context, steps: int):
        frames = self.forecast(ops.convert_to_numpy(context), steps)
        return ops.convert_to_tensor(frames, self.compute_dtype)

    def _check_fit(self, shape):
        height, width, _ = layout.frame_size_and_channels(check_rank(shape), self.data_format)
        if min(height or self.smallest, width or self.smallest) < self.smallest:
            raise ValueError(
                f"Optical flow needs frames of at least {self.smallest}x{self.smallest}. Received: frames of shape "
                f"{tuple(shape)} with data_format='{self.data_format}'"
            )

    def get_config(self) -> dict:
        return {**super().get_config(), "data_format": self.data_format}


def _extrapolated(context: np.ndarray, steps: int) -> np.ndarray:
    """The frames `(steps, height, width, channels)` after the given ones, `(context, height, width, channels)`."""
    import cv2

    last = context[-1].astype("float32")
    if len(context) == 1:
        return last[None].repeat(steps, 0)
    frames = to_uint8(context[-_FLOWS - 1 :])
    if frames.shape[-1] == 3:
        gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in np.ascontiguousarray(frames)]
    else:
        gray = list(frames.mean(-1).round().astype("uint8"))
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # The flow from each frame to the one before tells where a pixel comes from.
    flow = np.mean([dis.calc(after, before, None) for before, after in itertools.pairwise(gray)], axis=0)
    height, width, channels = last.shape
    place = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype("float32")
    moved = np.empty((steps, *last.shape), "float32")
    for step, channel in itertools.product(range(steps), range(channels)):
        plane, source = np.ascontiguousarray(last[..., channel]), place + (step + 1) * flow
        moved[step, ..., channel] = cv2.remap(plane, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved
