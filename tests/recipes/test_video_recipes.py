"""From video files to a trained network with two commands each, on networks that train in seconds."""

import json
import re
import shutil

import keras
import kth_frnn
import kth_rladder
import mmnist_frnn
import mmnist_rladder
import numpy as np
import pytest
import ucf101_frnn
import ucf101_rladder
import videos_frnn
from clips import real_clips, write_clip, write_kth, write_ucf101

import keras_frnn_command
from keras_frnn import models
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import flat

pytestmark = pytest.mark.once  # tests/experiments tests the engine on all backends.

VIDEOS = [kth_frnn, kth_rladder, ucf101_frnn, ucf101_rladder, videos_frnn]
RECIPES = [mmnist_frnn, mmnist_rladder, *VIDEOS]
FIRST_STEPS = {kth_rladder: kth_frnn.FIRST_STEPS, ucf101_rladder: ucf101_frnn.FIRST_STEPS} | {
    recipe: recipe.FIRST_STEPS for recipe in (kth_frnn, ucf101_frnn, videos_frnn)
}
TINY = [
    "--topology=(('conv',2,3),('pool',2),('recurrent',3,3))",
    "--context=2",
    "--horizon=2",
    "--iterations=3",
    "--checkpoint_every=2",
    "--test_sequences=3",
    "--samples=1",
]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


def prepare(*arguments, code=0):
    assert keras_frnn_command.main(["prepare", *arguments]) == code


def presets(recipe):
    return dict(paper=recipe.PAPER, small=recipe.SMALL, quick=recipe.QUICK)


def run(recipe, *argv):
    first_steps = FIRST_STEPS.get(recipe, "")
    main(f"recipes/{recipe.__name__}.py", first_steps=first_steps, argv=[*TINY, *argv], **presets(recipe))


def forecast(path, shape):
    return keras.saving.load_model(path, compile=False).forecast(np.zeros((1, 3, *shape)), 2).shape


def test_kth(tmp_path, capsys, caplog):
    write_kth("videos")
    prepare("videos", "--dataset=kth", "--output=data/kth")
    run(kth_frnn, "train", "evaluate", "predict", "--count=1")
    run(kth_rladder, "train", "evaluate")
    printed = capsys.readouterr().out
    assert "Written to data/kth: test.hdf5, train.hdf5" in printed
    assert "KTH, protocol 'paper', but context=2, but horizon=2 (8 of the dataset's 599 videos)" in caplog.text
    assert ": 3 of " in caplog.text
    results = json.loads((tmp_path / "runs" / "kth_rladder-quick" / "results.json").read_text())
    assert set(results["scores"]["values"]) == {"RLadder", "fRNN", "copy_last_frame", "optical_flow"}
    assert "(published)" not in printed  # These are not the dataset's videos.
    assert results["settings"]["data"]["test"]["videos"] == 4
    assert results["settings"]["data"]["test"]["format"]["protocol"] == "paper"
    for name in ("kth_frnn", "kth_rladder"):
        assert forecast(f"runs/{name}-quick/model.keras", (64, 80, 1)) == (1, 2, 64, 80, 1)
    assert np.load("runs/kth_frnn-quick/predictions/sequence-00000.npy").shape == (2, 64, 80, 1)


def test_ucf101_with_other_data(tmp_path, caplog, capsys):
    write_ucf101("videos")
    prepare("videos", "--dataset=ucf101", "--output=data/ucf101")
    run(ucf101_frnn, "train")
    assert "UCF101, protocol 'paper', but context=2, but horizon=2 (8 of the dataset's 13,320 videos)" in caplog.text
    assert forecast("runs/ucf101_frnn-quick/model.keras", (64, 80, 3)) == (1, 2, 64, 80, 3)
    for side, groups in (("train", (1,)), ("test", (2,))):
        clips = [
            f"A/v_{a}_g{g:02d}_c{c:02d}.avi"
            for a in ("ApplyEyeMakeup", "HandstandPushups")
            for g in groups
            for c in (1, 2)
        ]
        (tmp_path / f"{side}list01.txt").write_text("\n".join(clips))
    arguments = ["videos", "--dataset=ucf101", "--output=data/official", "--protocol=official-1"]
    prepare(*arguments, "--lists=videos", code=1)
    assert "There is no trainlist01.txt in videos" in (error := capsys.readouterr().err)
    assert "or pass their folder as --lists." in error
    prepare(*arguments)
    for argv in (("evaluate",), ()):
        with pytest.raises(SystemExit, match="prepared for protocol='official-1'. Received: protocol='paper'"):
            run(ucf101_frnn, *argv, "--data=data/official")
        with pytest.raises(SystemExit, match="protocol: 'paper' in the folder, 'official-1' now"):
            run(ucf101_frnn, *argv, "--data=data/official", "--protocol=official-1")
    # Moved data are the same data.
    shutil.move("data/ucf101", "data/moved")
    run(ucf101_frnn, "train", "--data=data/moved")


def test_real_videos(tmp_path):
    (tmp_path / "mine").mkdir()
    for path in real_clips():
        shutil.copy(path, tmp_path / "mine")
    prepare("mine", "--output=data/video_folder", "--size=32x48")
    run(videos_frnn, "train")
    with pytest.raises(SystemExit, match="mirror: False in the folder, True now"):
        run(videos_frnn, "--mirror")
    prepare("mine", "--output=data/other", "--size=32x48", "--test-fraction=0.7")
    with pytest.raises(SystemExit, match=r"data.train.digest: '\w+' in the folder, '\w+' now"):
        run(videos_frnn, "evaluate", "--data=data/other")
    assert forecast("runs/videos_frnn-quick/model.keras", (32, 48, 3)) == (1, 2, 32, 48, 3)


@pytest.mark.parametrize("recipe", VIDEOS)
def test_without_data_the_next_steps_are_said(recipe, tmp_path):
    with pytest.raises(SystemExit) as error:
        run(recipe)
    dataset = recipe.__name__.split("_")[0]
    message = str(error.value)
    assert f"There is no file {recipe.PAPER.source.data}" in message
    which = "" if dataset == "videos" else f"--dataset={dataset} "
    assert f"keras-frnn prepare {which}" in message
    assert f" --output={recipe.PAPER.source.data}" in message
    assert ("https://" in message) == (dataset != "videos")
    assert not list(tmp_path.rglob("settings.json"))


def test_preparing_ends_with_an_error_for_bad_files(capsys):
    write_clip("videos/person01_boxing_d1.avi", frames=21)
    write_clip("videos/nobody.avi")
    arguments = ["--dataset=kth", "--output=data/kth"]
    prepare("videos", *arguments, code=1)
    assert re.search("1 of 2 videos is bad.*\n  nobody.avi: is not named like KTH's", capsys.readouterr().err)
    prepare("videos", *arguments, "--accept-bad-videos")
    assert "accepted: nobody.avi: is not named like KTH's" in capsys.readouterr().out
    prepare("vidoes", *arguments, code=1)
    assert "Expected a folder of videos. Received: 'vidoes', which does not exist" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="test.hdf5 holds no video"):
        run(kth_frnn)


@pytest.mark.parametrize("recipe", RECIPES)
def test_paper_preset_is_the_published_protocol(recipe):
    ladder = "rladder" in recipe.__name__
    paper = flat(recipe.PAPER)
    dataset = paper["dataset"]
    expected = dict(
        title="RLadder" if ladder else "fRNN",
        model="LadderRNN" if ladder else "FoldedRNN",
        topology=models.PAPER_TOPOLOGY,
        kernel_initializer="ScaledOrthogonal",
        update_bias=None if ladder else 0.0,
        decoder_update_bias=None,
        remat=False,
        precision="float32",
        loss="mae",
        dssim=0.0,
        optimizer="TF1RMSprop",
        learning_rate=1e-4,
        decay=None,
        cooldown=1.0,
        warm_up=None,
        clipnorm=None,
        global_clipnorm=None,
        ema=None,
        iterations=500_000,
        batch_size=6 if ladder else 12,
        initial_weights=None,
        freeze=None,
        validation=None,
        workers=None,
        checkpoint_every=100,
        context=10,
        horizon=10,
        test_sequences=None,
        published=None if dataset == "video_folder" else dataset,
        phases=(),
    )
    expected |= {
        "moving_mnist": dict(digits="mnist", num_digits=2, turns=(), size=64, speed=0.1),
        "kth": dict(protocol="paper", frame_step=1, crop=None, mirror=True),
        "ucf101": dict(protocol="paper", frame_step=2, crop=(64, 80), mirror=True),
        "video_folder": dict(frame_step=1, crop=None, mirror=False),
    }[dataset]
    of_the_place = {"dataset", "data", "test_array", "device", "devices", "seed", "samples"}
    assert {name: value for name, value in paper.items() if name not in of_the_place} == expected


@pytest.mark.parametrize("recipe", RECIPES)
def test_presets_fit_their_frames(recipe):
    for experiment in presets(recipe).values():
        source, network = experiment.source, experiment.network
        side = getattr(source, "size", None)
        frame = (side, side, 1) if side else (64, 80, 1 if source.dataset == "kth" else 3)
        model = getattr(models, network.model).from_topology(network.topology, 10)
        model._check_frame_size((None, 10, *frame))
