"""What every folded layer shares: the two directions and the border to Keras."""

import keras

from keras_frnn.checks import (
    check_data_format,
    check_float_policy,
    check_is_tensor,
    check_keywords,
    check_positive_integer,
    check_positive_integers,
    nearest_multiples,
    refuse_quantization,
)
from keras_frnn.layers import layout


class FoldedLayer(keras.layers.Layer):
    """Base of layers that run in two directions over shared states.

    Called as an ordinary Keras layer, a folded layer encodes a video `(batch, time, ...)` in its `data_format`. A
    `FoldedRNN` takes any subclass. Its contract, which `keras_frnn.testing.check_folded_layer` verifies:

    - `encode` and `decode` take and return *sequences*, `(time, batch, height, width, channels)`, whatever the
      `data_format`, in the layer's `compute_dtype`.
    - `encode` of a video at once, or of its parts one after the other from state to state, gives the same.
    - `decode` reads the state and leaves it as it is. A step does not depend on later steps.
    - `encoded_shape` is the shape that `encode` leads to; `downsampling` says by what it divides height and width.
    - A layer with memory says what is in its state: `state_shapes` and `initial_values`.
    - `build` makes the weights and keeps `sequence_shape`. Weights of decoding are made where `has_decoder` is true, as
      in models; on its own, a layer would have them without a use.
    - The last layer of a `FoldedRNN` also has `rollout(state, steps)`, which decodes without a layer above: it returns
      a sequence of so many steps, as `decode` does.

    docs/building_blocks.md has an example.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; `keras.config.image_data_format()` by default.
    """

    decodes_by_upsampling = False
    """Whether `decode` repeats pixels by `downsampling` and does nothing else. The layer below can then do it, with
    less arithmetic: it gets the sequence as it is, and the factors as `upsampling`."""

    def __init__(self, data_format: str | None = None, **kwargs):
        check_keywords(type(self).__name__, kwargs)
        super().__init__(**kwargs)
        self.data_format = check_data_format(data_format)
        self._has_decoder = False

    @property
    def has_decoder(self) -> bool:
        """Whether this layer was built with the weights of decoding."""
        return self._has_decoder

    def build_both_directions(self, sequence_shape):
        """`build` with the weights of decoding, too.

        Args:
            sequence_shape: shape of the videos to encode, `(batch, time, ...)` in `data_format`.
        """
        self._has_decoder = True
        self.build(sequence_shape)

    def build(self, sequence_shape):
        self.sequence_shape = sequence_shape
        self.encoded_shape(sequence_shape)

    def encode(self, sequence, state=None, remat: bool = False):
        """Runs bottom to top, over all steps: takes their features, returns their outputs and the state after the last.

        Args:
            sequence: `(time, batch, ...)`, see `layout`.
            state: what `encode` returned for the steps before, or None at the first step.
            remat: keep less for the gradient, and compute it again, see `FoldedRNN`. A layer may ignore it.

        Returns:
            `(time, batch, ...)` and the new state; a layer without memory returns `()` for it.
        """
        raise NotImplementedError

    def decode(self, sequence, state, upsampling: tuple[int, int] = (1, 1), remat: bool = False):
        """Runs top to bottom, over all steps: takes what the layer above decoded, returns what the layer below gets.

        Args:
            sequence: `(steps, batch, ...)`, see `layout`.
            state: what `encode` returned last. It is read, not consumed.
            upsampling: factors by which height and width of the sequence are to be upsampled first, as
                `keras_frnn.backend.upsample` does.
            remat: see `encode`.

        Returns:
            `(steps, batch, ...)` in the shape of this layer's encode input.
        """
        raise NotImplementedError

    def encoded_shape(self, sequence_shape: tuple) -> tuple:
        """Shape of `encode`'s output as users see it: `(batch, time, ...)` in `data_format`."""
        raise NotImplementedError

    def state_shapes(self, sequence_shape: tuple) -> tuple:
        """Shapes of the state's tensors, `(batch, height, width, channels)`; none for a layer without memory."""
        return ()

    @property
    def has_state(self) -> bool:
        """Whether encoding leaves a state."""
        return type(self).state_shapes is not FoldedLayer.state_shapes

    def initial_values(self) -> tuple:
        """Initial values of the state: for each of `state_shapes` a number, or one value per channel."""
        return ()

    @property
    def downsampling(self) -> tuple[int, int]:
        """The factors by which encoding divides height and width."""
        return (1, 1)

    @property
    def output_shape(self) -> tuple:
        """What Keras' `summary` shows: in a network, a layer outputs every step."""
        if not self.has_decoder:
            raise AttributeError(f"Layer '{self.name}' is not part of a network; see `compute_output_shape`.")
        return self.encoded_shape(self.sequence_shape)

    def compute_output_shape(self, sequence_shape):
        return self.encoded_shape(sequence_shape)

    def __call__(self, *args, **kwargs):
        if args:
            check_is_tensor(args[0], "sequence")
        return super().__call__(*args, **kwargs)

    def call(self, sequence):
        self._check_call(sequence.shape)
        return layout.from_sequence(self.encode(layout.to_sequence(sequence, self.data_format))[0], self.data_format)

    def size_and_channels(self, shape: tuple) -> tuple:
        """Height, width and channels of a video's shape; raises if it is not the shape of one."""
        if len(shape) != 5:
            axes = "time, height, width, channels"
            if self.data_format == "channels_first":
                axes = "time, channels, height, width"
            raise ValueError(
                f"Layer '{self.name}' expects videos of shape (batch, {axes}). Received: shape={tuple(shape)}. "
                "A single sequence needs a batch axis of 1, a single frame also a time axis of 1."
            )
        height, width, channels = layout.frame_size_and_channels(shape, self.data_format)
        if channels is None:
            raise ValueError(
                f"Layer '{self.name}' needs to know the number of channels to make its weights. "
                f"Received: shape={tuple(shape)} with data_format='{self.data_format}'."
            )
        return height, width, channels

    def _check_call(self, shape: tuple):
        """Raises where a video has another shape than this layer can take, now that it is built."""
        *size, channels = self.size_and_channels(shape)
        if 0 in (shape[1], *size, channels):
            raise ValueError(
                f"Layer '{self.name}' expects videos of one frame or more, of one pixel or more. "
                f"Received: shape={tuple(shape)}"
            )
        *_, expected = self.size_and_channels(self.sequence_shape)
        if self.weights and channels != expected:
            raise ValueError(
                f"Layer '{self.name}' was built for videos of {expected} channel(s). "
                f"Received: shape={tuple(shape)} with data_format='{self.data_format}'"
            )

    def quantize(self, *args, **kwargs):
        refuse_quantization(self)

    def _divided_size(self, sequence_shape: tuple) -> tuple:
        """Height and width of a video's shape divided by the layer's factors; raises where they do not divide it."""
        size = self.size_and_channels(sequence_shape)[:2]
        for length, factor, axis in zip(size, self.downsampling, ("height", "width"), strict=True):
            if length is not None and length % factor:
                raise ValueError(
                    f"Layer '{self.name}' divides frames by {self.downsampling}, not those of {axis} {length}; the "
                    f"nearest that work: {nearest_multiples(length, factor)}. Received: shape={tuple(sequence_shape)}"
                )
        return tuple(
            None if length is None else length // factor for length, factor in zip(size, self.downsampling, strict=True)
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "data_format": self.data_format}

    def get_build_config(self) -> dict | None:
        # Keras records shapes only; whether the decoder was built must come back too when a model is loaded.
        if not self.built:
            return None
        return {"sequence_shape": self.sequence_shape, "has_decoder": self.has_decoder}

    def build_from_config(self, config: dict):
        build = self.build_both_directions if config["has_decoder"] else self.build
        build(tuple(config["sequence_shape"]))


class FoldedKernelLayer(FoldedLayer):
    """Base of folded layers that convolve and keep the size of frames.

    Args:
        filters: channels of the encoded frames.
        kernel_size: integer, or height and width.
        kernel_initializer: Keras initializer.
        data_format: see `FoldedLayer`.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        kernel_initializer="glorot_uniform",
        data_format: str | None = None,
        **kwargs,
    ):
        super().__init__(data_format=data_format, **kwargs)
        check_float_policy(self.dtype_policy)
        self.filters = check_positive_integer(filters, "filters")
        self.kernel_size = check_positive_integers(kernel_size, "kernel_size", 2)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def encoded_shape(self, sequence_shape: tuple) -> tuple:
        height, width, _ = self.size_and_channels(sequence_shape)
        return (*sequence_shape[:2], *layout.frame_shape(height, width, self.filters, self.data_format))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
