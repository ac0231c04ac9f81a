"""The folded layers against stock Keras layers."""

import inspect

import keras
import numpy as np
import pytest
from keras import ops

from keras_frnn import layers, models
from keras_frnn.layers import layout

ALL = [
    layers.FoldedConv2D(3, 5),
    layers.FoldedMaxPooling2D((2, 1)),
    layers.FoldedConvGRU(3, (3, 5)),
    layers.FoldedMinConvGRU(3, (3, 5)),
    layers.BridgeLadder(3, (3, 5)),
]


def video(shape=(2, 4, 8, 12, 3), seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def randomise(layer, seed=1):
    generator = np.random.default_rng(seed)
    layer.set_weights([generator.normal(0, 0.3, w.shape).astype("float32") for w in layer.get_weights()])


def array(tensor):
    return ops.convert_to_numpy(tensor)


def through_time(layer, frames):
    return np.stack([array(layer(frames[:, t])) for t in range(frames.shape[1])], axis=1)


def decode(layer, sequence, state=()):
    """`FoldedLayer.decode` for videos as users see them."""
    return ops.convert_to_numpy(
        layout.from_sequence(layer.decode(layout.to_sequence(sequence, "channels_last"), state), "channels_last")
    )


class TestFoldedConv2D:
    @pytest.mark.parametrize("kernel_size", [5, (3, 1)])
    def test_encode_is_a_convolution_and_decode_its_transpose(self, kernel_size):
        layer, frames, above = layers.FoldedConv2D(4, kernel_size), video(), video((2, 4, 8, 12, 4))
        layer.build_both_directions(frames.shape)
        randomise(layer)
        kernel, bias, decoder_bias = layer.get_weights()

        convolution = keras.layers.Conv2D(4, kernel_size, padding="same", activation="tanh")
        convolution.build(frames.shape[:1] + frames.shape[2:])
        convolution.set_weights([kernel, bias])
        np.testing.assert_allclose(array(layer(frames)), through_time(convolution, frames), atol=1e-5)

        transposed = keras.layers.Conv2DTranspose(3, kernel_size, padding="same", activation="tanh")
        transposed.build(above.shape[:1] + above.shape[2:])
        transposed.set_weights([kernel, decoder_bias])
        np.testing.assert_allclose(decode(layer, above), through_time(transposed, above), atol=1e-5)


class TestFoldedMaxPooling2D:
    @pytest.mark.parametrize("pool_size", [2, (4, 3)])
    def test_encode_pools_and_decode_repeats(self, pool_size):
        layer, frames = layers.FoldedMaxPooling2D(pool_size), video()
        pooled = through_time(keras.layers.MaxPooling2D(pool_size), frames)
        np.testing.assert_array_equal(array(layer(frames)), pooled)
        upsampled = through_time(keras.layers.UpSampling2D(pool_size), pooled)
        np.testing.assert_array_equal(decode(layer, pooled), upsampled)

    @pytest.mark.parametrize(
        ("size", "message"), [((7, 12), "height 7; .* 6 and 8"), ((8, 13), "width 13"), ((1, 2), "height 1; .*: 2")]
    )
    def test_frames_that_do_not_divide(self, size, message):
        with pytest.raises(ValueError, match=message):
            layers.FoldedMaxPooling2D(2)(np.zeros((1, 1, *size, 1), "float32"))


class TestFoldedConvGRU:
    def stock(self, layer, channels):
        """`keras.layers.GRU` with the weights of a FoldedConvGRU of kernel size 1."""
        kernel, recurrent, candidate, bias = (
            np.squeeze(ops.convert_to_numpy(w))
            for w in (
                layer.encoder.kernel,
                layer.encoder.recurrent_kernel,
                layer.encoder.candidate_kernel,
                layer.encoder.bias,
            )
        )
        filters = layer.filters
        gru = keras.layers.GRU(filters, reset_after=False, return_sequences=True, return_state=True)
        gru.build((None, None, channels))

        def reorder(r, z, c):
            # Keras orders z, r, c, and its z weights the old state: s(-a) = 1 - s(a).
            return np.concatenate([-z, r, c], axis=-1)

        gru.set_weights(
            [
                reorder(*np.split(kernel, 3, axis=-1)),
                reorder(recurrent[:, :filters], recurrent[:, filters:], candidate),
                reorder(*np.split(bias, 3)),
            ]
        )
        return gru

    def test_equals_the_stock_gru_at_every_pixel(self):
        frames, start = video((2, 6, 2, 3, 4)), video((2, 2, 3, 5), seed=2)
        layer = layers.FoldedConvGRU(5, 1, return_sequences=True, return_state=True)
        layer.build(frames.shape)
        randomise(layer)
        gru = self.stock(layer, channels=4)
        outputs, state = layer(frames, initial_state=start)
        for y in range(2):
            for x in range(3):
                expected, last = gru(frames[:, :, y, x], initial_state=start[:, y, x])
                np.testing.assert_allclose(array(outputs)[:, :, y, x], array(expected), atol=1e-5)
                np.testing.assert_allclose(array(state)[:, y, x], array(last), atol=1e-5)

    def pair(self, **kwargs):
        """A layer that starts from zeros, and `stock` of it."""
        layer = layers.FoldedConvGRU(5, 1, return_sequences=True, **kwargs)
        layer.build((2, 4, 2, 3, 4))
        randomise(layer)
        layer.initial_output_state.assign(ops.zeros(5))
        return layer, self.stock(layer, channels=4)

    def test_bidirectional_equals_stock_grus(self):
        frames, state = video((2, 4, 2, 3, 4)), video((2, 2, 3, 5), seed=2)
        (layer, forward), (_, backward) = self.pair(return_state=True), self.pair()
        bidirectional = keras.layers.Bidirectional(layer)
        bidirectional.build(frames.shape)
        bidirectional.set_weights(layer.get_weights() * 2)
        outputs, *states = bidirectional(frames, initial_state=[state, -state])
        for y in range(2):
            for x in range(3):
                pixel = frames[:, :, y, x]
                there, last = forward(pixel, initial_state=state[:, y, x])
                back, first = backward(pixel[:, ::-1], initial_state=-state[:, y, x])
                expected = np.concatenate([array(there), array(back)[:, ::-1]], axis=-1)
                np.testing.assert_allclose(array(outputs)[:, :, y, x], expected, atol=1e-5)
                for computed, one in zip(states, (last, first), strict=True):
                    np.testing.assert_allclose(array(computed)[:, y, x], array(one), atol=1e-5)

    @pytest.mark.parametrize("go_backwards", [False, True])
    def test_mask_equals_the_stock_grus(self, go_backwards):
        frames = video((2, 4, 2, 3, 4))
        mask = np.array([[False, True, False, True], [True, True, False, False]])
        layer, gru = self.pair(go_backwards=go_backwards)
        outputs = array(layer(frames, mask=mask))
        of_pixels = np.broadcast_to(mask[:, :, None, None], frames.shape[:4])
        np.testing.assert_array_equal(array(layer(frames, mask=of_pixels)), outputs)
        order = slice(None, None, -1 if go_backwards else 1)
        for y in range(2):
            for x in range(3):
                expected, _ = gru(frames[:, order, y, x].copy(), mask=mask[:, order].copy())
                np.testing.assert_allclose(outputs[:, :, y, x], array(expected), atol=1e-5)

    @pytest.mark.filterwarnings("ignore:Gradients do not exist for variables.*initial_output_state")
    def test_padding_that_is_masked_changes_nothing(self):
        frames, target, state = video((2, 3, 4, 5, 2)), video((2, 4, 5, 3)), video((2, 4, 5, 3), seed=2)
        padded = np.concatenate([frames, np.zeros((2, 2, 4, 5, 2), "float32")], axis=1)
        results = []
        for clip in (frames, padded):
            keras.utils.set_random_seed(0)
            inputs, start = keras.Input((None, 4, 5, 2)), keras.Input((4, 5, 3))
            masked = keras.layers.Masking()(inputs)
            first = layers.FoldedConvGRU(3, 3, return_sequences=True)(masked)
            model = keras.Model([inputs, start], layers.FoldedConvGRU(3, 3)(first, initial_state=start))
            model.compile(keras.optimizers.SGD(1.0), "mse")
            model.train_on_batch([clip, state], target)
            results.append([*model.get_weights(), model.predict_on_batch([clip, state])])
        for short, long in zip(*results, strict=True):
            np.testing.assert_allclose(long, short, atol=1e-6)

    def test_masks_of_another_shape(self):
        for shape in (2, 3), (2, 4, 2), (2, 4, 4, 2), (2,):
            with pytest.raises(ValueError, match=r"shape \(2, 4\) or \(2, 4, 2, 3\) .* Received: mask of shape"):
                self.pair()[0](video((2, 4, 2, 3, 4)), mask=np.ones(shape, "bool"))

    def test_mask_of_the_outputs(self):
        mask = np.array([[True, False]])
        layer = layers.FoldedConvGRU(2, 3, return_sequences=True, return_state=True, go_backwards=True)
        outputs, state = layer.compute_mask(None, ops.convert_to_tensor(mask))
        np.testing.assert_array_equal(array(outputs), mask[:, ::-1])
        assert state is None
        assert layers.FoldedConvGRU(2, 3).compute_mask(None, mask) is None

    def test_what_it_is_not(self):
        with pytest.raises(ValueError, match="Received: stateful=True. .* `initial_state`"):
            layers.FoldedConvGRU(2, 3, stateful=True)
        model = models.FoldedRNN([layers.FoldedConvGRU(2, 3, go_backwards=True)], 2)
        with pytest.raises(ValueError, match="reads videos forwards only. Received: go_backwards=True"):
            model.build((None, 2, 4, 4, 1))

    def test_starts_from_its_trainable_state(self):
        layer, frames = layers.FoldedConvGRU(5, 3), video()
        layer.build(frames.shape)
        randomise(layer)
        start = np.broadcast_to(ops.convert_to_numpy(layer.initial_output_state), (2, 8, 12, 5))
        np.testing.assert_allclose(array(layer(frames)), array(layer(frames, initial_state=start)), atol=1e-6)

    def test_goes_on_from_a_state(self):
        layer = layers.FoldedConvGRU(5, 3, return_sequences=True, return_state=True)
        frames = video()
        whole, last = layer(frames)
        first, state = layer(frames[:, :3])
        second, state = layer(frames[:, 3:], initial_state=[state])
        np.testing.assert_allclose(np.concatenate([array(first), array(second)], axis=1), array(whole), atol=1e-5)
        np.testing.assert_allclose(array(state), array(last), atol=1e-5)

    @pytest.mark.parametrize("return_sequences", [False, True])
    @pytest.mark.parametrize("return_state", [False, True])
    @pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
    def test_symbolic_shapes_equal_eager_ones(self, return_sequences, return_state, data_format):
        layer = layers.FoldedConvGRU(
            5, 3, return_sequences=return_sequences, return_state=return_state, data_format=data_format
        )
        frames = video((2, 4, 6, 8, 10))
        for kwargs in {}, {"initial_state": True}:
            if kwargs:
                state_shape = (5, 8, 10) if data_format == "channels_first" else (6, 8, 5)
                kwargs = {"initial_state": np.zeros((2, *state_shape), "float32")}
            symbolic_kwargs = {key: keras.Input(value.shape[1:], batch_size=2) for key, value in kwargs.items()}
            symbolic = layer(keras.Input(frames.shape[1:], batch_size=2), **symbolic_kwargs)
            eager = layer(frames, **kwargs)
            assert [tuple(s.shape) for s in keras.tree.flatten(symbolic)] == [
                tuple(e.shape) for e in keras.tree.flatten(eager)
            ]

    # With a state given each time, the trainable one is not used, and Keras says so.
    @pytest.mark.filterwarnings("ignore:Gradients do not exist for variables.*initial_output_state")
    def test_trains_in_sequential_and_functional_models(self):
        frames = video()
        sequential = keras.Sequential([layers.FoldedConvGRU(4, 3, return_sequences=True), layers.FoldedConvGRU(3, 3)])
        inputs, state = keras.Input((None, 8, 12, 3)), keras.Input((8, 12, 4))
        outputs = layers.FoldedConvGRU(4, 3)(inputs, initial_state=state)
        functional = keras.Model([inputs, state], outputs)
        for model, data, target in (
            (sequential, frames, video((2, 8, 12, 3))),
            (functional, [frames, video((2, 8, 12, 4))], video((2, 8, 12, 4))),
        ):
            model.compile("adam", "mse")
            losses = model.fit(data, target, epochs=3, verbose=0).history["loss"]
            assert losses[-1] < losses[0]

    def test_saves_in_a_functional_model(self, tmp_path):
        inputs = keras.Input((4, 8, 12, 3))
        model = keras.Model(inputs, layers.FoldedConvGRU(4, 3, return_sequences=True)(inputs))
        model.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras")
        np.testing.assert_array_equal(loaded.predict(video(), verbose=0), model.predict(video(), verbose=0))

    def test_has_no_decoder_on_its_own(self):
        layer = layers.FoldedConvGRU(4, 3)
        layer(video())
        assert len(layer.weights) == 5

    @pytest.mark.parametrize(
        "state", [np.zeros((2, 8, 12, 7)), np.zeros((2, 5)), [np.zeros((2, 8, 12, 5))] * 2, np.zeros((3, 8, 12, 5))]
    )
    def test_wrong_initial_state(self, state):
        with pytest.raises(ValueError, match=r"one state, of shape \(2, 8, 12, 5\) .* Received: initial_state"):
            layers.FoldedConvGRU(5, 3)(video(), initial_state=state)

    def test_gates_and_directions_start_different(self):
        layer = layers.FoldedConvGRU(4, 3, kernel_initializer=keras.initializers.GlorotUniform(seed=1))
        layer.build_both_directions((None, None, 8, 8, 4))
        kernels = [
            part
            for update in (layer.encoder, layer.decoder)
            for part in np.split(ops.convert_to_numpy(update.kernel), 3, axis=-1)
        ]
        assert len({kernel.tobytes() for kernel in kernels}) == 6


class TestConvGRUCell:
    def of_layer(self, shape=(2, 4, 5, 6, 3)):
        """A cell, and a layer of it that starts from zeros."""
        layer = layers.FoldedConvGRU(4, (3, 2), return_sequences=True)
        layer.build(shape)
        randomise(layer)
        layer.initial_output_state.assign(ops.zeros(4))
        cell = layers.ConvGRUCell(4, (3, 2))
        cell.build((None, *shape[2:]))
        cell.set_weights(layer.encoder.get_weights())
        return cell, layer

    def test_one_call_is_one_step_of_the_loop(self):
        (cell, layer), frames = self.of_layer(), video((2, 4, 5, 6, 3))
        h = np.zeros((2, 5, 6, 4), "float32")
        for t, expected in enumerate(np.moveaxis(array(layer(frames)), 1, 0)):
            h, (state,) = cell(frames[:, t], h if t % 2 else [h])
            np.testing.assert_allclose(array(h), expected, atol=1e-6)
            np.testing.assert_array_equal(array(h), array(state))

    def test_is_a_cell_of_the_stock_recurrent_layer(self):
        (cell, layer), frames = self.of_layer(), video((2, 4, 5, 6, 3))
        rnn = keras.layers.RNN(layers.ConvGRUCell.from_config(cell.get_config()), return_sequences=True)
        rnn.build(frames.shape)
        rnn.set_weights(cell.get_weights())
        np.testing.assert_allclose(array(rnn(frames)), array(layer(frames)), atol=1e-6)

    def test_symbolic_step(self):
        state, states = layers.ConvGRUCell(4, 3)(keras.Input((5, 6, 3)), keras.Input((5, 6, 4)))
        assert state.shape == states[0].shape == (None, 5, 6, 4)

    def test_shapes_that_are_not_frames(self):
        for shape in (4, 5, 3), (2, 4, 5, None):
            with pytest.raises(ValueError, match=r"of shape \(batch, height, width, channels\), .* Received: shape="):
                layers.ConvGRUCell(4, 3).build(shape)
        cell = layers.ConvGRUCell(4, 3)
        cell.build((None, None, 6, 3))
        with pytest.raises(ValueError, match="any size, .* Give an `initial_state`"):
            cell.get_initial_state(2)


def gates(layer) -> list[bytes]:
    """The kernels of all gates of a recurrent layer, in both directions."""
    cells = [layer] if isinstance(layer, layers.ConvGRUCell) else [layer.encoder, layer.decoder]
    return [part.tobytes() for cell in cells for part in np.split(ops.convert_to_numpy(cell.kernel), 3, axis=-1)]


def of_topology(initializer):
    topology = [("recurrent", 4, 3), ("recurrent", 4, 3)]
    network = models.FoldedRNN.from_topology(topology, 2, kernel_initializer=initializer)
    network.build((None, None, 8, 8, 4))
    return network.stack


def built(layer):
    if isinstance(layer, layers.ConvGRUCell):
        layer.build((None, 8, 8, 4))
    else:
        layer.build_both_directions((None, None, 8, 8, 4))
    return [layer]


@pytest.mark.parametrize("initializer", [keras.initializers.GlorotUniform, layers.ScaledOrthogonal])
@pytest.mark.parametrize(
    ("make", "count"),
    [
        (lambda initializer: built(layers.FoldedConvGRU(4, 3, kernel_initializer=initializer)), 6),
        (lambda initializer: built(layers.BridgeLadder(4, 3, kernel_initializer=initializer)), 6),
        (lambda initializer: built(layers.ConvGRUCell(4, (3, 3), initializer)), 3),
        (of_topology, 12),
    ],
    ids=["FoldedConvGRU", "BridgeLadder", "ConvGRUCell", "topology"],
)
def test_gates_start_different_with_a_seed_generator(make, count, initializer):
    first, again = (
        [kernel for layer in make(initializer(seed=keras.random.SeedGenerator(3))) for kernel in gates(layer)]
        for _ in range(2)
    )
    assert first == again
    assert len(set(first)) == count


def test_layers_that_share_a_seed_generator_start_different_and_are_saved(tmp_path):
    initializer = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(3))
    inputs = keras.Input((4, 8, 12, 4))
    stack = [
        layers.FoldedConvGRU(4, 3, return_sequences=True, kernel_initializer=initializer),
        layers.FoldedConvGRU(4, 3, kernel_initializer=initializer),
    ]
    model = keras.Model(inputs, stack[1](stack[0](inputs)))
    assert not np.array_equal(*(ops.convert_to_numpy(layer.encoder.kernel) for layer in stack))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    frames = video((2, 4, 8, 12, 4))
    np.testing.assert_array_equal(loaded.predict(frames, verbose=0), model.predict(frames, verbose=0))


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: type(layer).__name__)
class TestEveryLayer:
    def test_channels_first_equals_channels_last(self, layer):
        last = type(layer).from_config({**layer.get_config(), "data_format": "channels_last"})
        first = type(layer).from_config({**layer.get_config(), "data_format": "channels_first"})
        frames = video()
        expected = ops.convert_to_numpy(last(frames))
        first(np.moveaxis(frames, -1, 2))
        first.set_weights(last.get_weights())
        computed = ops.convert_to_numpy(first(np.moveaxis(frames, -1, 2)))
        np.testing.assert_allclose(np.moveaxis(computed, -3, -1), expected, atol=1e-6)

    def test_every_argument_is_an_attribute_and_in_the_config(self, layer):
        # Not of the class: for that, some versions of Python 3.11 show the signature of Keras' `__new__`.
        names = set(inspect.signature(type(layer).__init__).parameters) - {"self", "kwargs"}
        config = layer.get_config()
        assert names <= config.keys()
        assert all(hasattr(layer, name) for name in names)
        assert type(layer).from_config(config).get_config() == config

    def test_videos_of_nothing(self, layer):
        layer = type(layer).from_config(layer.get_config())
        for _ in range(2):  # The second time it is built.
            for shape in ((2, 0, 8, 12, 3), (2, 4, 0, 12, 3), (2, 4, 8, 0, 3), (2, 4, 8, 12, 0)):
                with pytest.raises(ValueError, match=r"one frame or more, of one pixel or more. Received: shape=\(2, "):
                    layer(np.zeros(shape, "float32"))
            for frames, found in ((None, "None"), ("clip.mp4", "'clip.mp4'"), (np.full((1, 2, 4, 4, 1), "a"), "<U1")):
                with pytest.raises(ValueError, match=f"an array or a tensor of frames. Received: .*={found}"):
                    layer(frames)
            layer(video())
        # A batch of nothing is one, as it is to stock layers.
        stock = keras.layers.ConvLSTM2D(3, 1, return_sequences=True)(np.zeros((0, 4, 8, 12, 3), "float32"))
        assert layer(np.zeros((0, 4, 8, 12, 3), "float32")).shape[0] == stock.shape[0] == 0
        if layer.weights:
            with pytest.raises(
                ValueError, match=r"built for videos of 3 channel\(s\). Received: shape=\(2, 4, 8, 12, 1\)"
            ):
                layer(video((2, 4, 8, 12, 1)))

    @pytest.mark.parametrize(
        ("name", "instead"),
        [
            ("strides", "FoldedMaxPooling2D or a FoldedPatch2D"),
            ("padding", "pad frames with zeros"),
            ("dropout", "SpatialDropout3D"),
            ("kernel_regularizer", r"AdamW\(weight_decay"),
            ("bias_constraint", "AdamW"),
            ("recurrent_activation", "equation is fixed"),
            ("unroll", "depends on the backend"),
        ],
    )
    def test_arguments_of_other_layers(self, layer, name, instead):
        kind = type(layer).__name__
        with pytest.raises(ValueError, match=f"{kind} has no `{name}`: .*{instead}.*Received: {name}=2"):
            type(layer)(**{**layer.get_config(), name: 2})

    @pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`:UserWarning")  # Of stock layers.
    def test_stays_in_floating_point(self, layer):
        inputs = keras.Input((4, 8, 12, 3))
        layer = type(layer).from_config(layer.get_config())
        model = keras.Model(inputs, keras.layers.Dense(2, name="dense")(keras.layers.Flatten()(layer(inputs))))
        expected = array(layer(video()))
        with pytest.warns(UserWarning, match="Layer '.*', a .*, stays in floating point"):
            model.quantize("int8")
        assert model.get_layer("dense").dtype_policy.name.startswith("int8")
        np.testing.assert_array_equal(array(layer(video())), expected)

    def test_expects_videos(self, layer):
        for shape in (2, 8, 12, 3), (2, 1, 4, 8, 12, 3):
            with pytest.raises(ValueError, match=r"expects videos of shape \(batch, time, height, width, channels\)"):
                type(layer).from_config(layer.get_config())(np.zeros(shape, "float32"))


@pytest.mark.parametrize("value", [0, -3, 2.0, "5", True, (3, 3, 3), (3, 0)])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda value: layers.FoldedConv2D(4, value), "kernel_size"),
        (lambda value: layers.FoldedConvGRU(4, value), "kernel_size"),
        (lambda value: layers.BridgeLadder(4, value), "kernel_size"),
        (lambda value: layers.FoldedMaxPooling2D(value), "pool_size"),
    ],
)
def test_sizes_are_positive_integers(make, name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer or 2 of them. Received: {name}="):
        make(value)


@pytest.mark.parametrize("value", [None, "-2", float("nan"), float("inf"), True, [1.0]])
def test_update_bias_is_a_number(value):
    with pytest.raises(ValueError, match="`update_bias` must be a finite number. Received: update_bias="):
        layers.FoldedConvGRU(4, 3, update_bias=value)
    if value is not None:
        with pytest.raises(ValueError, match="`decoder_update_bias` must be a finite number"):
            layers.FoldedConvGRU(4, 3, decoder_update_bias=value)


def test_update_bias_is_that_of_the_update_gates():
    layer = layers.FoldedConvGRU(2, 3, update_bias=-1.5)
    layer.build_both_directions((None, None, 8, 8, 3))
    np.testing.assert_array_equal(array(layer.encoder.bias), [0, 0, -1.5, -1.5, 0, 0])
    np.testing.assert_array_equal(array(layer.decoder.bias), [0] * 3 + [-1.5] * 3 + [0] * 3)
    layer = layers.FoldedMinConvGRU(2, 3, decoder_update_bias=-5)
    layer.build_both_directions((None, None, 8, 8, 3))
    np.testing.assert_array_equal(array(layer.encoder.bias), [-2, -2, 0, 0])
    np.testing.assert_array_equal(array(layer.decoder.bias), [-5] * 3 + [0] * 3)


def test_data_format_is_one_of_two():
    with pytest.raises(ValueError, match="'channels_last' or 'channels_first'. Received: data_format='NHWC'"):
        layers.FoldedConv2D(4, 3, data_format="NHWC")


def test_scaled_orthogonal():
    matrix = ops.convert_to_numpy(layers.ScaledOrthogonal(seed=3)((5, 5, 8, 16))).reshape(200, 16)
    gram = matrix.T @ matrix
    off_diagonal = gram - np.diag(np.diag(gram))
    assert np.abs(off_diagonal).max() < 1e-5 * np.diag(gram).min()
    np.testing.assert_allclose(matrix.std(axis=0), 2 / np.sqrt(216), rtol=1e-5)
