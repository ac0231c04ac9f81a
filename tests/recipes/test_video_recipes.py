"""From video files to a trained network with two commands each, on networks that train in seconds."""

import dataclasses
import shutil

import experiment
import keras
import kth_frnn
import kth_rladder
import numpy as np
import prepare_kth
import prepare_ucf101
import prepare_videos
import pytest
import ucf101_frnn
import ucf101_rladder
import videos_frnn
from absl import flags
from clips import real_clips, write_clip, write_kth, write_ucf101

from keras_frnn import datasets, models

TRAINING = [kth_frnn, kth_rladder, ucf101_frnn, ucf101_rladder, videos_frnn]


@pytest.fixture(autouse=True)
def tiny(monkeypatch, tmp_path):
    preset = dataclasses.replace(
        experiment.PRESETS["quick"],
        topology=(("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3)),
        steps=4,
        steps_per_epoch=2,
    )
    monkeypatch.setitem(experiment.PRESETS, "quick", preset)
    monkeypatch.setitem(experiment.VIDEO_TEST_SEQUENCES, "quick", 3)
    monkeypatch.setattr(experiment, "_draw", lambda *args: None)  # In test_recipes.py.
    monkeypatch.chdir(tmp_path)


def _reset_flags():
    for name in flags.FLAGS:
        if flags.FLAGS[name].present:
            flags.FLAGS[name].unparse()


def run(recipe, *arguments):
    _reset_flags()
    recipe.main(flags.FLAGS([f"recipes/{recipe.__name__}.py", *map(str, arguments)]))


def test_kth(tmp_path, capsys, caplog):
    write_kth("videos")
    run(prepare_kth, "videos", "data/kth")
    run(kth_frnn)
    run(kth_rladder)
    printed = capsys.readouterr().out
    assert "Written to data/kth: test.hdf5, train.hdf5" in printed
    assert "KTH, protocol 'paper' (8 of the dataset's 599 videos)" in caplog.text
    assert ": 3 of " in caplog.text
    assert "RLadder" in printed
    for name in ("kth_frnn", "kth_rladder"):
        model = keras.saving.load_model(f"runs/{name}-quick/model.keras", compile=False)
        assert model.forecast(np.zeros((1, 3, 64, 80, 1)), 2).shape == (1, 2, 64, 80, 1)
    for name in ("model.keras", "scores.csv", "results.json"):
        assert (tmp_path / "runs" / "kth_frnn-quick" / name).exists()


def test_ucf101(caplog):
    write_ucf101("videos")
    run(prepare_ucf101, "videos", "data/ucf101")
    run(ucf101_frnn)
    assert "UCF101, protocol 'paper' (8 of the dataset's 13,320 videos)" in caplog.text
    model = keras.saving.load_model("runs/ucf101_frnn-quick/model.keras", compile=False)
    assert model.forecast(np.zeros((1, 3, 64, 80, 3)), 2).shape == (1, 2, 64, 80, 3)
    with pytest.raises(ValueError, match="was prepared for protocol='paper'. Received: protocol='official-1'"):
        datasets.ucf101("data/ucf101", "train", protocol="official-1")


def test_real_videos(tmp_path):
    (tmp_path / "mine").mkdir()
    for path in real_clips():
        shutil.copy(path, tmp_path / "mine")
    run(prepare_videos, "mine", "data/video_folder", "--size=32x48")
    run(videos_frnn)
    with pytest.raises(SystemExit, match="holds a run with other settings. Expected: .*'mirror': True"):
        run(videos_frnn, "--mirror")
    model = keras.saving.load_model("runs/videos_frnn-quick/model.keras", compile=False)
    assert isinstance(model, models.FoldedRNN)
    context, future = next(iter(datasets.video_folder("data/video_folder", "test", batch_size=2)))
    predicted = model.forecast(keras.ops.convert_to_numpy(context), 10)
    assert predicted.shape == tuple(future.shape) == (2, 10, 32, 48, 3)
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize("recipe", TRAINING)
def test_without_data_the_next_steps_are_said(recipe):
    dataset = recipe.__name__.split("_")[0]
    command = f"python recipes/prepare_{dataset}.py "
    with pytest.raises(SystemExit) as error:
        run(recipe)
    message = str(error.value)
    assert f"There is no file data/{'video_folder' if dataset == 'videos' else dataset}" in message
    assert command in message
    assert f"python recipes/{recipe.__name__}.py" in message
    assert ("https://" in message) == (dataset != "videos")
    assert recipe.BATCH_SIZE["paper"] == (6 if "rladder" in recipe.__name__ else 12)


def test_preparing_ends_with_an_error_for_bad_files(capsys):
    write_clip("videos/person01_boxing_d1.avi", frames=21)
    write_clip("videos/nobody.avi")
    with pytest.raises(SystemExit, match="1 of 2 videos are bad.*\n  nobody.avi: is not named as KTH's") as error:
        run(prepare_kth, "videos", "data/kth")
    assert error.value.code not in (None, 0)
    run(prepare_kth, "videos", "data/kth", "--accept_bad_videos")
    assert "accepted: nobody.avi: is not named as KTH's" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="must be a folder of videos.*does not exist"):
        run(prepare_kth, "vidoes", "data/kth")
    with pytest.raises(SystemExit, match="Usage: python recipes/prepare_kth.py SOURCE OUTPUT. Received: videos"):
        run(prepare_kth, "videos")
    with pytest.raises(SystemExit, match="test.hdf5 holds no video"):
        run(kth_frnn)


def test_what_would_be_ignored_is_refused():
    with pytest.raises(SystemExit, match="recipes/kth_frnn.py does not know quick"):
        run(kth_frnn, "quick")
    with pytest.raises(SystemExit, match="recipes/kth_frnn.py does not know --test_array=a.npy"):
        run(kth_frnn, "--test_array=a.npy")


@pytest.mark.parametrize("name", experiment.PRESETS)
def test_presets_fit_the_frames(name):
    for shape in ((64, 80, 1), (64, 80, 3)):
        model = models.FoldedRNN.from_topology(
            experiment.PRESETS[name].topology, horizon=10, kernel_initializer="zeros"
        )
        assert model.compute_output_shape((None, 10, *shape)) == (None, 10, *shape)
