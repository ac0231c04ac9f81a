"""The command `keras-frnn`, as its user sees it: files, lines, exit codes."""

import itertools
import subprocess
import sys

import cv2
import keras
import numpy as np
import pytest
from clips import decoded, write_clip
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

import keras_frnn_command
from keras_frnn import command, datasets, models, video_source

pytestmark = pytest.mark.once


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Runs a command line in an empty folder; returns what it printed, after checking its exit code."""
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


class TestPredict:
    def test_beyond_the_end_of_the_clip(self, run, tmp_path):
        write_clip("clip.avi", frames=14)
        out = run("predict", "clip.avi", "--steps=6", "--output=out.mp4")
        assert "frames of 32x32, 10 given, 6 predicted, 4 of these beside the truth" in out
        assert "MSE" in out
        pages = decoded("out.mp4")
        assert len(pages) == 15 + 25  # The last of 16 stays for a second, at the clip's 25 frames a second.
        truth = pages[:, 60:180, 10:130].astype("int")
        # Where nobody knows the truth, there is a flat colour with a question mark.
        flat = [float((np.abs(page - np.median(page, axis=(0, 1))) < 8).mean()) for page in truth[[13, 14, 15]]]
        assert flat[0] < 0.5 < 0.9 < min(flat[1:])
        assert {path.name for path in tmp_path.iterdir()} == {"clip.avi", "out.mp4"}

    def test_whole_clip_given_needs_no_future(self, run):
        write_clip("clip.avi", frames=7)
        assert "7 given, 3 predicted, 0 of these" in run("predict", "clip.avi", "--steps=3", "--output=out.gif")
        with Image.open("out.gif") as gif:
            assert gif.n_frames == 10
        assert "5 given, 10 predicted, 0 of" in run("predict", "clip.avi", "--start=-5", "--output=strip.png")
        with Image.open("strip.png") as picture:
            assert picture.width > 5 * picture.height

    def test_frames_are_those_of_the_clip(self, run):
        write_clip("clip.avi", size=(64, 48), frames=12, color=True)
        video = video_source.Video("clip.avi")
        frames = video.read((48, 64, 3), 2, 4, 2)
        expected = decoded("clip.avi")[2:10:2, ..., ::-1] / 127.5 - 1
        np.testing.assert_allclose(frames, expected, atol=0.02)
        last = video_source.Video("clip.avi").read((48, 64, 3), -3, 9)
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
        np.testing.assert_allclose(command.forecast(network, frames, 4, 2)[2], expected, atol=1e-6)

    def test_presets_in_folders(self, run):
        network = save_network()
        network.save_to_preset("preset")
        np.testing.assert_array_equal(command.load_model("preset").get_weights()[0], network.get_weights()[0])
        assert command.load_model("moving-digits").horizon == 10

    def test_errors(self, run, tmp_path):
        write_clip("clip.avi", frames=6)
        (tmp_path / "bad.avi").write_bytes(b"no video")
        (tmp_path / "bad.keras").write_bytes(b"no network")
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save("other.keras")
        save_network("five.keras", (None, None, 5))
        before = set(tmp_path.iterdir())
        for arguments, message in [
            (["no.avi"], "Expected a video file. Received: 'no.avi', which does not exist"),
            (["."], "which is a folder"),
            (["bad.avi"], "bad.avi does not decode"),
            (["clip.avi", "--model=other"], "There is no model 'other'. Expected moving-digits, a .keras file"),
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


class TestLive:
    def test_forecast_beside_each_frame(self, run, tmp_path):
        write_clip("clip.avi", frames=5)
        out = run("live", "--camera=clip.avi", "--headless", "--output=out.mp4", "--steps=3")
        assert "5 frames of 32x32" in out
        assert "frames a second" in out
        network = command.load_model("moving-digits")
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
        page = command.live_page
        monkeypatch.setattr(command, "live_page", lambda *given: drawn.append(given[1]) or page(*given))
        arguments = ["--camera=clip.avi", "--model=model.keras", "--headless", "--every=2"]
        assert "6 frames of 16x24" in run("live", *arguments, "--frames=6")
        assert [forecast is None for forecast in drawn] == [True, *[False] * 5]
        assert [a is b for a, b in itertools.pairwise(drawn)] == [False, True, False, True, False]
        assert drawn[-1].shape == (2, 16, 24, 3)

    def test_a_file_that_grows(self, run, tmp_path):
        """Frames that come after the end was read are taken, each once, also one of which half was there before."""
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

        def interrupted(frame, shape, seen=[]):  # noqa: B006
            seen.append(frame)
            if len(seen) == 4:
                raise KeyboardInterrupt
            return real(frame, shape)

        monkeypatch.setattr(command, "resize", interrupted)
        assert "3 frames" in run("live", "--camera=clip.avi", "--headless", "--output=out.mp4", "--steps=1")
        assert len(decoded("out.mp4")) == 3

    def test_interrupted_before_the_first_frame(self, run, tmp_path, monkeypatch):
        write_clip("clip.avi", frames=3)
        (tmp_path / "out.mp4").write_bytes(b"of an earlier run")

        def interrupted(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(command, "resize", interrupted)
        error = run("live", "--camera=clip.avi", "--headless", "--output=out.mp4", code=1)
        assert "out.mp4 is not written: there was no frame" in error
        assert {path.name for path in tmp_path.iterdir()} == {"clip.avi", "out.mp4"}
        assert (tmp_path / "out.mp4").read_bytes() == b"of an earlier run"

    def test_camera_in_a_window_until_it_is_closed(self, run, monkeypatch):
        """The figure of a backend without a screen stands in for the window, a file for the camera."""
        monkeypatch.setenv("MPLBACKEND", "agg")
        write_clip("clip.avi", frames=6)
        real, drawn = cv2.VideoCapture, []
        monkeypatch.setattr(cv2, "VideoCapture", lambda source, *how: real({0: "clip.avi"}.get(source, source), *how))
        monkeypatch.setattr(command, "window_pyplot", lambda: pyplot)
        monkeypatch.setattr(pyplot, "show", lambda block: None)

        def closed_after_third(self, timeout):
            self.draw()
            drawn.append(np.asarray(self.buffer_rgba())[..., :3])
            if len(drawn) == 3:
                pyplot.close(self.figure)

        monkeypatch.setattr(FigureCanvasAgg, "start_event_loop", closed_after_third)
        assert "3 frames of 32x32" in run("live", "--camera=0", "--steps=1", "--output=out.mp4")
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
        monkeypatch.setitem(command._NETWORKS, "quick", [("conv", 2, 3), ("pool", 4), ("recurrent", 3, 3)])
        windows = ["--context=3", "--horizon=2"]
        arguments = ["train", "prepared", *windows, "--save-every=2"]
        assert "Written to model.keras" in run(*arguments, "--steps=3")
        assert len(list((tmp_path / "model-pictures").glob("*.png"))) == 2
        first = command.load_model("model.keras", compile=True)
        assert int(first.optimizer.iterations) == 3
        assert first.context_shape[2:] == (12, 16, 3)

        # It goes on with the sequences that come next, and with the optimizer's state.
        starts, make = [], datasets.video_folder
        monkeypatch.setattr(
            datasets, "video_folder", lambda *given, **by: starts.append(by.get("start")) or make(*given, **by)
        )
        assert "model.keras has 3 training steps" in run(*arguments, "--steps=5")
        assert [start for start in starts if start is not None] == [3 * 2]
        assert int(command.load_model("model.keras", compile=True).optimizer.iterations) == 5
        assert "model.keras is trained: it has 5 steps" in run(*arguments, "--steps=5", code=1)
        assert "it has --horizon=2. Choose another" in run(*arguments[:3], "--horizon=1", "--steps=9", code=1)

        out = run("evaluate", "prepared", *windows, "--sequences=3", "--output=scores.csv")
        assert "over 3 test sequences" in out
        rows = [row.split(",")[:2] for row in (tmp_path / "scores.csv").read_text().splitlines()]
        assert rows[1:] == [[name, step] for name in ("model.keras", "copy_last_frame") for step in ("1", "2")]
        assert "frames of 12x16" in run("predict", "videos/0.avi", "--model=model.keras", "--output=out.png")

        for wrong, message in [
            (["train", "nowhere", "--output=new.keras"], "There is no file"),
            (["train", "prepared", "--output=model.h5"], "must end in .keras"),
            (["train", "prepared", "--output=new.keras", "--context=50"], "has no video of 60 frames"),
            (["evaluate", "prepared", "--model=moving-digits", *windows], "built for frames of 1 channel"),
            (["evaluate", "prepared", "--model=no.keras"], "There is no model 'no.keras'"),
            (["evaluate", "prepared", "--output=scores.txt"], "must end in .csv"),
        ]:
            assert message in run(*wrong, code=1), wrong

    def test_bad_videos_are_named(self, run, tmp_path):
        write_clip(tmp_path / "videos" / "good.avi", frames=4)
        (tmp_path / "videos" / "bad.avi").write_bytes(b"no video")
        arguments = ["prepare", "videos", "--size=8x8", "--workers=1", "--grey"]
        assert "bad.avi: does not decode" in run(*arguments, code=1)
        assert "accepted: bad.avi: does not decode" in run(*arguments, "--accept-bad-videos")
        assert "There is no video in" in run("prepare", "prepared", code=1)


def test_command_line(capsys):
    for arguments, message in [
        ([], "required: COMMAND"),
        (["predict"], "required: CLIP"),
        (["predict", "clip.avi", "--size=8"], "expected HEIGHTxWIDTH, such as 64x80, not '8'"),
        (["predict", "clip.avi", "--steps=0"], "expected a positive integer, not '0'"),
        (["predict", "clip.avi", "--rate=nan"], "expected a positive number, not 'nan'"),
    ]:
        with pytest.raises(SystemExit) as exit:
            keras_frnn_command.main(arguments)
        assert exit.value.code == 2
        assert message in capsys.readouterr().err


def test_help_fits_a_screen_and_loads_no_keras(capsys):
    (actions,) = (action for action in keras_frnn_command._parser()._actions if action.dest == "command")
    for arguments in ([], *([name] for name in actions.choices)):
        with pytest.raises(SystemExit):
            keras_frnn_command.main([*arguments, "--help"])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 100
    code = (
        "import sys, keras_frnn_command as c; c._parser(); sys.exit(bool({'keras', 'numpy', 'cv2'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unforeseen_errors_are_sentences_too(run, monkeypatch):
    def fail(_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr(command, "load_model", fail)
    assert run("predict", "clip.avi", code=1) == "\nkeras-frnn predict: RuntimeError: out of luck\n"
