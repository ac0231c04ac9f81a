"""The command `keras-frnn` as users see it: files, output, exit codes."""

import io
import itertools
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import cv2
import keras
import numpy as np
import pytest
from clips import decoded, write_clip
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import keras_frnn
import keras_frnn_command
from keras_frnn import datasets, models
from keras_frnn.command import before_keras, live, networks, predict, train, video_source

pytestmark = pytest.mark.once

DIGITS = ["--model=moving-digits"]  # Small and compiled quickly.


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Runs a command line in an empty folder; checks its exit code and returns its output."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, code=0):
        assert keras_frnn_command.main([str(argument) for argument in arguments]) == code
        out, error = capfd.readouterr()
        assert "Traceback" not in out + error
        return error if code else out

    return run


def save_network(path="model.keras", shape=(None, None, 3), **kwargs):
    """A small network for frames of any size."""
    network = models.FoldedRNN.from_topology([("conv", 3, 3), ("pool", 4), ("recurrent", 4, 3)], horizon=2, **kwargs)
    network.build((None, None, *shape))
    network.save(path)
    return network


def write_still(path):
    """A clip of one picture, 32x32, gray."""
    picture = cv2.resize(np.random.default_rng(0).integers(40, 200, (4, 4), "uint8"), (32, 32))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"FFV1"), 25, (32, 32))
    for _ in range(12):
        writer.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    writer.release()
    return path


class TestPredict:
    def test_beyond_the_end_of_the_clip(self, run, tmp_path):
        write_clip("clip.avi", frames=14)
        out = run("predict", "clip.avi", *DIGITS, "--steps=6", "--output=out.mp4")
        assert "frames of 32x32, 10 given, 6 predicted, 4 of these beside the truth" in out
        assert "MSE" in out
        pages = decoded("out.mp4")
        assert len(pages) == 15 + 25  # The last of 16 pages stays for a second, at the clip's 25 frames per second.
        truth = pages[:, 60:180, 10:130].astype("int")
        # Unknown truth is drawn as a flat color with a question mark.
        flat = [float((np.abs(page - np.median(page, axis=(0, 1))) < 8).mean()) for page in truth[[13, 14, 15]]]
        assert flat[0] < 0.5 < 0.9 < min(flat[1:])
        assert {path.name for path in tmp_path.iterdir()} == {"clip.avi", "out.mp4"}

    def test_whole_clip_given_needs_no_future(self, run):
        write_clip("clip.avi", frames=7)
        assert "7 given, 3 predicted, 0 of these" in run(
            "predict", "clip.avi", *DIGITS, "--steps=3", "--output=out.gif"
        )
        with Image.open("out.gif") as gif:
            assert gif.n_frames == 10
        assert "5 given, 10 predicted, 0 of" in run("predict", "clip.avi", *DIGITS, "--start=-5", "--output=strip.png")
        with Image.open("strip.png") as picture:
            assert picture.width > 5 * picture.height

    def test_frames_are_those_of_the_clip(self, run):
        write_clip("clip.avi", size=(64, 48), frames=12, color=True)
        video = video_source.Video("clip.avi")
        frames = video.read((48, 64, 3), 2, 4, 2)
        expected = decoded("clip.avi")[2:10:2, ..., ::-1] / 127.5 - 1
        np.testing.assert_allclose(frames, expected, atol=0.02)
        np.testing.assert_array_equal(video.read((48, 64, 3), 2, 4, 2), frames)  # Each call starts from the beginning.
        last = video.read((48, 64, 3), -3, 9)
        np.testing.assert_allclose(last, decoded("clip.avi")[-3:, ..., ::-1] / 127.5 - 1, atol=0.02)

    @pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
    def test_networks_for_any_size_keep_the_aspect(self, run, data_format):
        shape = (3, None, None) if data_format == "channels_first" else (None, None, 3)
        network = save_network(shape=shape, data_format=data_format)
        write_clip("clip.avi", size=(66, 50), frames=6, color=True)
        out = run("predict", "clip.avi", "--model=model.keras", "--context=4", "--output=out.png")
        assert "frames of 48x64, 4 given, 2 predicted, 2 of these beside" in out
        out = run("predict", "clip.avi", "--model=.", "--context=4", "--size=16x24", "--output=out.png")
        assert "frames of 16x24" in out
        frames = video_source.Video("clip.avi").read((16, 24, 3), 0, 4)
        moved = np.moveaxis(frames, -1, 1) if data_format == "channels_first" else frames
        expected = network.forecast(moved[None], 2)[0]
        if data_format == "channels_first":
            expected = np.moveaxis(expected, 1, -1)
        np.testing.assert_allclose(networks.forecast(network, frames, 4, 2)[2], expected, atol=1e-6)

    def test_presets_in_folders(self, run):
        network = save_network()
        network.save_to_preset("preset")
        np.testing.assert_array_equal(networks.load_model("preset").get_weights()[0], network.get_weights()[0])
        assert networks.load_model("moving-digits").horizon == 10

    def test_errors(self, run, tmp_path):
        write_clip("clip.avi", frames=6)
        (tmp_path / "bad.avi").write_bytes(b"no video")
        (tmp_path / "bad.keras").write_bytes(b"no network")
        (tmp_path / "empty").mkdir()
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save("other.keras")
        save_network("five.keras", (None, None, 5))
        before = set(tmp_path.iterdir())
        for arguments, message in [
            (["no.avi"], "Expected a video file. Received: 'no.avi', which does not exist"),
            (["empty"], "There is no video in empty"),
            (["bad.avi"], "bad.avi does not decode"),
            (
                ["clip.avi", "--model=other"],
                "There is no model 'other'. Expected moving-digits, moving-pictures, a .keras file",
            ),
            (["clip.avi", "--model=bad.keras"], "bad.keras is not a network that Keras loads"),
            (["clip.avi", "--model=other.keras"], "holds a Sequential. Expected a trained network"),
            (["clip.avi", "--model=five.keras"], "takes frames of 5 channels"),
            (["clip.avi", "--output=out.avi"], "must end in .mp4 or .gif or .png"),
            (["clip.avi", "--start=6"], "clip.avi has 6 frames. Received: --start=6"),
            (["clip.avi", "--start=-7"], "clip.avi has 6 frames. Received: --start=-7"),
            (["clip.avi", "--size=30x32"], "Frame height 30 does not fit"),
        ]:
            assert message in run("predict", *arguments, code=1)
        assert set(tmp_path.iterdir()) == before


class TestPredictSeveralClips:
    def test_one_result_each(self, run, tmp_path):
        for number, name in enumerate(["a.avi", "clips/a.avi", "clips/deep/b.avi"]):
            write_clip(name, size=(32, 32), frames=14 - 5 * (number == 2), seed=number)
        shutil.copy("clips/a.avi", "clips/a.mov")
        command = ["predict", "a.avi", "clips", "./a.avi", *DIGITS, "--steps=4", "--output=out.gif"]
        *lines, summary = run(*command).splitlines()
        expected = ["a.avi -> out/a.gif", "clips/a.avi -> out/a-2.gif", "clips/a.mov -> out/a-3.gif"]
        assert [line.partition(":")[0] for line in lines] == [*expected, "clips/deep/b.avi -> out/deep/b.gif"]
        assert all("10 given, 4 predicted, 4 of these beside the truth. MSE 0." in line for line in lines[:3])
        assert lines[3].endswith("9 given, 4 predicted, 0 of these beside the truth.")
        # The verdicts agree with those of single clips, and the summary with the verdicts.
        single = run("predict", "clips/a.avi", *DIGITS, "--steps=4", "--output=single.gif").splitlines()
        assert single[1] == lines[1].partition("truth. ")[2] == lines[2].partition("truth. ")[2]
        assert (tmp_path / "single.gif").read_bytes() == (tmp_path / "out" / "a-2.gif").read_bytes()
        better = sum("is better than copying" in line for line in lines)
        assert summary.startswith(
            f"4 results in out. The forecast is better than copying on {better} of 3 clips; mean MSE"
        )
        # Results are never overwritten.
        before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.gif")}
        assert "clips/deep/b.avi -> out/deep/b-2.gif" in run(*command)
        assert len(list((tmp_path / "out").rglob("*.gif"))) == 8
        assert {path: path.read_bytes() for path in before} == before

    def test_results_in_the_folder_are_no_clips(self, run, tmp_path):
        write_clip("clips/a.avi", size=(32, 32), frames=12)
        for _ in range(2):
            assert "1 results in clips/out" in run("predict", "clips", *DIGITS, "--steps=1", "--output=clips/out")
        assert sorted(path.name for path in (tmp_path / "clips" / "out").iterdir()) == ["a-2.mp4", "a.mp4"]
        # A single clip into a folder.
        run("predict", "clips/a.avi", *DIGITS, "--steps=1", "--output=single")
        assert [path.name for path in (tmp_path / "single").iterdir()] == ["a.mp4"]

    def test_the_others_go_on(self, run, tmp_path, capfd):
        write_clip("good.avi", size=(32, 32), frames=12)
        write_clip("short.avi", size=(32, 32), frames=3)
        write_clip("large.avi", size=(64, 64), frames=12)
        (tmp_path / "bad.avi").write_bytes(b"no video")
        (tmp_path / "empty").mkdir()
        clips = ["bad.avi", "0", "good.avi", "empty", "short.avi", "large.avi"]
        assert keras_frnn_command.main(["predict", *clips, *DIGITS, "--start=5", "--steps=1"]) == 1
        out, error = capfd.readouterr()
        *sentences, _, end = error.splitlines()
        assert [sentence.removeprefix("keras-frnn predict: ").split(".")[0] for sentence in sentences] == [
            "bad",
            "Expected a video file",
            "There is no video in empty",
            "short",
        ]
        assert "short.avi has 3 frames. Received: --start=5" in sentences[-1]
        assert end == "keras-frnn predict: 4 of 6 clips could not be predicted; the reasons are above."
        assert "2 results in out." in out
        assert out.count("moving-digits was trained on") == 1
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["good.mp4", "large.mp4"]


class TestPredictionAlone:
    @pytest.mark.parametrize("size", [(96, 48), (40, 70), (32, 32)])
    def test_frames_of_the_result(self, run, size):
        width, height = size
        write_clip("clip.avi", size=size, frames=14)
        flags = [*DIGITS, "--steps=4", "--only-prediction"]
        assert "out.mp4: 4 predicted frames of 32x32.\nMSE" in run("predict", "clip.avi", *flags)
        frames = video_source.Video("clip.avi").read((32, 32, 1), 0, 10)
        expected = (networks.load_model("moving-digits").forecast(frames[None], 4)[0] + 1) * 127.5
        assert np.abs(decoded("out.mp4") - expected).mean() < 6  # H.264 is lossy.
        out = run("predict", "clip.avi", *flags, "--scale=source", "--output=large.mp4")
        assert f"large.mp4: 4 predicted frames of 32x32, enlarged to {height}x{width}." in out
        large = decoded("large.mp4")
        assert large.shape == (4, height, width, 3)
        # What the network was given is where it was; what was cropped is black.
        side = min(size)
        top, left = (height - side) // 2, (width - side) // 2
        inner = large[:, top : top + side, left : left + side]
        shrunk = np.stack([cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA) for frame in inner])
        assert np.abs(shrunk - expected).mean() < 6
        outside = large.astype("int")
        outside[:, max(top - 2, 0) : top + side + 2, max(left - 2, 0) : left + side + 2] = 0
        assert outside.max(initial=0) < 12

    def test_side_by_side_at_the_size_of_the_source(self, run):
        write_clip("clip.avi", size=(160, 120), frames=12)
        out = run("predict", "clip.avi", *DIGITS, "--steps=2", "--scale=source")
        assert (
            "out.mp4: frames of 32x32, enlarged to 120x160, 10 given, 2 predicted, 2 of these beside the truth" in out
        )
        _, height, width, _ = decoded("out.mp4").shape
        assert 120 < height < 190
        assert 2 * 160 < width < 2 * 160 + 40


class TestLive:
    def test_forecast_beside_each_frame(self, run, tmp_path):
        write_clip("clip.avi", frames=5)
        out = run("live", "--camera=clip.avi", *DIGITS, "--headless", "--output=out.mp4", "--steps=3")
        assert "5 frames of 32x32" in out
        assert "frames per second" in out
        network = networks.load_model("moving-digits")
        frames = video_source.Video("clip.avi").read((32, 32, 1), 0, 5)
        pages = decoded("out.mp4")
        assert len(pages) == 5
        future = network.forecast(frames[None], 3)[0]
        tiles = [frames[-1], *future]
        width = pages.shape[2] // 4
        for tile, column in zip(tiles, np.split(pages[-1][24:], np.arange(1, 4) * width, axis=1), strict=True):
            expected = ((tile + 1) * 127.5).repeat(5, 0).repeat(5, 1)
            assert np.abs(column[:160, 2:162].astype(float) - expected).mean() < 6
        assert {path.name for path in tmp_path.iterdir()} == {"clip.avi", "out.mp4"}

    def test_every_nth_frame_and_how_many(self, run, monkeypatch):
        save_network(data_format="channels_first", shape=(3, None, None))
        write_clip("clip.avi", size=(24, 16), frames=8, color=True)
        drawn = []
        page = live.live_page
        monkeypatch.setattr(live, "live_page", lambda *given: drawn.append(given[1]) or page(*given))
        arguments = ["--camera=clip.avi", "--model=model.keras", "--headless", "--every=2"]
        assert "6 frames of 16x24" in run("live", *arguments, "--frames=6")
        assert [forecast is None for forecast in drawn] == [True, *[False] * 5]
        assert [a is b for a, b in itertools.pairwise(drawn)] == [False, True, False, True, False]
        assert drawn[-1].shape == (2, 16, 24, 3)

    def test_a_file_that_grows(self, run, tmp_path):
        """Frames that are written after the end was read are taken once each, also one that was incomplete before."""
        whole = write_clip(tmp_path / "whole.avi", frames=24)
        content, grows = whole.read_bytes(), tmp_path / "grows.avi"
        grows.write_bytes(content[: len(content) * 4 // 5])
        frames = video_source.Video(str(grows)).frames(follow=3)
        seen = [next(frames)]
        with grows.open("ab") as file:
            file.write(content[len(content) * 4 // 5 :])
        np.testing.assert_array_equal([*seen, *frames], decoded(whole))

    def test_interrupted_it_keeps_what_it_wrote(self, run, monkeypatch):
        write_clip("clip.avi", frames=5)
        real = video_source.resize

        def interrupted(frame, shape, pixel_aspect, seen=[]):  # noqa: B006
            seen.append(frame)
            if len(seen) == 4:
                raise KeyboardInterrupt
            return real(frame, shape, pixel_aspect)

        monkeypatch.setattr(live, "resize", interrupted)
        assert "3 frames" in run("live", "--camera=clip.avi", *DIGITS, "--headless", "--output=out.mp4", "--steps=1")
        assert len(decoded("out.mp4")) == 3

    def test_interrupted_before_the_first_frame(self, run, tmp_path, monkeypatch):
        write_clip("clip.avi", frames=3)
        (tmp_path / "out.mp4").write_bytes(b"of an earlier run")

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(live, "resize", interrupted)
        error = run("live", "--camera=clip.avi", *DIGITS, "--headless", "--output=out.mp4", code=1)
        assert "out.mp4 is not written: there was no frame" in error
        assert {path.name for path in tmp_path.iterdir()} == {"clip.avi", "out.mp4"}
        assert (tmp_path / "out.mp4").read_bytes() == b"of an earlier run"

    def test_camera_in_a_window_until_it_is_closed(self, run, monkeypatch):
        """A figure without a screen replaces the window, and a file the camera."""
        monkeypatch.setenv("MPLBACKEND", "agg")
        write_clip("clip.avi", frames=6)
        real, drawn = cv2.VideoCapture, []
        monkeypatch.setattr(cv2, "VideoCapture", lambda source, *how: real({0: "clip.avi"}.get(source, source), *how))
        monkeypatch.setattr(live, "window_pyplot", lambda: pyplot)
        monkeypatch.setattr(pyplot, "show", lambda block: None)

        def closed_after_third(self, timeout):
            self.draw()
            drawn.append(np.asarray(self.buffer_rgba())[..., :3])
            if len(drawn) == 3:
                pyplot.close(self.figure)

        monkeypatch.setattr(FigureCanvasAgg, "start_event_loop", closed_after_third)
        assert "3 frames of 32x32" in run("live", "--camera=0", *DIGITS, "--steps=1", "--output=out.mp4")
        pages = decoded("out.mp4")
        assert [page.shape for page in drawn] == [page.shape for page in pages]
        assert np.abs(drawn[-1].astype(float) - pages[-1]).mean() < 6

    def test_errors(self, run, tmp_path, monkeypatch):
        monkeypatch.setenv("MPLBACKEND", "agg")
        write_clip("clip.avi", frames=3)
        for arguments, message in [
            (["--camera=no.avi", "--headless"], "'no.avi', which does not exist"),
            (["--camera=97", "--headless"], "Camera 97 does not open"),
            (["--camera=clip.avi"], "no screen for a window. Pass --headless"),
            (["--camera=clip.avi", "--headless", "--output=out.gif"], "must end in .mp4"),
            (["--camera=clip.avi", "--headless", "--size=30x30"], "Frame height 30 does not fit"),
        ]:
            assert message in run("live", *arguments, code=1)
        assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]


class TestOwnVideos:
    def test_three_commands(self, run, tmp_path, monkeypatch):
        for i in range(3):
            write_clip(tmp_path / "videos" / f"{i}.avi", size=(40, 30), frames=9, seed=i, color=True)
        assert "Written to prepared: test.hdf5, train.hdf5" in run(
            "prepare", "videos", "--size=12x16", "--workers=1", "--output=prepared"
        )
        monkeypatch.setitem(train.NETWORKS, "quick", [("conv", 2, 3), ("pool", 4), ("recurrent", 3, 3)])
        windows = ["--context=3", "--horizon=2"]
        arguments = ["train", "prepared", "--network=quick", *windows, "--save-every=2"]
        out = run(*arguments, "--steps=3")
        assert re.search(r"Before training: validation [\d.]+ of copying", out)
        # The network is the best one of those that were validated.
        scores = [float(score) for score in re.findall(r"validation ([\d.]+) of copying", out)]
        step = int(re.search(r"Written to model.keras, as of step (\d)", out)[1])
        assert scores[[0, 2, 3].index(step)] == min(scores)
        assert len(list((tmp_path / "model-pictures").glob("*.png"))) == 2
        kept = [path.name for path in (tmp_path / "model-run").rglob("*") if path.is_file()]
        assert sorted(kept) == ["00000002.keras", "00000003.keras", "best.keras", "settings.json"]
        newest = networks.load_model("model-run/checkpoints/00000003.keras", compile=True)
        assert int(newest.optimizer.iterations) == 3
        best, first = (networks.load_model(path) for path in ("model-run/best.keras", "model.keras"))
        assert first.context_shape[2:] == (12, 16, 3)
        for weight, expected in zip(first.get_weights(), best.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, expected)

        # It continues with the next sequences, after a look at the first ones, and with the optimizer's state.
        starts, make = [], datasets.video_folder
        monkeypatch.setattr(
            datasets, "video_folder", lambda *given, **by: starts.append(by.get("start")) or make(*given, **by)
        )
        assert "model.keras has 3 training steps" in run(*arguments, "--steps=5")
        assert [start for start in starts if start is not None] == [0, 3 * 2]
        newest = networks.load_model("model-run/checkpoints/00000005.keras", compile=True)
        assert int(newest.optimizer.iterations) == 5
        # What the run folder keeps is used where the network is lost, and the newest checkpoint is damaged.
        whole = (tmp_path / "model.keras").read_bytes()
        (tmp_path / "model.keras").unlink()
        (tmp_path / "model-run" / "checkpoints" / "00000005.keras").write_bytes(whole[:5000])
        assert "Going on from iteration 4 of 5." in run(*arguments, "--iterations=5")
        assert "model.keras has been trained for 5 steps already" in run(*arguments, "--steps=5", code=1)
        out = run("evaluate", "prepared", *windows, "--sequences=3", "--output=scores.csv")
        assert "over 3 test sequences" in out
        rows = [row.split(",")[:2] for row in (tmp_path / "scores.csv").read_text().splitlines()]
        assert rows[1:] == [[name, step] for name in ("model.keras", "copy_last_frame") for step in ("1", "2")]
        assert "frames of 12x16" in run("predict", "videos/0.avi", "--model=model.keras", "--output=out.png")

        for wrong, message in [
            (["train", "prepared", "--output=model.h5"], "must end in .keras"),
            (
                ["train", "prepared", "--output=new.keras", "--context=50"],
                "has no video of 60 frames, which 50 + 10 frames ",
            ),
            (
                ["train", "prepared", "--output=new.keras", "--context=50"],
                "Pass a smaller --context, --horizon or --fr",
            ),
            (["evaluate", "prepared", "--model=moving-digits", *windows], "built for frames of 1 channel"),
            (["evaluate", "prepared", "--model=no.keras"], "There is no model 'no.keras'"),
            (["evaluate", "prepared", "--output=scores.txt"], "must end in .csv"),
            (["train", "prepared", "--output=new.keras", "--initial=no"], "There is no model 'no'. Expected moving-"),
            (["train", "prepared", "--output=new.keras", "--initial=no"], "Pass it with --initial."),
            (
                ["train", "prepared", "--output=new.keras", "--initial=none", "--network=initial"],
                "--network=initial is that of --initial. Received: --initial=none.",
            ),
            (
                ["train", "prepared", *windows, "--output=new.keras", "--initial=moving-digits", "--network=quick"],
                "Training cannot start from moving-digits. Layer 1 cannot start from the source's.",
            ),
        ]:
            assert message in run(*wrong, code=1), wrong
        assert not list(tmp_path.glob("new*"))

    def test_goes_on_only_with_what_it_was(self, run, tmp_path, monkeypatch):
        for name, color in ("gray", False), ("other", False), ("color", True):
            for i in range(2):
                write_clip(tmp_path / name / f"{i}.avi", size=(16, 16), frames=9, seed=len(name) + i, color=color)
            arguments = ["--size=8x8", "--workers=1", f"--output={name}.prepared"]
            run("prepare", name, *arguments, *([] if color else ["--gray"]))
        monkeypatch.setitem(train.NETWORKS, "quick", [("conv", 2, 3), ("recurrent", 2, 3)])
        settings = ["--network=quick", "--context=3", "--horizon=2", "--batch=1", "--learning-rate=0.5"]
        run("train", "gray.prepared", *settings, "--steps=1")
        trained = (tmp_path / "model.keras").read_bytes()
        for folder in "other", "color":
            error = run("train", f"{folder}.prepared", *settings, "--steps=2", code=1)
            assert "model.keras was trained on other videos: gray.prepared (" in error
            assert f"Received: {folder}.prepared (" in error
        # Networks that the command did not train are not overwritten.
        save_network("foreign.keras", (8, 8, 1))
        foreign = (tmp_path / "foreign.keras").read_bytes()
        assert "no record" in run("train", "gray.prepared", "--output=foreign.keras", code=1)
        assert (tmp_path / "model.keras").read_bytes() == trained
        assert (tmp_path / "foreign.keras").read_bytes() == foreign
        damaged = bytearray(trained)
        damaged[len(damaged) // 3] ^= 0xFF
        (tmp_path / "damaged.keras").write_bytes(damaged)
        assert "damaged.keras is " in run("train", "gray.prepared", "--output=damaged.keras", "--steps=2", code=1)
        assert (tmp_path / "damaged.keras").read_bytes() == damaged

        # The record is in the file, so a copy can be continued, also with the same videos in another folder. Flags that
        # are not given keep their values; a new learning rate takes effect.
        shutil.copy("model.keras", "copy.keras")
        shutil.move("gray.prepared", "moved")
        assert "it continues with its own network and optimizer.\n" in run(
            "train", "moved", "--output=copy.keras", "--steps=2"
        )
        out = run("train", "moved", "--output=copy.keras", "--steps=3", "--learning-rate=0.25")
        assert "The learning rate was 0.5 and is 0.25 from here on." in out
        model = keras.saving.load_model("copy.keras")
        assert model.optimizer.get_config()["learning_rate"]["config"]["highest"] == 0.25
        assert int(model.optimizer.iterations) == 3
        assert model.horizon == 2

    def test_says_what_a_network_was_trained_on_and_how_good_it_is(self, run, tmp_path, monkeypatch):
        for i in range(2):
            clip = write_clip(tmp_path / "videos" / f"{i}.avi", size=(32, 32), frames=9, seed=i)
        write_clip("color.avi", size=(32, 32), frames=9, color=True)
        still = write_still("still.avi")
        run("prepare", "videos", "--size=12x12", "--workers=1", "--grey")
        monkeypatch.setitem(train.NETWORKS, "quick", [("conv", 2, 3), ("recurrent", 2, 3)])
        settings = ["--network=quick", "--context=3", "--horizon=2", "--frame-step=2"]
        out = run("train", "prepared", *settings, "--steps=1", "--save-every=1")
        assert "There is no validation, so the last network is kept, not the best." in out
        assert "its only video with a window has 9" in out
        # An untrained network is worse than copying. The errors are those that NumPy computes.
        test = datasets.video_folder("prepared", "test", context=3, horizon=2, frame_step=2, format="keras")
        context, future = (np.concatenate(parts) for parts in zip(*test, strict=True))
        forecast = keras.saving.load_model("model.keras").forecast(context)
        errors = [np.mean((future - frames) ** 2) / 4 for frames in (forecast, context[:, -1:])]
        line = "MSE {:.4f}; copying the last given frame: {:.4f}. The forecast is worse than copying.".format(*errors)
        assert f"Over {len(context)} test sequences: {line}" in out
        out = run("evaluate", "prepared")
        assert f"model.keras: {line}" in out
        assert "was trained" not in out
        assert "model.keras was trained with --frame-step=2." in run("evaluate", "prepared", "--frame-step=1")
        assert "model.keras was trained on other data than" in run("evaluate", "prepared/test.hdf5")

        # The windows are those of the training. On a still picture, no forecast is better than copying.
        out = run("predict", still, "--model=model.keras", "--output=out.png")
        assert "3 given, 2 predicted, 2 of these" in out
        assert "copying the last given frame: 0.0000. The forecast is worse than copying." in out
        assert "was trained" not in run("predict", clip, "--model=model.keras", "--output=out.png")
        out = run("predict", "color.avi", "--model=model.keras", "--output=out.png", "--frame-step=1")
        assert "model.keras was trained on 1 video of prepared, 12x12, gray; color.avi has frames in color." in out
        assert "trained with --frame-step=2. Received: --frame-step=1" in out
        digits = "moving-digits was trained on moving handwritten digits, 32x32, gray; color.avi has frames in color."
        assert digits in run("predict", "color.avi", *DIGITS, "--output=out.png")
        assert digits in run("live", "--camera=color.avi", *DIGITS, "--headless", "--frames=1", "--steps=1")

    def test_data_are_channels_last_whatever_keras_is_set_to(self, run, tmp_path, monkeypatch):
        for i in range(2):
            write_clip(tmp_path / "videos" / f"{i}.avi", size=(16, 16), frames=6, seed=i, color=True)
        run("prepare", "videos", "--size=12x12", "--workers=1")
        monkeypatch.setitem(train.NETWORKS, "quick", [("conv", 2, 3), ("pool", 2), ("recurrent", 2, 3)])
        before = keras.config.image_data_format()
        keras.config.set_image_data_format("channels_first")
        try:
            run("train", "prepared", "--context=3", "--horizon=2", "--steps=1")
            assert keras.saving.load_model("model.keras").context_shape[2:] == (12, 12, 3)
            assert "model.keras: MSE" in run("evaluate", "prepared")
            assert "frames of 12x12" in run("predict", "videos/0.avi", "--model=model.keras", "--output=out.png")
            assert "frames of 32x32" in run("predict", "videos/0.avi", *DIGITS, "--output=out.gif")
        finally:
            keras.config.set_image_data_format(before)

    def test_bad_videos_are_named(self, run, tmp_path):
        write_clip(tmp_path / "videos" / "good.avi", frames=4)
        (tmp_path / "videos" / "bad.avi").write_bytes(b"no video")
        arguments = ["prepare", "videos", "--size=8x8", "--workers=1", "--gray"]
        error = run(*arguments, code=1)
        assert "bad.avi: does not decode" in error
        assert "accept them with --accept-bad-videos" in error
        assert "--group must fit all videos. Received: --group='x'" in run(*arguments, "--group=x", code=1)
        assert "accepted: bad.avi: does not decode" in run(*arguments, "--accept-bad-videos")
        assert "There is no video in" in run("prepare", "prepared", code=1)


def test_command_line(capsys):
    for arguments, message in [
        ([], "keras-frnn: error: the following arguments are required: COMMAND"),
        (["predict"], "required: CLIP"),
        (["predict", "clip.avi", "--size=8"], "expected HEIGHTxWIDTH, such as 64x80, not '8'"),
        (["predict", "clip.avi", "--steps=0"], "expected a positive integer, not '0'"),
        (["predict", "clip.avi", "--rate=nan"], "expected a positive number, not 'nan'"),
        (["predict", "clip.avi", "--start=1.5"], "expected an integer, not '1.5'"),
        (["predict", "clip.avi", "--start=99999999999999999999"], "expected an integer, not '99999999999999999999'"),
        (["predict", "clip.avi", "--scale=2"], "argument --scale: invalid choice: '2' (choose from 'source')"),
        (["prepare", "videos", "--test-fraction=nan"], "expected a number from 0 to below 1, not 'nan'"),
        (["prepare", "videos", "--test=a", "--test-fraction=0.5"], "--test-fraction: not allowed with argument --test"),
        (["prepare", "videos", "--group=("], "expected a regular expression, not '('"),
        (["train", "prepared", "--network=huge"], "'quick', 'small', 'paper'"),
        (["prepare", "videos", "--dataset=ucf"], "choose from 'videos', 'kth', 'ucf101'"),
        (
            ["prepare", "videos", "--protocol=official-4"],
            "choose from 'paper', 'official-1', 'official-2', 'official-3'",
        ),
    ]:
        with pytest.raises(SystemExit) as exit:
            keras_frnn_command.main(arguments)
        assert exit.value.code == 2
        assert message in capsys.readouterr().err


def test_help_fits_a_screen(capsys):
    (actions,) = (action for action in keras_frnn_command._parser()._actions if action.dest == "command")
    for arguments in ([], *([name] for name in actions.choices)):
        with pytest.raises(SystemExit):
            keras_frnn_command.main([*arguments, "--help"])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 100


def test_usage_and_version(capsys):
    (actions,) = (action for action in keras_frnn_command._parser()._actions if action.dest == "command")
    for name in actions.choices:
        for arguments in (
            [name, "thing", "--nothing"],
            [name, "--size=x", "--context=x", "--save-every=x", "--port=x"],
        ):
            with pytest.raises(SystemExit):
                keras_frnn_command.main(arguments)
            usage, error = capsys.readouterr().err.splitlines()
            assert usage.startswith(f"usage: keras-frnn {name} ")
            assert error.startswith(f"keras-frnn {name}: error: ")
    python = subprocess.run(
        [sys.executable, "-m", "keras_frnn", "--version"], capture_output=True, text=True, check=True
    )
    assert python.stdout == f"keras-frnn {keras_frnn.__version__}\n"


REFUSALS = [
    (["predict", "no.avi"], "'no.avi', which does not exist"),
    (["predict", "no.avi", "nowhere"], "Received: ['no.avi', 'nowhere'], none of which exists"),
    (["predict", "clip.avi", ".", "--output=."], "would be taken for clips next time. Choose another --output"),
    (["predict", "clip.avi", "film.mp4", "--output=clip.avi/out"], "clip.avi is a file"),
    (["predict", "bad.avi"], "bad.avi does not decode"),
    (["predict", "clip.avi", "--start=6"], "clip.avi has 6 frames. Received: --start=6"),
    (["predict", "clip.avi", "--start=-7"], "clip.avi has 6 frames. Received: --start=-7"),
    (["predict", "clip.avi", "--output=out.avi"], "must end in .mp4 or .gif or .png. Received: --output=out.avi"),
    (["predict", "clip.avi", "--output=clip.avi/out.mp4"], "clip.avi is a file"),
    (["predict", "clip.avi", "--output=/proc/out.mp4"], "in the folder /proc"),
    (["predict", "film.mp4", "--output=./film.mp4"], "is the video itself and would be overwritten"),
    (["predict", "clip.avi", "--output=out.png", "--rate=5"], "--output=out.png and --rate=5"),
    (["predict", "clip.avi", "--output=out.png", "--scale=source"], "--output=out.png and --scale=source"),
    (["predict", "clip.avi", "--output=out.gif", "--only-prediction"], "writes an .mp4. Received: --output=out.gif"),
    (["predict", "clip.avi", "--model=hf://net"], "Expected a preset on the Hub, hf://user/name"),
    (
        ["predict", "clip.avi", "--model=other"],
        "There is no model 'other'. Expected moving-digits, moving-pictures, a .keras file",
    ),
    (["live", "--camera=no.avi"], "'no.avi', which does not exist"),
    (["live", "--output=out.gif"], "must end in .mp4"),
    (["live", "--follow=3"], "--follow is for files that grow. Received: --camera=0"),
    (["prepare", "nowhere"], "'nowhere', which does not exist"),
    (["prepare", "clip.avi"], "'clip.avi', which is a file"),
    (["prepare", ".", "--output=clip.avi"], "clip.avi is a file"),
    (["prepare", ".", "--group=a", "--test=a"], "not both"),
    (
        ["prepare", ".", "--dataset=kth", "--size=8x8", "--grey", "--seed=1"],
        "--size, --gray, --seed cannot be used with --dataset=kth, which is always prepared in the same way. Omit",
    ),
    (["prepare", ".", "--dataset=kth", "--test=a", "--group=b", "--rate=5"], "--test, --group, --rate cannot be used"),
    (
        ["prepare", ".", "--dataset=ucf101", "--test-fraction=0.2"],
        "--test-fraction cannot be used with --dataset=ucf101",
    ),
    (
        ["prepare", ".", "--protocol=paper", "--lists=."],
        "--protocol, --lists cannot be used with --dataset=videos. Omit",
    ),
    (["prepare", ".", "--dataset=ucf101", "--lists=lists"], "--lists goes with the protocols official-1 to official-3"),
    (
        ["prepare", ".", "--dataset=ucf101", "--protocol=official-2", "--seed=1"],
        "--seed with the protocol paper. Received: --protocol=official-2, --seed=1",
    ),
    (["train", "nowhere"], "'nowhere', which does not exist"),
    (["train", "."], "has no train.hdf5 and no test.hdf5"),
    (["train", "prepared", "--output=model.h5"], "must end in .keras. Received: --output=model.h5"),
    (["train", "prepared", "--output=blocked.keras"], "blocked-pictures is a file"),
    (["train", "prepared", "--output=clip.avi/model.keras"], "clip.avi is a file"),
    (["train", "prepared", "--output=/proc/model.keras"], "in the folder /proc"),
    (["train", "prepared"], "model.keras has no record of a training by `keras-frnn train`"),
    (["train", "prepared", "--output=begun.keras", "--steps=3"], "for 3 steps already. For more, pass --steps=1003"),
    (
        ["train", "prepared", "--output=begun.keras", "--network=paper"],
        "with --network=quick. Received: --network=paper",
    ),
    (["train", "prepared", "--output=begun.keras", "--mirror"], "with no --mirror. Received: --mirror"),
    (
        ["train", "prepared", "--output=begun.keras", "--horizon=5", "--batch=2"],
        "with --horizon=10. Received: --horizon=5",
    ),
    (["evaluate", "nowhere"], "'nowhere', which does not exist"),
    (["evaluate", "prepared", "--model=no.keras"], "There is no model 'no.keras'"),
    (["evaluate", "prepared", "--output=scores.txt"], "must end in .csv"),
    (["evaluate", "prepared", "--model=begun.keras", "--model=far.keras"], "with --frame-step=1 and --frame-step=4"),
    (["app", "--model=no.keras"], "There is no model 'no.keras'"),
    (["app", "--port=70000"], "up to 65535. Received: --port=70000"),
]


def test_refused_command_lines_do_not_load_keras(tmp_path):
    """All command lines run in one process, whose loaded modules are checked at the end."""
    write_clip(tmp_path / "clip.avi", frames=6)
    shutil.copy(tmp_path / "clip.avi", tmp_path / "film.mp4")
    for name in ("bad.avi", "prepared/train.hdf5", "prepared/test.hdf5", "blocked-pictures", "model.keras"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"nothing")
    for name, changed in ("begun", {}), ("far", {"frame_step": 4}):
        settings = {"command": "train", **before_keras.TRAINING, "network": "quick", "initial": "none", **changed}
        with zipfile.ZipFile(tmp_path / f"{name}.keras", "w") as archive:
            archive.writestr("run.json", json.dumps({"settings": settings, "iteration": 3}))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    code = """
import contextlib, io, json, sys, keras_frnn_command
for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stderr(io.StringIO()) as error:
        assert keras_frnn_command.main(arguments) == 1
    print(json.dumps(error.getvalue()))
assert not {"keras", "tensorflow", "jax", "torch"} & set(sys.modules)
"""
    arguments = json.dumps([arguments for arguments, _ in REFUSALS])
    paths = os.pathsep.join(map(str, (pathlib.Path(keras_frnn_command.__file__).parent, *sys.path)))
    done = subprocess.run(
        [sys.executable, "-c", code, arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for (arguments, message), error in zip(REFUSALS, map(json.loads, done.stdout.splitlines()), strict=True):
        assert message in error, (arguments, error)
        assert "Traceback" not in error
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_names_that_a_terminal_cannot_print(run, monkeypatch):
    write_clip("clip.avi", frames=3)
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    run("predict", "clip.avi", *DIGITS, "--output=видео.png", "--context=2", "--steps=1")
    print("━", end="")
    terminal.flush()
    assert terminal.buffer.getvalue().endswith(b"\n-")  # The line of Keras' progress bar.
    assert (
        terminal.buffer.getvalue()
        .decode("ascii")
        .splitlines()[1]
        .startswith("видео.png: frames of 32x32".encode("ascii", "backslashreplace").decode())
    )


def test_files_that_do_not_load(run, monkeypatch):
    """Errors without a message are named by their class."""

    def fail(*_, **__):
        raise ZeroDivisionError

    save_network("model.keras")
    monkeypatch.setattr(keras.saving, "load_model", fail)
    with pytest.raises(ValueError, match="model.keras is not a network that Keras loads: ZeroDivisionError"):
        networks.load_model("model.keras")


def test_unforeseen_errors_are_sentences_too(run, monkeypatch):
    def fail(_):
        raise RuntimeError("out of luck")

    write_clip("clip.avi", frames=1)
    monkeypatch.setattr(predict, "load_model", fail)
    assert run("predict", "clip.avi", code=1) == "\nkeras-frnn predict: RuntimeError: out of luck\n"


class TestVerdictByStep:
    def test_says_where_the_forecast_is_better(self):
        copied = np.array([0.1, 0.2, 0.4])
        errors = {"network": np.array([0.05, 0.2, 0.1]), "copy_last_frame": copied, "optical_flow": 2 * copied}
        lines = networks.verdict_by_step(errors).splitlines()
        assert lines[0] == "MSE 0.1167; copying the last given frame: 0.2333. The forecast is better than copying."
        assert [line.split() for line in lines[2:5]] == [
            ["step", "+1", "+2", "+3"],
            ["network", "0.50", "1.00", "0.25"],
            ["optical", "flow", "2.00", "2.00", "2.00"],
        ]
        assert lines[5:] == [
            "The forecast is better than copying at 2 of 3 steps, not at +2.",
            "The forecast is better than optical flow at every step.",
        ]

    def test_without_flow_on_a_still_video(self):
        still = networks.verdict_by_step({"network": np.array([0.1]), "copy_last_frame": np.zeros(1)})
        assert still.endswith("The forecast is not better than copying at any step.")
        assert "optical" not in still

    def test_many_steps_are_thinned_out(self):
        many = networks.verdict_by_step({"network": np.full(40, 0.1), "copy_last_frame": np.ones(40)})
        assert many.splitlines()[2].split()[1::9] == ["+1", "+40"]
