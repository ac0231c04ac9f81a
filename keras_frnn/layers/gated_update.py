"""The gated update: the one equation that every recurrent layer here iterates."""

import keras
import numpy as np
from keras import ops

from keras_frnn.layers import layout


@keras.saving.register_keras_serializable(package="keras_frnn")
class GatedUpdate(keras.layers.Layer):
    """A convolutional gated recurrent unit, one direction of a recurrent layer.

    With state `h`, inputs `x`, `*` the elementwise product and `s` the logistic function:

        r = s(conv([x, h], W_r) + b_r)          reset gate
        z = s(conv([x, h], W_z) + b_z)          update gate
        c = tanh(conv([x, r * h], W_c) + b_c)   candidate
        h' = z * c + (1 - z) * h

    A convolution of concatenated channels is a sum of convolutions. So what depends on `x` alone is computed for all
    steps at once (`project`), and the loop over time is left with the two convolutions of the state. The kernels are
    stored as the loop uses them, because slicing a kernel costs a gradient of the whole kernel:

        kernel             (kh, kw, inputs, 3 * filters)    of x, for r, z and c
        recurrent_kernel   (kh, kw, filters, 2 * filters)   of h, for r and z
        candidate_kernel   (kh, kw, filters, filters)       of r * h, for c
        bias               (3 * filters,)                   for r, z and c

    Args:
        filters: channels of the state.
        kernel_size: height and width of the kernels.
        kernel_initializer: called once for each gate with the shape of its joint kernel over inputs and state,
            `(kh, kw, inputs + filters, filters)`.

    Reference: equations 1 to 4 of https://arxiv.org/abs/1712.00311, with the roles of z and 1 - z as in the authors'
    implementation.
    """

    def __init__(self, filters: int, kernel_size: tuple[int, int], kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = tuple(kernel_size)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_channels: int):
        self.input_channels = input_channels
        filters = self.filters
        gates = independent_initializers(self.kernel_initializer, 3)
        inputs, state = slice(0, input_channels), slice(input_channels, None)

        def add_kernel(name, gates, part, channels):
            joint_shape = (*self.kernel_size, input_channels + filters, filters)

            def initializer(shape, dtype=None):
                return ops.concatenate([gate(joint_shape, dtype)[:, :, part] for gate in gates], axis=-1)

            shape = (*self.kernel_size, channels, len(gates) * filters)
            return self.add_weight(shape=shape, initializer=initializer, name=name)

        self.kernel = add_kernel("kernel", gates, inputs, input_channels)
        self.recurrent_kernel = add_kernel("recurrent_kernel", gates[:2], state, filters)
        self.candidate_kernel = add_kernel("candidate_kernel", gates[2:], state, filters)
        self.bias = self.add_weight(shape=(3 * filters,), initializer="zeros", name="bias")

    def projection(self):
        """The input-side convolutions of r, z and c, biases added, as a function of the inputs of one step.

        Like `transition`, it reads the weights now, so that a loop that calls it does not read them in every step.
        """
        kernel = ops.cast(self.kernel, self.compute_dtype)
        bias = as_channels(ops.cast(self.bias, self.compute_dtype))
        return lambda x: same_conv(ops.cast(x, self.compute_dtype), kernel) + bias

    def project(self, sequence):
        """The `projection` of all steps in one call: `(time, batch, ...)` with 3 * filters channels."""
        return layout.over_time(self.projection(), sequence)

    def transition(self):
        """The update as a function of the state and the `projection` of the inputs."""
        recurrent_kernel = ops.cast(self.recurrent_kernel, self.compute_dtype)
        candidate_kernel = ops.cast(self.candidate_kernel, self.compute_dtype)
        axis = layout.channel_axis()

        def update(h, x):
            x_gates, x_candidate = ops.split(x, [2 * self.filters], axis=axis)
            r, z = ops.split(ops.sigmoid(x_gates + same_conv(h, recurrent_kernel)), 2, axis=axis)
            c = ops.tanh(x_candidate + same_conv(r * h, candidate_kernel))
            return z * c + (1 - z) * h

        return update

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def same_conv(x, kernel):
    """Stride-1 convolution of `(batch, ...)` in the sequence format that keeps height and width."""
    return ops.conv(x, kernel, padding="same", data_format=layout.sequence_format())


def as_channels(vector):
    """A vector over channels, shaped so that it broadcasts over `(batch, ...)` in the sequence format."""
    return ops.reshape(vector, (-1, 1, 1)) if layout.channel_axis() == -3 else vector


def start_state(vector, step, dtype: str):
    """A state that is `vector`, one value a channel, at every pixel of the frames of `step`, `(batch, ...)`."""
    data_format = layout.sequence_format()
    size = layout.frame_size_and_channels(ops.shape(step), data_format)[:2]
    shape = (ops.shape(step)[0], *layout.frame_shape(*size, vector.shape[0], data_format))
    return ops.broadcast_to(as_channels(ops.cast(vector, dtype)), shape)


def independent_initializers(initializer, count: int) -> list:
    """Copies of an initializer that draw independently of each other.

    Keras initializers are functions: the same instance draws the same values twice. Gates must not start equal, also
    when the user gave a seed.
    """
    if not isinstance(initializer, keras.initializers.Initializer):
        return [initializer] * count
    config = initializer.get_config()
    if not isinstance(config.get("seed"), int):
        return [initializer.__class__.from_config(config) for _ in range(count)]
    seeds = np.random.SeedSequence(config["seed"]).generate_state(count) >> 1
    return [initializer.__class__.from_config({**config, "seed": int(seed)}) for seed in seeds]
