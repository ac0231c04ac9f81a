import keras
from keras import ops

from keras_frnn.models.frames import check_frames
from keras_frnn.models.video_predictor import VideoPredictor


@keras.saving.register_keras_serializable(package="keras_frnn")
class CopyLastFrame(VideoPredictor):
    """A baseline that predicts no motion: every future frame is a copy of the last context frame.

    Args:
        horizon: number of frames that a call predicts.

    Input shape: `(batch, context, ...)`.
    Output shape: `(batch, horizon, ...)`.

    Example:

    >>> import numpy as np
    >>> tuple(CopyLastFrame(horizon=5)(np.zeros((2, 10, 16, 16, 1), "float32")).shape)
    (2, 5, 16, 16, 1)
    """

    def predict_frames(self, context, steps: int):
        last = ops.cast(check_frames(context)[:, -1:], self.compute_dtype)
        return ops.repeat(last, steps, axis=1)
