"""One video, frame by frame, as it comes from a camera."""

from typing import TYPE_CHECKING

import numpy as np
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_positive_integers
from keras_frnn.models.frames import check_frames, finite_array, from_uint8, to_numpy

if TYPE_CHECKING:
    from keras_frnn.models.layer_stack import LayerStack


class Stream:
    """Takes the frames of one video one at a time, and forecasts from what it has seen. `model.stream()` makes it.

    It holds the network's state and no frame, so its memory does not grow with the video. What the network computes is
    compiled on first use: the first frame, the second, which goes on from a state, and the first forecast take long,
    all others are fast. When the weights change, as by training, it goes on with the new ones.

    Streams of one model share the compiled functions. Use a stream from one thread only.

    Args:
        model: a `FoldedRNN` or a `LadderRNN`.
        frame_shape: (height, width, channels) of the frames, or (channels, height, width) with a model of
            `channels_first` layers; by default that of the frames that the model was built for.

    Raises:
        ValueError: frames of this shape do not fit the network; or the shape is needed, because the model is not built
            or was built for frames of any size.

    Example:

    >>> import numpy as np
    >>> import keras_frnn
    >>> stream = keras_frnn.models.FoldedRNN.from_preset("moving-digits").stream()
    >>> for frame in np.full((10, 32, 32, 1), -1.0):  # Ten black frames, one at a time.
    ...     stream.update(frame)
    >>> stream.forecast(steps=3).shape
    (3, 32, 32, 1)
    """

    def __init__(self, model: "LayerStack", frame_shape: tuple[int, int, int] | None = None):
        if frame_shape is None:
            frame_shape = model.context_shape[2:] if model.built else (None, None, None)
            if None in frame_shape:
                raise ValueError(
                    "The model does not tell the size of its frames. Pass it: `model.stream(frame_shape)`, with the "
                    "shape of one frame, such as (64, 64, 1)."
                )
        self.model, self.frame_shape = model, check_positive_integers(tuple(frame_shape), "frame_shape", 3)
        model.build_for((1, 1, *self.frame_shape))
        self.reset()

    def reset(self):
        """Forgets all frames: the next one is the first of another video."""
        self._state, self.frames_seen = None, 0

    def update(self, frame):
        """Takes the next frame.

        Args:
            frame: array or tensor of `frame_shape`: floating point in [-1, 1], or uint8 as a camera gives it, which
                becomes `frame / 127.5 - 1`.

        Raises:
            ValueError: another shape, other values, or integers of another kind. The stream is as it was before.
        """
        frame = np.asarray(to_numpy(frame))
        if frame.shape != self.frame_shape:
            raise ValueError(
                f"This stream takes one frame of shape {self.frame_shape} at a time. Received: shape={frame.shape}. "
                "For frames of another size make another stream, `model.stream(frame_shape)`."
            )
        if frame.dtype == "uint8":
            frame = from_uint8(frame)
        frames = ops.convert_to_tensor(check_frames(frame[None, None]))
        self._state = self.model.encode(frames, self._state, compile_now=True)
        self.frames_seen += 1

    def forecast(self, steps: int | None = None) -> np.ndarray:
        """The frames that come next, as `model.forecast` predicts them from all frames so far.

        The stream stays where it is: it takes its next frame as if nothing had been forecast.

        Args:
            steps: number of frames to predict; the model's `horizon` by default.

        Returns:
            float32 array `(steps, *frame_shape)`, values in [-1, 1].

        Raises:
            ValueError: no frame was seen yet, or `steps` is not a positive integer.
            FloatingPointError: what the model predicts is not finite, as with weights that are not.
        """
        if self._state is None:
            raise ValueError("This stream has seen no frame yet. Call `update(frame)` before `forecast`.")
        with backend.unroll_short_loops():
            frames = self.model.decode(self._state, steps, compile_now=True)
        return finite_array(frames, self.model)[0]
