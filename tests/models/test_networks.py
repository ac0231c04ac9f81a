"""What FoldedRNN and LadderRNN share; `test_golden.py` compares their numbers with the authors'."""

import os
import subprocess
import sys

import golden
import keras
import numpy as np
import pytest

from keras_frnn import layers, models
from keras_frnn.backend import engine
from keras_frnn.layers.conv_gru_cell import ConvGRUCell

BACKENDS = ("tensorflow", "jax", "torch")


@pytest.fixture(params=[models.FoldedRNN, models.LadderRNN], ids=["frnn", "rladder"])
def family(request):
    return request.param


def tiny(family=models.FoldedRNN, horizon=3, **kwargs):
    topology = [("conv", 4, 3), ("pool", 2), ("recurrent", 5, 3), ("recurrent", 6, 3)]
    return family.from_topology(topology, horizon, **kwargs)


def video(batch=2, time=4, size=(8, 12), channels=1, data_format="channels_last"):
    frames = np.random.default_rng(0).uniform(-1, 1, (batch, time, *size, channels)).astype("float32")
    return np.moveaxis(frames, -1, 2) if data_format == "channels_first" else frames


def kernel_entries(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables if len(v.shape) == 4)


def test_ladder_of_the_paper_topology_has_the_published_number_of_weights():
    model = models.LadderRNN.from_topology(models.PAPER_TOPOLOGY, horizon=10, kernel_initializer="zeros")
    model.build((None, 10, 64, 64, 1))
    assert kernel_entries(model) == 155_974_432


def test_paper_topology_has_the_published_number_of_weights():
    model = models.FoldedRNN.from_topology(models.PAPER_TOPOLOGY, horizon=10, kernel_initializer="zeros")
    model.build((None, 10, 64, 64, 1))
    kernels = kernel_entries(model)
    vectors = sum(int(np.prod(v.shape)) for v in model.trainable_variables if len(v.shape) == 1)
    # Biases: two a convolution; three gates in two directions a recurrent layer, of its output and input channels.
    channels = [128, 128, 256, 256, 512, 512, 256, 256]
    inputs = [64, *channels[:-1]]
    assert kernels == 105_691_936
    assert vectors == (32 + 1) + (64 + 32) + 3 * sum(channels) + 3 * sum(inputs) + sum(channels)
    assert model.count_params() == kernels + vectors
    depths = [14, 13, 11, 10, 8, 7, 5, 4]
    assert [len(model.truncate(depth).stack) for depth in depths] == depths


def test_minimal_topology():
    assert models.scale_topology(models.MINIMAL_TOPOLOGY, 1 / 32)[:4] == [
        *models.scale_topology(models.PAPER_TOPOLOGY, 1 / 32)[:3],
        ("minimal", 4, 5),
    ]
    model = models.FoldedRNN.from_topology(models.MINIMAL_TOPOLOGY, horizon=10)
    paper = models.FoldedRNN.from_topology(models.PAPER_TOPOLOGY, horizon=10)
    assert model.depths == paper.depths
    assert {type(model.stack[depth - 1]) for depth in model.depths} == {layers.FoldedMinConvGRU}


def test_update_bias_of_a_topology():
    topology = [("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3), ("minimal", 3, 3)]
    model = models.FoldedRNN.from_topology(topology, horizon=2, update_bias=-1, kernel_initializer="zeros")
    assert [layer.update_bias for layer in model.stack[2:]] == [-1, -1]
    twin = models.FoldedRNN.from_config(model.get_config())
    assert [layer.update_bias for layer in twin.stack[2:]] == [-1, -1]
    default = models.FoldedRNN.from_topology(topology, horizon=2)
    assert [layer.update_bias for layer in default.stack[2:]] == [0, -2]


@pytest.mark.parametrize("lowest", ["recurrent", "minimal"])
def test_an_untrained_network_whose_decoder_begins_shut_copies_the_last_frame(lowest):
    topology = [("patch", 4), (lowest, 8, 5), ("pool", 2), ("recurrent", 8, 3)]
    keras.utils.set_random_seed(0)
    model = models.FoldedRNN.from_topology(topology, horizon=5, decoder_update_bias=-5)
    twin = models.FoldedRNN.from_config(model.get_config())
    assert [layer.decoder_update_bias for layer in (twin.stack[1], twin.stack[3])] == [-5, -5]
    # Waves that move by two pixels per frame.
    places = np.arange(32) / 5
    frames = [np.sin(places[:, None] - 0.4 * t) * np.cos(places - 0.4 * t) for t in range(10)]
    context, future = np.split(np.stack(frames).astype("float32")[None, ..., None], 2, axis=1)
    error = np.square(model.forecast(context) - future).mean()
    copying = np.square(context[:, -1:] - future).mean()
    assert 0.9 < error / copying < 1.02
    far = models.FoldedRNN.from_topology(topology, horizon=5, update_bias=0.0)
    assert np.square(far.forecast(context) - context[:, -1:]).mean() > 0.1
    np.testing.assert_allclose(model.forecast(context)[:, 0], context[:, -1], atol=0.05)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_forecast_any_number_of_steps(family, steps):
    model, context = tiny(family), video()
    frames = model.forecast(context, steps)
    assert isinstance(frames, np.ndarray)
    assert frames.shape == (2, steps, 8, 12, 1)
    longest = keras.ops.convert_to_numpy(model.decode(model.encode(context), 7))
    np.testing.assert_allclose(frames, longest[:, :steps], atol=1e-6)


def test_forecast_does_not_depend_on_the_batch_size(family):
    model, context = tiny(family), video(batch=5)
    np.testing.assert_allclose(model.forecast(context, batch_size=2), model.forecast(context), atol=1e-6)


def test_forecast_follows_training(family):
    model, context = tiny(family), video()
    before = model.forecast(context, 5)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(context, video(time=3), verbose=0)
    after = model.forecast(context, 5)
    assert np.abs(after - before).max() > 1e-4
    np.testing.assert_allclose(after[:, :3], model.forecast(context), atol=1e-6)


def test_other_frame_sizes_than_it_was_built_for(family):
    model = tiny(family)
    model.build((None, 4, 8, 12, 1))
    assert model.forecast(video(size=(16, 8))).shape == (2, 3, 16, 8, 1)


def test_state_of_one_model_streams(family):
    model, frames = tiny(family), video(time=6)
    state = model.encode(frames[:, :2])
    state = model.encode(frames[:, 2:5], state)
    state = model.encode(frames[:, 5:], state)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(model.decode(state, 3)), model.forecast(frames), atol=1e-6)


def test_truncated_shares_weights_and_memory():
    model, context = tiny(), video()
    model(context)
    short = model.truncate(3)
    assert {v.path for v in short.trainable_variables} < {v.path for v in model.trainable_variables}
    before = short.forecast(context)
    kernel = model.stack[0].kernel
    kernel.assign(kernel * 2)
    assert np.abs(short.forecast(context) - before).max() > 1e-4


@pytest.mark.parametrize(
    ("policy", "data_format"),
    [
        ("float32", "channels_last"),
        ("float32", "channels_first"),
        ("mixed_bfloat16", "channels_last"),
        ("mixed_float16", "channels_first"),
    ],
    indirect=["policy"],
)
def test_fit_and_predict(family, policy, data_format):
    topology = [("conv", 4, 3), ("pool", 2), ("recurrent", 5, 3)]
    model = family.from_topology(topology, horizon=2, data_format=data_format)
    context, future = video(time=3, data_format=data_format), video(time=2, data_format=data_format)
    model.compile("adam", "mae")
    history = model.fit(context, future, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    # Only the loss scaling of float16 may hold back a first step.
    if policy != "mixed_float16":
        assert history.history["loss"][1] < history.history["loss"][0]
    frames = model.forecast(context)
    assert frames.dtype == np.float32
    assert frames.shape == future.shape
    assert all(keras.backend.standardize_dtype(v.dtype) == "float32" for v in model.trainable_variables)
    compute = {"mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}.get(policy, policy)
    assert keras.backend.standardize_dtype(model(context).dtype) == compute
    state = model.encode(context)
    assert {keras.backend.standardize_dtype(s.dtype) for s in keras.tree.flatten(state)} == {compute}


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="Torch alone has another way to convolve")
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"], indirect=True)
def test_sixteen_bits_learn_on_any_processor(policy, monkeypatch):
    # As on a processor without wide vectors.
    monkeypatch.setattr(engine, "_convolves", lambda x: "16" not in str(x.dtype))
    model = tiny(horizon=2)
    model.compile(keras.optimizers.Adam(1e-2), "mse")
    losses = model.fit(video(), video(time=2), epochs=12, verbose=0).history["loss"]
    assert losses[-1] < 0.95 * losses[0]


def test_trains_the_same_under_xla(family):
    # Keras compiles with XLA by itself where TensorFlow finds a GPU.
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX always trains under XLA, Torch never")
    losses, topology = [], [("conv", 4, 3), ("pool", 2), ("recurrent", 5, 3)]
    for jit_compile in (False, True):
        keras.utils.set_random_seed(0)
        model = family.from_topology(topology, horizon=2)
        model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=jit_compile)
        losses.append(model.fit(video(), video(time=2), epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_mixed_precision_is_close_to_full():
    context = video()
    full, half = tiny(), tiny(dtype="mixed_bfloat16")
    full(context), half(context)
    half.set_weights(full.get_weights())
    np.testing.assert_allclose(half.forecast(context), full.forecast(context), atol=0.03)


def test_every_weight_gets_a_gradient(family):
    model, context = tiny(family), video()
    model.compile(keras.optimizers.SGD(1.0), "mae")
    model(context)
    before = {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}
    model.fit(context, video(time=3), verbose=0)
    unchanged = [v.path for v in model.trainable_variables if np.array_equal(before[v.path], v)]
    assert unchanged == []


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_symbolic_shapes_equal_eager_ones(family, data_format):
    model, context = tiny(family, data_format=data_format), video(data_format=data_format)
    symbolic = model(keras.Input(context.shape[1:], batch_size=2))
    eager = model(context)
    assert tuple(symbolic.shape) == tuple(eager.shape)
    assert symbolic.dtype == keras.backend.standardize_dtype(eager.dtype)
    assert model.compute_output_shape((None, None, *context.shape[2:]))[1:] == tuple(eager.shape)[1:]


def test_inside_a_functional_model():
    inputs = keras.Input((4, 8, 12, 1))
    model = keras.Model(inputs, tiny()(inputs))
    before = model.predict(video(), verbose=0)
    assert before.shape == (2, 3, 8, 12, 1)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    model.fit(video(), video(time=3), verbose=0)
    assert np.abs(model.predict(video(), verbose=0) - before).max() > 1e-4


def test_json_config_makes_the_same_network(family):
    model = tiny(family, kernel_initializer=layers.ScaledOrthogonal(seed=1))
    twin = family.from_config(model.get_config())
    assert twin.get_config() == model.get_config()
    assert twin.horizon == 3


def test_recomputation_is_saved_and_kept_by_shorter_networks():
    model = tiny(remat=True)
    loaded = models.FoldedRNN.from_config(model.get_config())
    for network in (model, loaded, loaded.truncate(3)):
        assert network.remat


def test_keras_rematerialization_changes_nothing_but_memory():
    losses = []
    for mode in (None, "full"):
        keras.utils.set_random_seed(0)
        with keras.RematScope(mode):
            network = tiny()
            # In TensorFlow's graphs, this scope fails around Keras' own models, too.
            eager = keras.backend.backend() == "tensorflow"
            network.compile(keras.optimizers.SGD(1.0), "mse", run_eagerly=eager)
            network.train_on_batch(video(), video(time=3))
        losses.append(network.test_on_batch(video(), video(time=3)))
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)


def test_networks_that_share_layers_recompute_each_as_it_was_told(monkeypatch):
    recomputing = tiny(remat=True)
    plain = models.FoldedRNN(recomputing.stack, horizon=3)
    told = []
    iterate = ConvGRUCell.iterate
    monkeypatch.setattr(
        ConvGRUCell,
        "iterate",
        lambda *args, remat, **kwargs: told.append(remat) or iterate(*args, remat=remat, **kwargs),
    )
    for network in (recomputing, plain, recomputing.truncate(3)):
        told.clear()
        network(video())
        assert told
        assert set(told) == {network.remat}


def test_saved_here_predicts_the_same_here_and_on_another_backend(tmp_path):
    frames = np.random.default_rng(0).uniform(-1, 1, (2, 3, 16, 16, 1)).astype("float32")
    conv_lstm = models.ConvLSTMForecaster(horizon=3, filters=(3, 2), kernel_size=3)
    minimal = models.FoldedRNN.from_topology(
        [("minimal", 3, 5), ("pool", 2), ("recurrent", 4, 3), ("minimal", 2, 3)], 3
    )
    saved = {
        "minimal": (minimal, frames, minimal.forecast(frames)),
        "frnn": (golden.network("frnn"), golden.frames("frnn")[0], golden.arrays("frnn")["predictions"]),
        "rladder": (golden.network("rladder"), golden.frames("rladder")[0], golden.arrays("rladder")["predictions"]),
        "conv_lstm": (conv_lstm, frames, conv_lstm.forecast(frames)),
    }
    for name, (model, context, _) in saved.items():
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}.npy", context)
    loaded = keras.saving.load_model(tmp_path / "minimal.keras")
    np.testing.assert_allclose(loaded.forecast(frames), saved["minimal"][2], rtol=0, atol=1e-6)
    script = (
        "import keras, keras_frnn, numpy as np\n"
        f"for name in {list(saved)}:\n"
        "    model = keras.saving.load_model(f'{name}.keras')\n"
        "    np.save(f'{name}-{keras.backend.backend()}', model.forecast(np.load(f'{name}.npy')))\n"
    )
    # The next one: with all three as `KERAS_BACKEND`, each saves for another and loads from one.
    backend = BACKENDS[(BACKENDS.index(keras.backend.backend()) + 1) % len(BACKENDS)]
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    for name, (_, _, expected) in saved.items():
        frames = np.load(tmp_path / f"{name}-{backend}.npy")
        np.testing.assert_allclose(frames, expected, rtol=0, atol=1e-5)


def test_import_does_not_load_other_backends():
    # Keras 3.15 itself imports JAX under Torch.
    script = (
        "import sys, keras\n"
        "before = set(sys.modules)\n"
        "import numpy as np\n"
        "from keras_frnn import callbacks, command, datasets, evaluation, layers, losses, metrics, models, optimizers\n"
        "from keras_frnn import reference\n"
        "datasets.moving_mnist('test', 'mnist-5k', size=32, format='keras')[0]\n"
        "datasets.from_arrays(np.zeros((1, 20, 8, 8, 1), 'uint8'), format='keras')[0]\n"
        "loaded = {'tensorflow', 'jax', 'torch'} & set(sys.modules)\n"
        "unwanted = {'tensorflow'} - {keras.backend.backend()} | loaded - before\n"
        "assert not unwanted & loaded, unwanted & loaded\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_copy_last_frame(tmp_path):
    context = video()
    model = models.CopyLastFrame(horizon=3)
    assert tuple(model(context).shape) == (2, 3, 8, 12, 1)
    for frame in np.moveaxis(model.forecast(context, 5), 1, 0):
        np.testing.assert_array_equal(frame, context[:, -1])
    model.save(tmp_path / "copy.keras")
    assert keras.saving.load_model(tmp_path / "copy.keras").forecast(context).shape == (2, 3, 8, 12, 1)


class TestErrors:
    @pytest.mark.parametrize(
        ("size", "message"),
        [
            ((66, 64), r"Frame height 66 .* layer '.*pool.*' \(4 of 5\) .* of 33 by 2.* multiple of 4; .* 64 and 68"),
            ((64, 3), r"Frame width 3 .* \(2 of 5\) cannot divide a width of 3 by 2.* that work: 4\."),
        ],
    )
    def test_frames_that_pooling_cannot_divide(self, size, message):
        topology = [("conv", 2, 3), ("pool", 2), ("recurrent", 2, 3), ("pool", 2), ("recurrent", 2, 3)]
        model = models.FoldedRNN.from_topology(topology, 2)
        with pytest.raises(ValueError, match=message):
            model.build((None, 10, *size, 1))
        with pytest.raises(ValueError, match=message):
            model(video(size=size))

    @pytest.mark.parametrize(
        ("frames", "message"),
        [
            (np.zeros((4, 8, 12, 1), "float32"), r"Expected frames of shape \(batch, time, .* batch axis of 1"),
            (np.zeros((2, 4, 8, 12, 1), "uint8"), r"Received: dtype=uint8.*frames / 127.5 - 1"),
            (np.full((2, 4, 8, 12, 1), 255.0), r"values from 255 to 255"),
            (np.full((2, 4, 8, 12, 1), np.nan), r"Received: NaN"),
            (np.zeros((2, 0, 8, 12, 1), "float32"), "at least one frame"),
            (np.zeros((0, 4, 8, 12, 1), "float32"), "no sequence"),
            (np.zeros((2, 4, 8, 12, 3), "float32"), r"built for frames of 1 channel\(s\)"),
        ],
    )
    def test_frames(self, frames, message):
        model = tiny()
        model.build((None, 4, 8, 12, 1))
        with pytest.raises(ValueError, match=message):
            model.forecast(frames)

    def test_call_with_integers(self):
        with pytest.raises(ValueError, match="Received: dtype=int32"):
            tiny()(np.zeros((2, 4, 8, 12, 1), "int32"))

    @pytest.mark.parametrize("steps", [0, -1, 2.5, True, "3"])
    def test_steps(self, steps):
        with pytest.raises(ValueError, match="`steps` must be a positive integer. Received: steps="):
            tiny().forecast(video(), steps)

    def test_horizon(self):
        with pytest.raises(ValueError, match="`horizon` must be a positive integer. Received: horizon=0"):
            tiny(horizon=0)

    def test_depth(self):
        with pytest.raises(ValueError, match=r"to one of \[3, 4\] layers. Received: depth=2"):
            tiny().truncate(2)

    def test_state_of_another_network(self, family):
        model, context = tiny(family), video()
        state = model.encode(context)
        with pytest.raises(ValueError, match=r"each of its 4 layers. Received: 3 entries"):
            model.decode(state[:3])
        with pytest.raises(ValueError, match=r"each of its 4 layers. Received: 3 entries"):
            model.encode(context, state[:3])

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: [], "last layer must be a FoldedConvGRU"),
            (lambda: [layers.FoldedConvGRU(2, 3), layers.FoldedConv2D(2, 3)], "last layer must be a FoldedConvGRU"),
            (
                lambda: [keras.layers.Dense(2), layers.FoldedConvGRU(2, 3)],
                r"made of folded layers, .*a subclass of keras_frnn.layers.FoldedLayer\. Received: layers\[0\]=<Dense",
            ),
            (lambda: [layers.FoldedConvGRU(2, 3)] * 2, "A layer appears twice"),
            (
                lambda: [
                    layers.FoldedConv2D(2, 3, data_format="channels_first"),
                    layers.FoldedConvGRU(2, 3, data_format="channels_last"),
                ],
                "same `data_format`",
            ),
        ],
    )
    def test_layers(self, make, message):
        with pytest.raises(ValueError, match=message):
            models.FoldedRNN(make(), horizon=2)

    def test_layers_of_the_other_family(self):
        with pytest.raises(
            ValueError, match=r"last layer must be a BridgeLadder, .*Received: layers=\['FoldedConvGRU'"
        ):
            models.LadderRNN([layers.FoldedConvGRU(2, 3)], horizon=2)
        with pytest.raises(ValueError, match=r"layers of a LadderRNN that have a state are BridgeLadder.*layers\[0\]="):
            models.LadderRNN([layers.FoldedConvGRU(2, 3), layers.BridgeLadder(2, 3)], horizon=2)
        with pytest.raises(ValueError, match="another layer with a `rollout`.*Received: layers=.'BridgeLadder'"):
            models.FoldedRNN([layers.BridgeLadder(2, 3)], horizon=2)

    def test_a_bridge_ladder_below_a_top_layer_that_rolls_out(self):
        model, frames = models.FoldedRNN([layers.BridgeLadder(3, 3), layers.FoldedConvGRU(2, 3)], horizon=2), video()
        assert model.depths == [2]
        state = model.encode(frames[:, 3:], model.encode(frames[:, :3]))
        np.testing.assert_allclose(keras.ops.convert_to_numpy(model.decode(state)), model.forecast(frames), atol=1e-6)

    def test_layer_used_on_its_own_before(self):
        layer = layers.FoldedConvGRU(2, 3)
        layer(video())
        with pytest.raises(ValueError, match="was called on its own before"):
            models.FoldedRNN([layer], horizon=2)

    def test_minimal_updates_in_a_ladder(self):
        with pytest.raises(ValueError, match=r"are for a FoldedRNN.* Received: entry 0 = \('minimal', 3, 3\)"):
            models.LadderRNN.from_topology([("minimal", 3, 3), ("recurrent", 3, 3)], horizon=2)

    @pytest.mark.parametrize("entry", [("minimal", 3), ("convolution", 3, 3), ("pool",), "conv", (), ("conv", 3)])
    def test_topology(self, entry):
        with pytest.raises(ValueError, match="Received: entry 1 = "):
            models.FoldedRNN.from_topology([("conv", 3, 3), entry, ("recurrent", 3, 3)], horizon=2)


def test_streaming_is_compiled_and_stays_the_same():
    model, frames = tiny(), video(time=4)
    state, states = None, []
    for t in range(4):  # Compiled from the second frame on a state on.
        state = model.encode(frames[:, t : t + 1], state)
        states.append(state)
        predicted = keras.ops.convert_to_numpy(model.decode(state, 3))
        np.testing.assert_allclose(predicted, model.forecast(frames[:, : t + 1]), rtol=0, atol=2e-6)
    model.set_weights([1.5 * weight for weight in model.get_weights()])
    changed = model.decode(model.encode(frames[:, :1]), 3)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(changed), model.forecast(frames[:, :1]), rtol=0, atol=2e-6)
    assert (
        np.abs(keras.ops.convert_to_numpy(model.decode(states[0], 3)) - keras.ops.convert_to_numpy(changed)).max()
        > 1e-3
    )


def test_training_is_traced_once_by_tensorflow(monkeypatch):
    model = tiny()
    model.build((None, 4, 8, 12, 1))
    model.compile("rmsprop", "mae")
    model.make_train_function()
    assert model.optimizer.built  # What makes TensorFlow trace twice.
    traces = []
    monkeypatch.setattr(model, "predict_frames", lambda *args, f=model.predict_frames: traces.append(1) or f(*args))
    model.train_on_batch(video(), video(time=3))
    assert len(traces) == 1 or keras.backend.backend() != "tensorflow"


def test_a_long_video_is_encoded_in_parts():
    model, frames = tiny(), video(time=37)
    parts = model.encode(frames)
    whole = model.encode(keras.ops.convert_to_tensor(frames))
    for ours, expected in zip(keras.tree.flatten(parts), keras.tree.flatten(whole), strict=True):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(expected), rtol=0, atol=2e-6
        )
