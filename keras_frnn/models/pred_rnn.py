import keras
from keras import ops

from keras_frnn.models.patch_predictor import StepwisePredictor


@keras.saving.register_keras_serializable(package="keras_frnn")
class PredRNN(StepwisePredictor):
    """PredRNN: layers of spatiotemporal LSTMs, and a memory that goes up through all of them in every step.

    Every layer has a hidden state `h` and cells `c` of its own. The memory `m` comes from the layer below; that of the
    lowest layer is the top layer's of the step before. With `x` the hidden state of the layer below (for the lowest,
    the patches of a frame), `*` convolutions with a kernel each, and `.` elementwise products:

        i, f, g    = sigmoid(Wi * x + Ui * h), sigmoid(Wf * x + Uf * h + 1), tanh(Wg * x + Ug * h)
        c'         = f . c + i . g
        i', f', g' = sigmoid(W'i * x + Vi * m), sigmoid(W'f * x + Vf * m + 1), tanh(W'g * x + Vg * m)
        m'         = f' . m + i' . g'
        o          = sigmoid(Wo * x + Uo * h + Co * [c', m'])
        h'         = o . tanh(P * [c', m'])    with a kernel P of 1x1

    The ones that are added to forget gates are initial values of biases. After the context, `x` is the network's own
    prediction: a 1x1 convolution of the top layer's `h'`.

    With the default arguments on frames of 64x64x1, it has the published 23.8 million weights and, for 10 given and 10
    predicted frames, 116 GMAC. PredRNN-V2 is the same network with another term in its loss, which is not part of this
    class; neither is scheduled sampling, which shows a network true frames instead of its predictions in training.
    Frames here are in [-1, 1] and end in a tanh.

    Args:
        horizon: number of frames that a call predicts.
        filters: channels of the layers, starting at the frame; all must be equal, since they pass on the memory.
        kernel_size: integer, or height and width.
        patch_size: side of the patches; the height and width of the frames must be multiples of it.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, context, height, width, channels)`, float, values in [-1, 1], or channels before height.
    Output shape: `(batch, horizon, height, width, channels)`, values in (-1, 1).

    Raises:
        ValueError: an argument is not a positive integer, filters differ, or frames do not fit.

    Example:

    >>> import numpy as np
    >>> model = PredRNN(horizon=2, filters=(4, 4), kernel_size=3)
    >>> tuple(model(np.zeros((1, 3, 16, 16, 1), "float32")).shape)
    (1, 2, 16, 16, 1)

    References: Wang et al., "PredRNN", NeurIPS 2017; Wang et al., "PredRNN: A Recurrent Neural Network for
        Spatiotemporal Predictive Learning", TPAMI 2022, https://arxiv.org/abs/2103.09504
    """

    def make_cells(self):
        if len(set(self.filters)) > 1:
            raise ValueError(
                "The layers of a PredRNN pass on a memory, so all have the same number of `filters`. "
                f"Received: filters={self.filters}"
            )
        return [
            _SpatiotemporalLSTM(filters, self.kernel_size, dtype=self.dtype_policy, name=f"st_lstm_{index}")
            for index, filters in enumerate(self.filters)
        ]

    def make_weights(self, context_shape):
        super().make_weights(context_shape)
        for cell in self.cells:
            cell.bias_forget_gates()

    def layers_and_inputs(self, context_shape):
        inputs = self.patch_channels(context_shape)
        for channels, cell in zip((inputs, *self.filters), self.cells, strict=False):
            yield from cell.layers_and_inputs(channels)
        yield self.make_readout(inputs), self.filters[-1]

    def initial_state(self, patches):
        zeros = self.zeros(patches, self.filters[0])
        return [[zeros] * 2 for _ in self.filters], zeros

    def step(self, state, patches):
        x, (layers, memory), new = patches, state, []
        for cell, (hidden, cells) in zip(self.cells, reversed(layers), strict=True):
            x, cells, memory = cell(x, hidden, cells, memory)
            new.append([x, cells])
        return new[::-1], memory

    @property
    def memory(self):
        return (2 * len(self.filters) + 1) * self.filters[0]


class _SpatiotemporalLSTM(keras.layers.Layer):
    """One layer's step; see `PredRNN`."""

    def __init__(self, filters: int, kernel_size: tuple[int, ...], **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

        def conv(gates, size, bias, name):
            options = {"padding": "same", "data_format": "channels_last", "dtype": self.dtype_policy}
            return keras.layers.Conv2D(gates * filters, size, use_bias=bias, name=name, **options)

        self.of_inputs = conv(7, kernel_size, True, "of_inputs")  # i, f, g, i', f', g', o
        self.of_hidden = conv(4, kernel_size, False, "of_hidden")  # i, f, g, o
        self.of_memory = conv(3, kernel_size, False, "of_memory")  # i', f', g'
        self.of_cells = conv(1, kernel_size, False, "of_cells")
        self.projection = conv(1, 1, False, "projection")

    def layers_and_inputs(self, channels: int):
        return [
            (self.of_inputs, channels),
            (self.of_hidden, self.filters),
            (self.of_memory, self.filters),
            (self.of_cells, 2 * self.filters),
            (self.projection, 2 * self.filters),
        ]

    def bias_forget_gates(self):
        bias = ops.concatenate([gate * ops.ones(self.filters) for gate in (0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0)])
        self.of_inputs.bias.assign(bias)

    def call(self, x, hidden, cells, memory):
        from_x, output_x = ops.split(self.of_inputs(x), [6 * self.filters], axis=-1)
        from_h, output_h = ops.split(self.of_hidden(hidden), [3 * self.filters], axis=-1)
        of_cells, of_memory = ops.split(from_x, 2, axis=-1)
        cells = self._updated(cells, of_cells + from_h)
        memory = self._updated(memory, of_memory + self.of_memory(memory))
        both = ops.concatenate([cells, memory], axis=-1)
        output = ops.sigmoid(output_x + output_h + self.of_cells(both))
        return output * ops.tanh(self.projection(both)), cells, memory

    def _updated(self, memory, gates):
        keep, forget, candidate = ops.split(gates, 3, axis=-1)
        return ops.sigmoid(forget) * memory + ops.sigmoid(keep) * ops.tanh(candidate)
