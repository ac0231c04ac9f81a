import itertools

import keras
from keras import ops

from keras_frnn import backend
from keras_frnn.checks import check_positive_integer
from keras_frnn.layers import layout
from keras_frnn.models.patch_predictor import PatchPredictor, kernel_numbers

_MLP_RATIO = 8
_LAYER_SCALE = 1e-2  # Initial weight of what a block adds.


@keras.saving.register_keras_serializable(package="keras_frnn")
class SimVP(PatchPredictor):
    """SimVP with blocks of gated spatiotemporal attention: convolutions alone, and all frames at once.

    An encoder makes features of every frame. In its second and every further second layer, height and width are halved:

        x = silu(group_norm(conv(x)))

    The features of all given frames are the channels of one image, on which the blocks work, with `a` and `b` learned
    weights of every channel, `W` 1x1 convolutions, and `.` elementwise products:

        x = x + a . (W2 gate(gelu(W1 y)) + y)            where y = batch_norm(x)
        x = x + b . W4 gelu(depthwise3x3(W3 batch_norm(x)))     with 8 times as many channels between W3 and W4
        gate(u) = f . sigmoid(g)    where [f, g] = W5 depthwise7x7(depthwise5x5(u)), the 7x7 with dilation 3

    The first block and the last end in a 1x1 convolution to another number of channels. What the last one makes, one
    part per given frame, goes through a decoder that mirrors the encoder: where that halves height and width, a
    convolution to four times the channels doubles them. The last layer also gets the output of the encoder's first.

    With the default arguments, 10 given frames of 64x64x1 have the published 46.8 million weights and 16.5 GMAC for 10
    predicted frames. Frames here are in [-1, 1] and end in a tanh. Convolutions of stride 2 pad the lower and right
    edges. There is no stochastic depth.

    One pass predicts as many frames as are given. For more, the network reads its predictions.

    Args:
        horizon: number of frames that a call predicts.
        context: number of given frames.
        filters: channels of encoder and decoder, an even number.
        hidden_filters: channels between the blocks.
        encoder_layers: convolutions of the encoder, and of the decoder.
        blocks: blocks between both, at least two.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, context, height, width, channels)`, float, values in [-1, 1], or channels before height.
        Height and width are multiples of 2 to the power of half the `encoder_layers`.
    Output shape: `(batch, horizon, height, width, channels)`, values in (-1, 1).

    Raises:
        ValueError: an argument is not such a number, or frames do not fit.

    Example:

    >>> import numpy as np
    >>> model = SimVP(horizon=2, context=3, filters=4, hidden_filters=6, encoder_layers=2, blocks=2)
    >>> tuple(model(np.zeros((1, 3, 16, 16, 1), "float32")).shape)
    (1, 2, 16, 16, 1)

    References: Gao et al., "SimVP: Simpler yet Better Video Prediction", CVPR 2022, https://arxiv.org/abs/2206.05099;
        Tan et al., "SimVPv2", https://arxiv.org/abs/2211.12509, for the blocks; Guo et al., "Visual Attention
        Network", https://arxiv.org/abs/2202.09741, for the gate.
    """

    def __init__(
        self,
        horizon: int,
        context: int = 10,
        filters: int = 64,
        hidden_filters: int = 512,
        encoder_layers: int = 4,
        blocks: int = 8,
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(horizon, 1, data_format, **kwargs)
        self.context = check_positive_integer(context, "context")
        self.filters = check_positive_integer(filters, "filters")
        self.hidden_filters = check_positive_integer(hidden_filters, "hidden_filters")
        self.encoder_layers = check_positive_integer(encoder_layers, "encoder_layers")
        self.blocks = check_positive_integer(blocks, "blocks")
        if self.filters % 2:
            raise ValueError(f"`filters` must be even: they are normalized in two groups. Received: filters={filters}")
        if self.blocks < 2:
            raise ValueError(f"`blocks` must be 2 or more: the first and the last. Received: blocks={blocks}")
        policy = self.dtype_policy
        factors = [2 if index % 2 else 1 for index in range(self.encoder_layers)]
        self.encoder = [
            _Stage(self.filters, stride=factor, dtype=policy, name=f"encoder_{index}")
            for index, factor in enumerate(factors)
        ]
        self.decoder = [
            _Stage(self.filters, upsampling=factor, dtype=policy, name=f"decoder_{index}")
            for index, factor in enumerate(reversed(factors))
        ]
        merged, hidden = self.context * self.filters, self.hidden_filters
        channels = [merged, *[hidden] * (self.blocks - 1), merged]
        self.translator = [
            _Block(*both, dtype=policy, name=f"block_{index}")
            for index, both in enumerate(itertools.pairwise(channels))
        ]

    @property
    def divisor(self):
        return "2 ** (encoder_layers // 2)", 2 ** (self.encoder_layers // 2)

    def layers_and_inputs(self, context_shape):
        channels = self.patch_channels(context_shape)
        for stage in self.encoder:
            yield from stage.layers_and_inputs(channels)
            channels = self.filters
        for block in self.translator:
            yield from block.layers_and_inputs()
        for stage in self.decoder:
            yield from stage.layers_and_inputs(self.filters)
        yield self.make_readout(self.patch_channels(context_shape)), self.filters

    def predict_patches(self, patches, steps):
        predicted = []
        for _ in range(-(-steps // self.context)):
            patches = self._one_pass(patches)
            predicted.append(patches)
        return ops.concatenate(predicted)[:steps]

    def _one_pass(self, patches):
        time, batch = ops.shape(patches)[:2]
        x = skipped = self.encoder[0](layout.merge_time(patches))
        for stage in self.encoder[1:]:
            x = stage(x)
        *_, height, width, _ = ops.shape(x)
        x = ops.transpose(layout.split_time(x, time, batch), (1, 2, 3, 0, 4))
        x = ops.reshape(x, (batch, height, width, self.context * self.filters))
        for block in self.translator:
            x = block(x)
        x = ops.reshape(x, (batch, height, width, self.context, self.filters))
        x = layout.merge_time(ops.transpose(x, (3, 0, 1, 2, 4)))
        for stage in self.decoder[:-1]:
            x = stage(x)
        x = self.readout(self.decoder[-1](x + skipped))
        return layout.split_time(x, time, batch)

    def _checked_size(self, shape):
        if shape[1] not in (None, self.context):
            raise ValueError(
                f"This SimVP takes {self.context} frames, whose features are its channels; pass another `context` to "
                f"make one that takes others. Received: frames of shape {tuple(shape)}"
            )
        return super()._checked_size(shape)

    def count(self, frame_shape, context, horizon):
        pixels, passes = self.pixels(frame_shape), -(-horizon // self.context)
        encode = 0
        for stage in self.encoder:
            pixels //= stage.stride**2
            encode += pixels * kernel_numbers(stage.weights)
        decode = pixels * sum(kernel_numbers(block.weights) for block in self.translator)
        for stage in self.decoder:
            decode += self.context * pixels * kernel_numbers(stage.weights)
            pixels *= stage.upsampling**2
        decode += self.context * pixels * kernel_numbers(self.readout.weights)
        return passes * self.context * encode, passes * decode, 0

    def get_config(self) -> dict:
        config = super().get_config()
        del config["patch_size"]
        names = ("context", "filters", "hidden_filters", "encoder_layers", "blocks")
        return {**config, **{name: getattr(self, name) for name in names}}


class _Stage(keras.layers.Layer):
    """A convolution of the encoder or of the decoder."""

    def __init__(self, filters: int, stride: int = 1, upsampling: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.stride, self.upsampling = filters, stride, upsampling
        options = {"data_format": "channels_last", "dtype": self.dtype_policy}
        self.conv = keras.layers.Conv2D(filters * upsampling**2, 3, stride, padding="same", **options)
        self.norm = keras.layers.GroupNormalization(2, epsilon=1e-5, dtype=self.dtype_policy)

    def layers_and_inputs(self, channels: int):
        return [(self.conv, channels), (self.norm, self.filters)]

    def call(self, x):
        return ops.silu(self.norm(backend.depth_to_space(self.conv(x), (self.upsampling, self.upsampling))))


class _Block(keras.layers.Layer):
    """Gated attention and a perceptron for every pixel, see `SimVP`."""

    def __init__(self, inputs: int, outputs: int, **kwargs):
        super().__init__(**kwargs)
        self.inputs, self.outputs = inputs, outputs
        options = {"data_format": "channels_last", "dtype": self.dtype_policy}

        def norm():
            return keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=self.dtype_policy)

        def conv(filters: int):
            return keras.layers.Conv2D(filters, 1, **options)

        def depthwise(size: int, dilation: int = 1):
            return keras.layers.DepthwiseConv2D(size, padding="same", dilation_rate=dilation, **options)

        def scale():
            initializer = keras.initializers.Constant(_LAYER_SCALE)
            return keras.layers.DepthwiseConv2D(1, use_bias=False, depthwise_initializer=initializer, **options)

        self.norms, self.scales = [norm(), norm()], [scale(), scale()]
        self.before_gate, self.gate, self.after_gate = conv(inputs), conv(2 * inputs), conv(inputs)
        self.near, self.far = depthwise(5), depthwise(7, dilation=3)
        self.expand, self.mix, self.contract = conv(_MLP_RATIO * inputs), depthwise(3), conv(inputs)
        self.projection = None if inputs == outputs else conv(outputs)

    def layers_and_inputs(self):
        for layer in (*self.norms, *self.scales, self.before_gate, self.near, self.far, self.gate, self.after_gate):
            yield layer, self.inputs
        yield self.expand, self.inputs
        for layer in (self.mix, self.contract):
            yield layer, _MLP_RATIO * self.inputs
        if self.projection:
            yield self.projection, self.inputs

    def call(self, x):
        x = x + self.scales[0](self._attention(self.norms[0](x)))
        x = x + self.scales[1](self.contract(ops.gelu(self.mix(self.expand(self.norms[1](x))), approximate=False)))
        return self.projection(x) if self.projection else x

    def _attention(self, y):
        values, gates = ops.split(
            self.gate(self.far(self.near(ops.gelu(self.before_gate(y), approximate=False)))), 2, axis=-1
        )
        return self.after_gate(ops.sigmoid(gates) * values) + y
