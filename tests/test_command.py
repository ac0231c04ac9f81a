"""The command from the command line's words to files, on networks and clips of seconds."""

import re
import threading
import time

import cv2
import keras
import numpy as np
import pytest
from clips import decoded, write_clip

import keras_frnn_command
from keras_frnn import command, datasets, models

TOPOLOGY = [("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3)]


def run(*words):
    keras_frnn_command.main([str(word) for word in words])


def fails(capsys, *words) -> str:
    """What the user reads, and nothing else is left behind."""
    with pytest.raises(SystemExit) as error:
        run(*words)
    if error.value.code == 2:
        return capsys.readouterr().err
    assert isinstance(error.value.code, str)
    return error.value.code


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_clip("clip.avi", frames=24)
    network = models.FoldedRNN.from_topology(TOPOLOGY, horizon=3)
    network.build((None, 10, 16, 24, 1))
    network.save("small.keras")
    return tmp_path


def test_predicts_what_the_network_predicts(here, monkeypatch, capsys):
    drawn = {}

    def draw(context, future, predictions, path, *_, **__):
        drawn.update(context=context, future=future, predictions=predictions)

    monkeypatch.setattr("keras_frnn.evaluation.save_animation", draw)
    run("predict", "clip.avi", "--model=small.keras", "--steps=5", "--start=9", "--frame-step=2", "--given=4")
    network = keras.saving.load_model("small.keras")
    (prediction,) = drawn["predictions"].values()
    np.testing.assert_allclose(prediction, network.forecast(drawn["context"] / 127.5 - 1, 5), atol=1e-6)
    # Frames 9, 11, 13, 15 are given; of the next five, the clip has four.
    assert drawn["context"].shape == (1, 4, 16, 24, 1)
    assert drawn["future"].shape == (1, 4, 16, 24, 1)
    expected = cv2.cvtColor(decoded("clip.avi")[9], cv2.COLOR_BGR2GRAY)[
        6:114
    ]  # The middle, in the frames' aspect ratio.
    expected = cv2.resize(expected, (24, 16), interpolation=cv2.INTER_AREA)
    assert np.abs(drawn["context"][0, 0, ..., 0] - expected.astype(float)).mean() < 3
    assert "4 of them beside what came" in capsys.readouterr().out


@pytest.mark.once
@pytest.mark.parametrize("suffix", ["mp4", "gif", "png"])
def test_writes_pictures_beyond_the_end_of_the_clip(here, suffix):
    run("predict", "clip.avi", "--model=small.keras", "--steps=20", f"--output=out.{suffix}")
    if suffix == "png":
        assert cv2.imread("out.png").shape[1] > 1000
    else:
        assert sum(1 for _ in decoded(f"out.{suffix}")) >= 30


@pytest.mark.once
def test_own_videos_in_three_commands(here, capsys, monkeypatch):
    for i in range(3):
        write_clip(f"videos/{i}.avi", frames=24, seed=i)
    run("prepare", "videos", "--size=16x24", "--grey")
    words = "train", "--width=0.1", "--batch-size=1", "--context=3", "--horizon=2"
    monkeypatch.setattr(command, "_STEPS_BETWEEN_SAVES", 2)
    run(*words, "--steps=2")
    first = keras.saving.load_model("model.keras")
    run(*words, "--steps=3")
    assert "Going on from step 2 of 3" in capsys.readouterr().out
    again = keras.saving.load_model("model.keras")
    assert [int(model.optimizer.iterations) for model in (first, again)] == [2, 3]
    assert "3 steps. Pass another --output, or more --steps" in fails(capsys, *words, "--steps=3")
    run("evaluate", "--sequences=4", "--output=scores.csv")
    test = datasets.video_folder("prepared", "test", context=3, horizon=2, batch_size=4, sequences=4)
    context, future = (np.asarray(frames) for frames in next(iter(test)))
    mse = ((again.forecast(context) - future) ** 2).mean() / 4
    assert f"{mse:.4f}" in capsys.readouterr().out
    assert (here / "scores.csv").exists()


@pytest.mark.once
def test_an_interrupted_training_keeps_what_was_learnt(here, capsys, monkeypatch):
    write_clip("videos/a.avi", frames=24)
    run("prepare", "videos", "--size=16x24", "--grey", "--test-fraction=0")

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    monkeypatch.setattr(keras.callbacks, "TerminateOnNaN", Interrupt)
    message = fails(capsys, "train", "--width=0.1", "--batch-size=1", "--context=3", "--horizon=2", "--steps=9")
    assert "model.keras keeps what was learnt; the same command goes on" in message
    assert int(keras.saving.load_model("model.keras").optimizer.iterations) == 1


def test_live_forecasts_of_each_frame(here, capsys):
    run("live", "clip.avi", "--model=small.keras", "--headless", "--output=live.mp4", "--frames=5", "--size=16x32")
    assert "5 frames" in capsys.readouterr().err
    assert len(decoded("live.mp4")) == 5


@pytest.mark.once
def test_live_follows_a_file_that_grows(here):
    whole = (here / "clip.avi").read_bytes()
    growing = here / "growing.avi"
    growing.write_bytes(whole[: len(whole) // 2])

    def grow():
        time.sleep(0.3)
        with growing.open("ab") as file:
            file.write(whole[len(whole) // 2 :])

    thread = threading.Thread(target=grow)
    thread.start()
    frames = list(command._coming(str(growing), follow=3))
    thread.join()
    np.testing.assert_array_equal(frames, decoded(here / "clip.avi"))


@pytest.mark.once
class TestErrors:
    def test_usage(self, here, capsys):
        assert "COMMAND" in fails(capsys, "--help-me")
        assert "at least 1, got '0'" in fails(capsys, "predict", "clip.avi", "--steps=0")
        assert "HEIGHTxWIDTH in pixels, such as 64x80, got '64'" in fails(capsys, "predict", "clip.avi", "--size=64")
        for name in ("predict", "live", "prepare", "train", "evaluate"):
            with pytest.raises(SystemExit) as done:
                run(name, "--help")
            assert done.value.code == 0
            assert len(capsys.readouterr().out.splitlines()) <= 40

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["predict", "none.mp4"], "There is no video none.mp4"),
            (["predict", "text.mp4"], "text.mp4 is no video that FFmpeg knows"),
            (["predict", "clip.avi", "--model=small.keras", "--start=99"], "no frames that decode after frame 99"),
            (["predict", "clip.avi", "--model=small.keras", "--output=out.txt"], "must end in .mp4 or .gif or .png"),
            (["predict", "clip.avi", "--model=small.keras", "--size=15x16"], "Frame height 15 does not fit"),
            (["predict", "clip.avi", "--model=none.keras"], "There is no file none.keras"),
            (["predict", "clip.avi", "--model=broken.keras"], "cannot be loaded as a Keras model"),
            (["predict", "clip.avi", "--model=nothing"], "moving-digits.*nothing"),
            (["live", "clip.avi", "--headless"], "Pass one, such as out.mp4"),
            (["live", "clip.avi", "--model=small.keras", "--headless", "--output=o.gif"], "must end in .mp4"),
            (["prepare", "none"], "must be a folder of videos"),
            (["train", "none"], "none"),
            (["evaluate", "none", "--model=small.keras"], "none"),
        ],
    )
    def test_a_sentence_and_no_file(self, here, capsys, words, message):
        (here / "text.mp4").write_text("no video")
        (here / "broken.keras").write_bytes((here / "small.keras").read_bytes()[:500])
        before = sorted(path.name for path in here.iterdir())
        assert re.search(message, fails(capsys, *words))
        assert sorted(path.name for path in here.iterdir()) == before

    def test_a_network_that_takes_channels_first(self, here, capsys):
        network = models.FoldedRNN.from_topology(TOPOLOGY, horizon=3, data_format="channels_first")
        network.build((None, 10, 1, 16, 16))
        network.save("first.keras")
        assert "channels before height" in fails(capsys, "predict", "clip.avi", "--model=first.keras")
