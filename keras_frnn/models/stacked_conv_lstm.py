import keras

from keras_frnn.models.patch_predictor import StepwisePredictor


@keras.saving.register_keras_serializable(package="keras_frnn")
class StackedConvLSTM(StepwisePredictor):
    """ConvLSTM layers on top of each other that predict the next frame, as in benchmarks of video prediction.

    Unlike in a `ConvLSTMForecaster`, the same layers read the given frames and then their own predictions. A 1x1
    convolution turns the state of the top layer into the pixels of a patch of the next frame.

    OpenSTL's `ConvLSTM-S` is this network with the default arguments, on frames of 64x64x1. Here it has 11.7 million
    weights; they count 15.0 million, since their layers also hold kernels that no equation uses. Both have 56.8 GMAC
    for 10 given and 10 predicted frames. Frames here are in [-1, 1] and end in a tanh; theirs are in [0, 1].

    Args:
        horizon: number of frames that a call predicts.
        filters: channels of the layers, starting at the frame.
        kernel_size: integer, or height and width.
        patch_size: side of the patches; the height and width of the frames must be multiples of it.
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.

    Input shape: `(batch, context, height, width, channels)`, float, values in [-1, 1], or channels before height.
    Output shape: `(batch, horizon, height, width, channels)`, values in (-1, 1).

    Raises:
        ValueError: an argument is not a positive integer, or frames do not fit.

    Example:

    >>> import numpy as np
    >>> model = StackedConvLSTM(horizon=2, filters=(4, 3), kernel_size=3)
    >>> tuple(model(np.zeros((1, 3, 16, 16, 1), "float32")).shape)
    (1, 2, 16, 16, 1)

    References: Shi et al., "Convolutional LSTM Network", NeurIPS 2015, https://arxiv.org/abs/1506.04214; Tan et al.,
        "OpenSTL", NeurIPS 2023, https://arxiv.org/abs/2306.11249, for the sizes.
    """

    def make_cells(self):
        return [
            keras.layers.ConvLSTM2D(
                filters,
                self.kernel_size,
                padding="same",
                recurrent_activation="sigmoid",
                data_format="channels_last",
                dtype=self.dtype_policy,
                name=f"conv_lstm_{index}",
            )
            for index, filters in enumerate(self.filters)
        ]

    def layers_and_inputs(self, context_shape):
        inputs = self.patch_channels(context_shape)
        for channels, layer in zip((inputs, *self.filters), self.cells, strict=False):
            yield layer, channels
        yield self.make_readout(inputs), self.filters[-1]

    def initial_state(self, patches):
        return [[self.zeros(patches, filters)] * 2 for filters in reversed(self.filters)]

    def step(self, state, patches):
        x, new = patches, []
        for layer, before in zip(self.cells, reversed(state), strict=True):
            x, after = layer.cell(x, before)
            new.append(after)
        return new[::-1]

    @property
    def memory(self):
        return 2 * sum(self.filters)
