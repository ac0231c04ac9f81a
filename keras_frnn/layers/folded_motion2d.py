import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_finite
from keras_frnn.layers import layout
from keras_frnn.layers.folded_layer import FoldedLayer
from keras_frnn.layers.lucas_kanade import local_mean, moved, optical_flow

_NEWEST = 0.5  # Weight of the newest frame in means over frames.
_NOISE = 1e-3  # Squared error that says nothing, of frames in [-1, 1].


@keras.saving.register_keras_serializable(package="keras_frnn")
class FoldedMotion2D(FoldedLayer):
    """Adds to every frame how it moves, and decodes by moving the last frame on. It is the lowest layer of a network.

    For every frame `x`, it estimates the velocity `v` of each pixel, which is the mean of the optical flows so far with
    newer ones weighing more, and two squared errors around each pixel, which are means in the same way: `e_copy` of
    copying the frame before, and `e_move` of moving it by the velocity that was known then. It has no weights.

        encode x:           [x, v, s]    with s = (e_copy - e_move) / (e_copy + e_move)
        decode [f, v, s]:   w * moved(last, d) + (1 - w) * f    with w = (1 + s) / 2

    `last`, the last frame, is part of the state, and `d` is the sum of the velocities decoded up to the step. So the
    layers above predict a frame `f`, velocities and shares, and the network can move what it has seen without blurring
    it. No gradient goes into the estimates.

    If the layer above begins with nearly closed update gates (`decoder_update_bias`), an untrained network goes on with
    the last velocity where that was right before, and copies the last frame elsewhere.

    Args:
        reach: largest velocity, in pixels per frame; velocities are encoded as fractions of it.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, time, height, width, channels)`, values in [-1, 1], or with `channels_first`
        `(batch, time, channels, height, width)`.
    Output shape: the same with three channels more: velocity to the right, velocity down, and share, in [-1, 1].

    Raises:
        ValueError: a `reach` that is not a positive number, or an input that is not a video.

    Example:

    >>> import numpy as np
    >>> tuple(FoldedMotion2D()(np.zeros((2, 10, 64, 80, 3), "float32")).shape)
    (2, 10, 64, 80, 6)

    Reference: Liu et al., "Video Frame Synthesis using Deep Voxel Flow", ICCV 2017, for decoding a flow by which given
    frames are moved.
    """

    def __init__(self, reach: float = 8.0, data_format: str | None = None, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.reach = check_finite(reach, "reach")
        if self.reach <= 0:
            raise ValueError(f"`reach` must be a positive number of pixels per frame. Received: reach={reach!r}")

    def encode(self, sequence, state=None, remat=False):
        sequence = ops.cast(sequence, self.compute_dtype)
        frames = ops.cast(sequence, self._precise)
        if state is None:
            state = ops.zeros_like(frames[0]), layout.at_every_pixel(_start(), frames[0], self._precise)
        last, memory = (ops.cast(part, self._precise) for part in state)
        motion, memory = (self._estimate(part) for part in _estimates(frames, last, memory, self.reach))
        return ops.concatenate([sequence, motion], axis=-1), (sequence[-1], memory)

    def decode(self, sequence, state, upsampling=(1, 1), remat=False):
        sequence = layout.over_time(lambda x: backend.upsample(x, upsampling), sequence)
        sequence, last = (ops.cast(x, self._precise) for x in (sequence, state[0]))
        return ops.cast(_forecast(sequence, last, self.reach), self.compute_dtype)

    @property
    def _precise(self) -> str:
        """The dtype to compute in: places in a frame need more digits than its pixels."""
        return "float64" if self.compute_dtype == "float64" else "float32"

    def _estimate(self, tensor):
        return ops.cast(ops.stop_gradient(tensor), self.compute_dtype)

    def encoded_shape(self, sequence_shape: tuple) -> tuple:
        height, width, channels = self.size_and_channels(sequence_shape)
        return (*sequence_shape[:2], *layout.frame_shape(height, width, channels + 3, self.data_format))

    def state_shapes(self, sequence_shape):
        batch, (height, width, channels) = sequence_shape[0], self.size_and_channels(sequence_shape)
        return (batch, height, width, channels), (batch, height, width, len(_start()))

    def initial_values(self):
        return 0.0, _start()

    def get_config(self) -> dict:
        return {**super().get_config(), "reach": self.reach}


def _start():
    """The memory before a video: flow to the right and down, errors of copying and of moving, and the weight that what
    was before the video has in these means."""
    return ops.convert_to_tensor([0.0, 0.0, 0.0, 0.0, 1.0])


@backend.as_one
def _estimates(frames, last, memory, reach):
    """Velocities and shares of every frame, and the memory after the last.

    Args:
        frames: `(time, batch, height, width, channels)`.
        last: the frame before, `(batch, height, width, channels)`.
        memory: see `_start`.
        reach: see `FoldedMotion2D`.
    """
    flow_sum, errors, unseen = ops.split(memory, [2, 4], axis=-1)
    # The first frame of a video has not moved: the frame before it is itself.
    before = ops.concatenate([ops.where(unseen < 1, last, frames[0])[None], frames[:-1]])
    flow = ops.clip(optical_flow(ops.concatenate([before[:1], frames])) / reach, -1, 1)
    flow_sum = _mean_so_far(flow_sum, flow)
    unseen = _mean_so_far(unseen, ops.zeros_like(flow[..., :1]))
    # These means began with zeros: before the video, and for the first frame, whose flow to itself is rounding alone.
    seen = 1 - unseen / (1 - _NEWEST)
    velocity = ops.where(seen > _NEWEST / 2, flow_sum / ops.maximum(seen, _NEWEST / 2), 0.0)
    expected = layout.over_time(moved, before, velocity[:-1] * reach)
    errors = _mean_so_far(errors, ops.concatenate([_local_error(frames, x) for x in (before, expected)], axis=-1))
    copying, moving = ops.split(errors[1:], 2, axis=-1)
    share = (copying - moving) / (copying + moving + _NOISE)
    memory = ops.concatenate([flow_sum[-1], errors[-1], unseen[-1]], axis=-1)
    return ops.concatenate([velocity[1:], share], axis=-1), memory


@backend.as_one
def _forecast(sequence, last, reach):
    """The frames for what the layer above decoded, `(steps, batch, height, width, channels + 3)`."""
    frames, velocity, share = ops.split(sequence, [last.shape[-1], last.shape[-1] + 2], axis=-1)
    at_every_step = last + ops.zeros_like(frames)  # `ops.broadcast_to` cannot be exported from Torch.
    shown = layout.over_time(moved, at_every_step, ops.cumsum(velocity, axis=0) * reach)
    return frames + (1 + share) / 2 * (shown - frames)


def _mean_so_far(start, values):
    """Means in which newer steps weigh more: before the first step, and after every step."""
    return backend.linear_recurrence(ops.full_like(values, 1 - _NEWEST), _NEWEST * values, start)


def _local_error(frames, expected):
    return layout.over_time(local_mean, ops.mean(ops.square(frames - expected), axis=-1))[..., None]
