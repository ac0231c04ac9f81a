"""What holds for every model however it is called: new weights, other sizes, threads, cameras, wrong frames."""

import gc
import pathlib
import re
import subprocess
import sys
import threading
import weakref

import keras
import numpy as np
import pytest

from keras_frnn import backend, evaluation, layers, models
from keras_frnn.backend.common import unrolls_short_loops

FAMILIES = {
    "frnn": lambda **kwargs: models.FoldedRNN.from_topology(
        [("conv", 3, 3), ("pool", 2), ("recurrent", 4, 3)], **kwargs
    ),
    "rladder": lambda **kwargs: models.LadderRNN.from_topology(
        [("conv", 3, 3), ("pool", 2), ("recurrent", 4, 3)], **kwargs
    ),
    "conv_lstm": lambda **kwargs: models.ConvLSTMForecaster(filters=(3,), kernel_size=3, patch_size=2, **kwargs),
}


def make(family="frnn", horizon=3):
    return FAMILIES[family](horizon=horizon)


def video(batch=2, time=4, size=(8, 12), channels=1):
    return np.random.default_rng(0).uniform(-1, 1, (batch, time, *size, channels)).astype("float32")


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def memory_bytes() -> int:
    status = pathlib.Path("/proc/self/status")
    if not status.exists():
        pytest.skip("this system does not tell what memory a process holds now")
    return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmRSS"))


@pytest.fixture(params=["frnn", "rladder"])
def network(request):
    return make(request.param)


class TestCompiled:
    def test_follows_weights_of_any_kind(self, network):
        frames = video()
        for _ in range(2):  # The second time it is compiled.
            first = to_numpy(network.decode(network.encode(frames)))
        values = [variable.value for variable in network.variables]
        others = [value * 1.5 + 0.1 for value in values]

        def predict(weights):
            with keras.StatelessScope(list(zip(network.variables, weights, strict=True))):
                return to_numpy(network.decode(network.encode(frames)))

        scaled = predict(others)
        assert np.abs(scaled - first).max() > 1e-3
        np.testing.assert_array_equal(predict(values), first)
        network.set_weights([to_numpy(value) for value in others])
        np.testing.assert_array_equal(to_numpy(network.decode(network.encode(frames))), scaled)
        np.testing.assert_allclose(network.forecast(frames), scaled, rtol=0, atol=1e-6)

    def test_runs_eagerly_when_told_to(self, monkeypatch):
        model, frames = make(), video()
        for _ in range(2):
            model.encode(frames)
        model.compile("sgd", "mse", run_eagerly=True)
        calls = []
        monkeypatch.setattr(model, "_encode", lambda *args, f=model._encode: calls.append(1) or f(*args))
        for _ in range(3):
            model.encode(frames)
        assert len(calls) == 3

    def test_keeps_a_few_horizons(self, monkeypatch):
        model, frames = make(), video()
        kept = []
        compile_ = model._compiled_calls._compile

        def compiled(function, static):
            kept.append(weakref.ref(result := compile_(function, static)))
            return result

        monkeypatch.setattr(model._compiled_calls, "_compile", compiled)
        monkeypatch.setattr("keras_frnn.backend.compilation._KEPT", 2)
        for steps in (1, 2, 1, 3, 1, 4):
            assert model.forecast(frames, steps).shape[1] == steps
        gc.collect()
        is_torch = keras.backend.backend() == "torch"
        assert len(model._compiled_calls) == (0 if is_torch else 2)
        assert len(kept) == (0 if is_torch else 4)  # What is used stays.
        assert sum(reference() is not None for reference in kept) == (0 if is_torch else 2)

    def test_written_out_loops_are_another_function(self):
        model, seen = make(), []
        model.forecast(video())
        calls = backend.CompiledCalls(model)

        def function(frames):
            seen.append(unrolls_short_loops())
            return frames

        for _ in range(2):
            calls(function, keras.ops.ones(3), compile_now=True)
            with backend.unroll_short_loops():
                calls(function, keras.ops.ones(3), compile_now=True)
        assert seen == [False, True] * (2 if keras.backend.backend() == "torch" else 1)

    def test_training_does_not_cross_the_streaming_code(self, network, monkeypatch):
        for name in ("encode", "decode", "_compiled_calls"):
            monkeypatch.setattr(network, name, None)
        network.compile("sgd", "mse")
        network.fit(video(), video(time=3), verbose=0)

    @pytest.mark.once
    def test_other_frames_and_horizons_warn_of_nothing(self):
        # TensorFlow warns, twice in a process, of functions that are traced again and again.
        script = (
            "import numpy as np\n"
            "from keras_frnn import models\n"
            "model = models.FoldedRNN.from_topology([('recurrent', 2, 3)], horizon=2)\n"
            "for steps in range(1, 8):\n"
            "    model.forecast(np.zeros((1, 2, 4 + steps, 4, 1)), steps)\n"
            "model.compile('sgd', 'mse')\n"
            "model.fit(np.zeros((1, 2, 4, 4, 1)), np.zeros((1, 2, 4, 4, 1)), verbose=0)\n"
        )
        result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert "retracing" not in result.stderr


class TestStreaming:
    def test_memory_is_flat(self):
        model, frame = make(), video(batch=1, time=1, size=(16, 16))
        state = None
        for index in range(2000):
            state = model.encode(frame, state)
            if index == 500:
                before = memory_bytes()
        assert memory_bytes() - before < 12e6  # What Torch kept for a gradient is several times that.
        assert np.asarray(to_numpy(model.decode(state))).shape == (1, 3, 16, 16, 1)

    def test_records_a_gradient_only_when_told_to(self, network):
        frames = video()
        if keras.backend.backend() != "torch":
            pytest.skip("TensorFlow and JAX record nothing unless they are told to")
        state = network.encode(frames)
        assert not any(tensor.requires_grad for tensor in keras.tree.flatten(state))
        assert np.asarray(network.decode(state)).shape == np.asarray(network(frames)).shape
        state = network.encode(frames, training=True)
        assert network.decode(state, training=True).requires_grad
        assert network(frames, training=True).requires_grad
        # The context's own gradient needs no telling.
        context = keras.ops.convert_to_tensor(frames).requires_grad_()
        network.decode(network.encode(context)).sum().backward()
        assert float(context.grad.abs().max()) > 0

    def test_states_are_checked(self, network):
        frames = video()
        state = network.encode(frames)
        small = network.encode(video(size=(4, 12)))
        with pytest.raises(ValueError, match=r"does not fit frames of shape \(2, 4, 8, 12, 1\).*Received: .*2, 6"):
            network.encode(frames, small)
        with pytest.raises(ValueError, match="does not fit frames of shape"):
            network.encode(frames, network.encode(video(batch=1)))
        mixed = (*state[:-1], tuple(part[:1] for part in state[-1][:1]) + tuple(state[-1][1:]))
        with pytest.raises(ValueError, match="does not fit"):
            network.decode(mixed)
        with pytest.raises(ValueError, match="does not fit"):
            network.decode(((),) * len(state))
        with pytest.raises(ValueError, match="each of its 3 layers. Received: <class 'NoneType'>"):
            network.decode(None)
        arrays = [[to_numpy(tensor) for tensor in part] for part in state]
        np.testing.assert_allclose(to_numpy(network.decode(arrays)), to_numpy(network.decode(state)), rtol=0, atol=1e-6)

    def test_decode_before_build(self, network):
        other = network.encode(video())
        with pytest.raises(ValueError, match="no weights yet"):
            make().decode(other)


class TestFrames:
    @pytest.mark.parametrize("family", FAMILIES)
    def test_sizes_are_checked_each_time(self, family):
        model = make(family)
        for _ in range(2):
            with pytest.raises(ValueError, match="15"):
                model.forecast(video(size=(15, 16)))
        assert model.forecast(video(size=(16, 16))).shape == (2, 3, 16, 16, 1)
        with pytest.raises(ValueError, match="15"):
            model.forecast(video(size=(15, 16)))
        with pytest.raises(ValueError, match=r"built for frames of 1 channel\(s\)"):
            model.forecast(video(channels=2, size=(16, 16)))
        with pytest.raises(ValueError, match="15"):
            model.predict(video(size=(15, 16)), verbose=0)

    @pytest.mark.parametrize(
        ("frames", "message"),
        [
            (["a", "b"], "array of floating-point frames. Received: dtype=<U1"),
            (None, "array of floating-point frames. Received: dtype=object"),
            ([[0.0], [0.0, 1.0]], "all of one size"),
            (np.zeros((1, 2, 0, 4, 1), "float32"), "one pixel or more"),
            (np.zeros((0, 2, 4, 4, 1), "float32"), "batch is empty"),
        ],
    )
    def test_no_frames(self, frames, message):
        with pytest.raises(ValueError, match=message):
            make().forecast(frames)
        if frames is not None and not isinstance(frames, list):
            with pytest.raises(ValueError, match=message):
                make()(frames)

    def test_a_tensor_with_nan(self):
        frames = video()
        frames[0, -1, 3, 3] = np.nan
        with pytest.raises(ValueError, match="Received: NaN"):
            make().forecast(keras.ops.convert_to_tensor(frames))

    def test_weights_that_are_not_finite(self, network):
        network.forecast(video())
        network.stack[0].kernel.assign(network.stack[0].kernel * np.nan)
        with pytest.raises(FloatingPointError, match=r"NaN or infinite. So have its weights: .*kernel"):
            network.forecast(video())


class TestFit:
    @pytest.mark.parametrize(
        ("context", "future", "message"),
        [
            (
                video()[..., 0],
                video(time=3)[..., 0],
                r"Expected frames of shape \(batch, time,.*Received: shape=\(2, 4,",
            ),
            (video() * 127 + 128, video(time=3), r"Expected frames with values in \[-1, 1\]"),
            (video(), video(time=3) * 127 + 128, r"Expected frames with values in \[-1, 1\]"),
            ((video() * 127).astype("uint8"), video(time=3), "Received: dtype=uint8"),
            (video(), video(time=1), r"shape of the predicted ones, \(2, 3, 8, 12, 1\).*Received.*\(2, 1, 8, 12, 1\)"),
            (video(), video(time=4), "whose second axis is the model's horizon"),
            (video(size=(7, 12)), video(time=3, size=(7, 12)), "Frame height 7 does not fit"),
        ],
    )
    def test_wrong_frames(self, context, future, message):
        model = make()
        model.compile("sgd", "mse")
        calls = [
            lambda: model.fit(context, future, verbose=0),
            lambda: model.fit(video(), video(time=3), validation_data=(context, future), verbose=0),
            lambda: model.fit(((c, f) for c, f in [(context, future)]), verbose=0),
            lambda: model.evaluate(context, future, verbose=0),
            lambda: model.train_on_batch(context, future),
            lambda: model.test_on_batch(context, future),
        ]
        for call in calls:
            with pytest.raises(ValueError, match=message):
                call()

    def test_frames_that_are_missing(self):
        model = make()
        model.compile("sgd", "mse")
        for call in (model, model.fit, model.evaluate, model.predict):
            for frames, found in ((None, "None"), ("clip.mp4", "'clip.mp4'"), (np.full((1, 2, 4, 4, 1), "a"), "<U1")):
                with pytest.raises(ValueError, match=f"an array or a tensor of frames. Received: .*={found}"):
                    call(frames)

    def test_class_weight(self):
        model = make()
        model.compile("sgd", "mse")
        for call in (model.fit, model.train_on_batch):
            with pytest.raises(ValueError, match="`class_weight` is for the labels of classifiers.*`sample_weight`"):
                call(video(), video(time=3), class_weight={0: 1.0, 1: 2.0})

    def test_frames_from_0_to_1(self, recwarn):
        frames = video(), video(time=3)
        dark, bright = [(part + 1) / 2 for part in frames], [(part + 2) / 3 for part in frames]
        for fit in (lambda model, x, y: model.fit(x, y, verbose=0), lambda model, x, y: model.train_on_batch(x, y)):
            model = make()
            model.compile("sgd", "mse")
            for pair in (frames, bright, [part * 0 for part in frames]):
                fit(model, *pair)
            assert not [warning for warning in recwarn if "are in" in str(warning.message)]
            model = make()
            model.compile("sgd", "mse")
            with pytest.warns(UserWarning, match=r"first frames are in \[0, 1\].*black is -1: pass `2 \* frames - 1`"):
                fit(model, *dark)
            fit(model, *dark)  # Once is enough: warnings are errors here.

    def test_datasets(self, recwarn):
        tf = pytest.importorskip("tensorflow")
        model = make()
        model.compile("sgd", "mse")
        pairs = video(batch=4), video(batch=4, time=3)
        data = tf.data.Dataset.from_tensor_slices(pairs).batch(2)
        history = model.fit(data, validation_data=data, verbose=0).history
        assert set(history) == {"loss", "val_loss"}
        assert not [str(warning.message) for warning in recwarn if "shuffle" in str(warning.message)]
        with pytest.raises(ValueError, match="values from"):
            model.fit(data.map(lambda c, f: (c * 200, f)), verbose=0)
        with pytest.raises(ValueError, match=r"Received: shape=\(None, 4, 8, 12\)|Received: shape=\(2, 4, 8, 12\)"):
            model.fit(data.map(lambda c, f: (c[..., 0], f)), verbose=0)
        with pytest.raises(ValueError, match="has no batch"):
            model.fit(data.take(0), verbose=0)
        shapeless = tf.data.Dataset.from_generator(lambda: iter([pairs]), output_types=("float32", "float32"))
        with pytest.raises(ValueError, match="rank of the frames is not known"):
            model.fit(shapeless, verbose=0)

    def test_datasets_of_keras(self, monkeypatch):
        class Batches(keras.utils.PyDataset):
            def __len__(self):
                return 2

            def __getitem__(self, number):
                return video(size=(16, 16)), video(time=3, size=(16, 16))

        monkeypatch.delattr(keras.utils.PyDataset, "__iter__", raising=False)  # As in Keras 3.5.
        model, data = make(), Batches()
        model.compile("sgd", "mse")
        model.fit(data, validation_data=data, verbose=0)
        assert int(model.optimizer.iterations) == 2
        loss = model.evaluate(data, verbose=0)
        assert model.predict(data, verbose=0).shape == (4, 3, 16, 16, 1)
        scores = evaluation.evaluate(model, data)
        assert scores.sequences == 4
        np.testing.assert_allclose(scores.values["model"]["mse"].mean(), loss / 4, rtol=1e-5)  # Of frames in [0, 1].

    def test_generators_lose_no_batch(self):
        model, seen = make(), []

        def batches():
            for index in range(3):
                seen.append(index)
                yield video(), video(time=3)

        model.compile("sgd", "mse")
        model.fit(batches(), steps_per_epoch=3, verbose=0)
        assert seen == [0, 1, 2]
        assert int(model.optimizer.iterations) == 3

    def test_the_first_batch_alone_is_looked_at(self):
        model = make()
        model.compile("sgd", "mse")
        model.train_on_batch(video(), video(time=3))
        model.train_on_batch(video() * 2, video(time=3))  # At no cost to later steps.
        with pytest.raises(ValueError, match="horizon"):
            model.train_on_batch(video(), video(time=2))


class TestThreads:
    @pytest.mark.parametrize("call", ["forecast", "__call__"])
    def test_four_at_once(self, call):
        model, frames = make(), video()
        results, errors = [], []
        barrier = threading.Barrier(4)

        def run():
            try:
                barrier.wait()
                results.append(np.asarray(to_numpy(getattr(model, call)(frames))))
            except Exception as error:
                errors.append(error)

        for _ in range(2):  # Cold and warm.
            threads = [threading.Thread(target=run) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert errors == []
        assert len(results) == 8
        for result in results:
            np.testing.assert_allclose(result, results[0], rtol=0, atol=1e-6)


class TestKeras:
    def test_summary(self):
        model, lines = make(horizon=5), []
        model.forecast(video(size=(16, 16)))
        model.summary(print_fn=lambda line, **_: lines.append(re.sub("\x1b\\[.*?m", "", line)))
        text = "\n".join(lines)
        assert text.count("(None, 4,") == 3
        assert "(None, 4, 8, 8, 4)" in text
        assert "Output of the model: (None, 5, 16, 16, 1)" in text
        # Every row has its weights, and together they are those of the model.
        counts = [layer.count_params() for layer in model.stack]
        assert [int(count.replace(",", "")) for count in re.findall(r"\(None, 4,.*│ +([\d,]+) │", text)] == counts
        assert f"Total params: {sum(counts):,}" in text
        assert "unbuilt" not in text

    def test_summary_of_a_model_without_weights(self):
        with pytest.raises(ValueError, match="makes its weights for the number of channels of its first frames"):
            make().summary()

    def test_diagram(self, network):
        with pytest.raises(ValueError, match="no shapes yet"):
            network.diagram()
        network.forecast(video())
        boxes = {layer.name: layer for layer in network.diagram().layers}
        names = [layer.name for layer in network.stack]
        assert list(boxes) == [
            "context",
            *[f"{name}_encode" for name in names],
            *[f"{name}_decode" for name in reversed(names)],
        ]
        for layer, shape in zip(network.stack, [(4, 8, 12, 3), (4, 4, 6, 3), (4, 4, 6, 4)], strict=True):
            assert boxes[f"{layer.name}_encode"].output.shape == (None, *shape)
        assert boxes[f"{names[0]}_decode"].output.shape == (None, 3, 8, 12, 1)
        with pytest.raises(NotImplementedError, match="is a drawing"):
            network.diagram()(keras.ops.convert_to_tensor(video()))
        pytest.importorskip("pydot")
        dot = keras.utils.model_to_dot(network.diagram(), show_shapes=True)
        assert len(dot.get_edges()) == 6  # Three up, one at the top, two down.
        text = dot.to_string()
        assert "FoldedMaxPooling2D, decode" in text
        assert "(None, 3, 8, 12, 1)" in text

    @pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
    def test_hdf5(self, suffix, tmp_path):
        model = make()
        model.forecast(video())
        with pytest.raises(ValueError, match="loads no FoldedRNN from an HDF5 file: name it .keras"):
            model.save(tmp_path / f"model{suffix}")
        model.save_weights(tmp_path / "model.weights.h5")
        other = make()
        other.build((None, 4, 8, 12, 1))
        other.load_weights(tmp_path / "model.weights.h5")
        np.testing.assert_array_equal(other.forecast(video()), model.forecast(video()))

    def test_arguments_of_other_layers(self):
        for name in ("strides", "dropout", "kernel_regularizer", "activation", "padding"):
            with pytest.raises(ValueError, match=f"FoldedRNN has no `{name}`: .*Received: {name}=1"):
                models.FoldedRNN.from_topology([("recurrent", 4, 3)], 2, **{name: 1})
        with pytest.raises(ValueError, match="`dtype` must be floating.*Received: dtype='uint8'"):
            models.CopyLastFrame(2, dtype="uint8")
        layer = layers.FoldedConvGRU(4, 3, activity_regularizer="l2")
        with pytest.raises(
            ValueError, match="has an `activity_regularizer`, which is for layers that are used on thei"
        ):
            models.FoldedRNN([layer], 2)

    def test_quantize(self):
        model = make()
        model.forecast(video())
        with pytest.raises(NotImplementedError, match="A FoldedRNN cannot be quantized"):
            model.quantize("int8")


def test_frames_of_a_size_that_was_not_known_when_it_was_compiled():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("JAX and Torch know all sizes when they run")
    predict = tf.function(make(), input_signature=[tf.TensorSpec((None, None, None, None, 1))])
    assert predict(video(size=(16, 8))).shape == (2, 3, 16, 8, 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be multiples of"):
        predict(video(size=(15, 8)))
