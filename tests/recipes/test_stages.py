"""The four stages on networks that train in seconds."""

import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import zipfile

import keras
import mmnist_frnn
import numpy as np
import pytest
import run_folder
import running
import stages
import ucf101_frnn

from keras_frnn import datasets, evaluation, files, models

RECIPES = pathlib.Path(stages.__file__).parent
TINY = stages.replace(
    mmnist_frnn.QUICK,
    topology=(("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3), ("recurrent", 3, 3)),
    iterations=6,
    checkpoint_every=2,
    ema=0.9,
    size=16,
    context=2,
    horizon=2,
    test_sequences=25,
    samples=4,
)
LADDER = stages.replace(
    TINY, title="RLadder", model="LadderRNN", topology=(("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3))
)
LADDER = dataclasses.replace(LADDER, options={})


def run(folder, *argv, experiment=TINY, recipe="tiny"):
    stages.main(f"recipes/{recipe}.py", argv=[*argv, f"--output={folder}"], paper=experiment)


def fails(folder, *argv, **kwargs) -> str:
    with pytest.raises(SystemExit) as error:
        run(folder, *argv, **kwargs)
    assert error.value.code not in (None, 0)
    return str(error.value.code)


def weights(folder):
    return run_folder.load(folder / "model.keras", compile=False)[0].get_weights()


def assert_same_weights(one, other):
    for a, b in zip(one, other, strict=True):
        if keras.backend.backend() == "jax":  # It compiles other programs for a network that was loaded.
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run of one checkpoint after the other, trained alone."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    run(folder, "train")
    return folder


@pytest.fixture
def warned(monkeypatch):
    texts = []
    monkeypatch.setattr(run_folder.logging, "warning", lambda text, *values: texts.append(text % values))
    return texts


def test_stages_one_by_one(tmp_path, capsys, monkeypatch):
    run(tmp_path / "run", "train")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"settings.json", "checkpoints", "model.keras"}
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert kept == ["00000002.keras", "00000004.keras", "00000006.keras"]
    run(tmp_path / "run", "evaluate")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    data = dict(digits="mnist-5k", size=16, context=2, horizon=2, speed=0.05, sequences=25)
    model = keras.saving.load_model(tmp_path / "run" / "model.keras")
    scores = evaluation.evaluate({"fRNN": model}, datasets.moving_mnist("test", **data, batch_size=5))
    for metric in evaluation.METRICS:
        np.testing.assert_allclose(results["scores"]["values"]["fRNN"][metric], scores["fRNN"][metric], rtol=1e-4)
    future = np.concatenate([future for _, future in datasets.moving_mnist("test", **data)])
    assert results["test_mse"]["black_frame"] == pytest.approx(np.mean(((future + 1) / 2) ** 2), rel=1e-5)
    printed = capsys.readouterr().out
    assert "iteration 6 of 6: loss" in printed
    assert "published rows are on other data" in printed

    with np.load(tmp_path / "run" / "samples.npz") as file:
        samples = dict(file)
    assert len(samples["numbers"]) == 4
    np.testing.assert_array_equal(samples["future"], future[samples["numbers"]])
    np.testing.assert_allclose(samples["fRNN"], model.forecast(samples["context"]), atol=1e-5)
    # What evaluate has predicted is not predicted again: of the network, analyse runs the truncated one alone.
    depths = []
    monkeypatch.setattr(models.FoldedRNN, "forecast", lambda self, context, *args, **kwargs: (
        depths.append(len(self.stack)) or np.zeros_like(samples["fRNN"])))  # fmt: skip
    run(tmp_path / "run", "analyse")
    assert depths == [3]
    monkeypatch.undo()
    drawn = {"curves.png", "strip.png", "animation.gif", "samples", "layer_removal.png", "layer_removal.csv"}
    assert drawn <= {path.name for path in (tmp_path / "run").iterdir()}
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 4

    monkeypatch.setattr(evaluation, "evaluate", None)
    run(tmp_path / "run", "predict", "--count=2")
    frames = [np.load(path) for path in sorted((tmp_path / "run" / "predictions").glob("*.npy"))]
    context = np.concatenate([context for context, _ in datasets.moving_mnist("test", **data)])[:2]
    np.testing.assert_allclose(np.stack(frames), model.forecast(context), atol=1e-5)
    assert len(list((tmp_path / "run" / "predictions").glob("*.png"))) == 2
    (tmp_path / "run" / "samples.npz").unlink()
    assert "Run evaluate first" in fails(tmp_path / "run", "analyse")
    assert "Run the stage train first" in fails(tmp_path / "none", "evaluate")
    assert not (tmp_path / "none").exists()


def test_runs_on_the_same_data_are_compared(tmp_path, warned, undisturbed):
    (tmp_path / "frnn").symlink_to(undisturbed)
    run(tmp_path / "other", "train", "--speed=0.06", "--iterations=2", recipe="other")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "results.json").write_text("{")
    (foreign / "model.keras").write_bytes((undisturbed / "model.keras").read_bytes()[:999])
    run(tmp_path / "rladder", "train", "evaluate", "--iterations=2", experiment=LADDER, recipe="rladder")
    results = json.loads((tmp_path / "rladder" / "results.json").read_text())
    assert set(results["scores"]["values"]) == {"RLadder", "fRNN", "copy_last_frame"}
    assert [text for text in warned if f"{foreign / 'model.keras'} is damaged" in text]
    run(tmp_path / "seed1", "train", "evaluate", "--iterations=2", "--seed=1")
    results = json.loads((tmp_path / "seed1" / "results.json").read_text())
    assert set(results["test_mse"]) == {"fRNN", "fRNN (frnn)", "RLadder", "copy_last_frame", "black_frame"}


def test_published_rows_are_for_the_published_data():
    store = {"format": {"protocol": "paper, seed=0"}, "source_videos": 13_320}

    def published(experiment, **test):
        data = {"train": store, "test": {**store, **test}}
        settings = {"experiment": dataclasses.asdict(experiment), "data": data}
        return running._published(experiment, run_folder.as_json(settings), ucf101_frnn.PAPER)[0]

    assert published(ucf101_frnn.PAPER) == "ucf101"
    assert published(ucf101_frnn.SMALL) == "ucf101"
    assert published(stages.replace(ucf101_frnn.PAPER, protocol="official-1")) is None
    assert published(stages.replace(ucf101_frnn.PAPER, frame_step=1)) is None
    assert published(ucf101_frnn.PAPER, source_videos=8) is None


def test_stopped_by_a_signal(tmp_path, monkeypatch, undisturbed, capsys):
    end = running._Checkpoints.on_train_batch_end

    def stop_in_third(self, batch, logs=None):
        if self.iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        end(self, batch, logs)

    monkeypatch.setattr(running._Checkpoints, "on_train_batch_end", stop_in_third)
    assert fails(tmp_path, "train") == "143"
    monkeypatch.undo()
    run(tmp_path, "train")
    assert "Going on from iteration 3 of 6" in capsys.readouterr().out
    assert_same_weights(weights(tmp_path), weights(undisturbed))


def test_bad_checkpoints_are_passed_over(tmp_path, warned, undisturbed, monkeypatch):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    whole = {path.name: path.read_bytes() for path in (undisturbed / "checkpoints").iterdir()}
    (folder / "00000002.keras").write_bytes(whole["00000002.keras"])
    (folder / "00000004.keras").write_bytes(whole["00000004.keras"][:5000])
    flipped = bytearray(whole["00000006.keras"])
    flipped[len(flipped) // 3] ^= 0xFF
    (folder / "00000006.keras").write_bytes(flipped)
    run(tmp_path, "train")
    assert [text.split(" is damaged")[0][-14:] for text in warned if "passed over" in text] == [
        "00000006.keras",
        "00000004.keras",
    ]
    assert_same_weights(weights(tmp_path), weights(undisturbed))
    # So is a trained network; its weights are in the last checkpoint.
    (tmp_path / "model.keras").write_bytes(b"")
    run(tmp_path, "train")
    assert_same_weights(weights(tmp_path), weights(undisturbed))


@pytest.mark.parametrize("content", [None, "{", '{"editor": 1}', "[]"])
def test_settings_that_are_lost(tmp_path, warned, undisturbed, content):
    (tmp_path / "model.keras").write_bytes((undisturbed / "model.keras").read_bytes())
    path = tmp_path / "settings.json"
    if content is not None:
        path.write_text(content)
    run(tmp_path, "train")
    assert [text for text in warned if f"{path} is " in text]
    assert "iterations: 6 in the folder, 8 now" in fails(tmp_path, "train", "--iterations=8")


def test_another_run_is_refused_field_by_field(tmp_path, undisturbed):
    message = fails(
        undisturbed, "--batch_size=3", "--digits=mnist-5k", "--context=3", "--topology=(('recurrent',2,3),)"
    )
    assert "    batch_size: 2 in the folder, 3 now\n" in message
    assert "    windows.context: 2 in the folder, 3 now\n" in message
    assert "    topology: [['conv', 2, 3]," in message
    assert "digits" not in message
    assert "seed: 0 in the folder, 4 now" in fails(undisturbed, "evaluate", "--seed=4")
    (tmp_path / "thesis.tex").write_text("")
    assert "holds no run of a recipe, but thesis.tex" in fails(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex"}
    with files.held(undisturbed):
        assert "Another process is working in" in fails(undisturbed)


@pytest.mark.parametrize(
    ("rate", "every", "iterations", "message"),
    [
        (1e38, 3, 3, "The loss became nan in iteration 2. There is no checkpoint yet."),
        (1e39, 1, 2, "In iteration 1, weights are NaN or infinite"),
        (1e39, 2, 1, "In iteration 1, weights are NaN or infinite"),
    ],
)
def test_nan(tmp_path, rate, every, iterations, message):
    flags = (f"--learning_rate={rate}", f"--checkpoint_every={every}", f"--iterations={iterations}")
    assert message in fails(tmp_path, "train", *flags)
    assert not list(tmp_path.rglob("0*.keras")) + list(tmp_path.glob("*.keras"))


def test_full_disk(tmp_path, monkeypatch, undisturbed):
    write = zipfile.ZipFile.writestr

    def full(self, name, text):
        if name == "run.json" and '"iteration": 4' in text:
            raise OSError(28, "No space left on device")
        write(self, name, text)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    assert "00000004.keras cannot be written: [Errno 28] No space left" in fails(tmp_path, "train")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["00000002.keras"]
    monkeypatch.undo()
    run(tmp_path, "train")
    assert_same_weights(weights(tmp_path), weights(undisturbed))


def test_initial_weights(tmp_path, undisturbed):
    run(
        tmp_path / "b", "train", f"--initial_weights={undisturbed}", "--iterations=1", "--learning_rate=0", "--ema=none"
    )
    assert_same_weights(weights(tmp_path / "b"), weights(undisturbed))
    flags = (f"--initial_weights={undisturbed}", "--topology=(('conv',2,3),('recurrent',3,3))")
    message = fails(tmp_path / "c", "train", *flags)
    assert "Expected: FoldedRNN, conv(2, 3) recurrent(3, 3), 1 channel(s)." in message
    assert "with FoldedRNN, conv(2, 3) pool(2) recurrent(3, 3) recurrent(3, 3), 1 channel(s)" in message


def test_missing_device(tmp_path):
    assert "There is no device 'gpu:9'" in fails(tmp_path, "train", "--device=gpu:9")


KILLED = """
import os, signal, sys, zipfile
sys.path.insert(0, {tests!r})
import test_stages, run_folder
replace, saved = os.replace, []
def killed(source, target):
    if str(source).endswith("saving.keras"):
        saved.append(target)
        if len(saved) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
run_folder.os.replace = killed
test_stages.run(sys.argv[1], "train")
"""


@pytest.mark.once
def test_killed_while_it_saves(tmp_path, undisturbed, capsys):
    code = KILLED.format(tests=str(pathlib.Path(__file__).parent))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    run(tmp_path, "train")
    assert "Going on from iteration 2 of 6" in capsys.readouterr().out
    assert_same_weights(weights(tmp_path), weights(undisturbed))


@pytest.mark.slow
def test_killed_twenty_times(tmp_path):
    """At random moments, of which some are while it imports and some while it saves."""
    generator = np.random.default_rng(0)
    flags = ["--iterations=200", "--checkpoint_every=3", "--size=16", "--topology=(('conv',2,3),('recurrent',3,3))"]
    command = [sys.executable, str(RECIPES / "mmnist_frnn.py"), "train", *flags]
    subprocess.run([*command, f"--output={tmp_path / 'undisturbed'}"], check=True)
    lost = 0
    for _ in range(20):
        process = subprocess.Popen([*command, f"--output={tmp_path / 'killed'}"])
        checkpoints = tmp_path / "killed" / "checkpoints"
        before = max((int(path.stem) for path in checkpoints.glob("0*.keras")), default=0)
        while process.poll() is None and not any(int(p.stem) > before for p in checkpoints.glob("0*.keras")):
            pass
        try:
            process.wait(generator.uniform(0, 1.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            lost += 1
    assert lost
    subprocess.run([*command, f"--output={tmp_path / 'killed'}"], check=True)
    assert_same_weights(weights(tmp_path / "killed"), weights(tmp_path / "undisturbed"))


@pytest.mark.once
@pytest.mark.parametrize("recipe", [path.stem for path in RECIPES.glob("*_*nn.py")] + ["mmnist_rladder"])
def test_help_needs_no_keras(recipe):
    code = (
        f"import runpy, sys; sys.argv = ['{recipe}', '--help']\n"
        f"try: runpy.run_path({str(RECIPES / recipe)!r} + '.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'keras', 'numpy', 'tensorflow'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(RECIPES)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    flags = set(re.findall(r"^  --(\w+)", done.stdout, flags=re.MULTILINE))
    assert {"iterations", "preset", "context"} <= flags
    assert ("digits" in flags) == recipe.startswith("mmnist")
    assert ("frame_step" in flags) != recipe.startswith("mmnist")
    assert "[paper 500,000, small 60,000, quick" in done.stdout


@pytest.mark.once
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--foo=1"], "unrecognized arguments: --foo=1"),
        (["quick"], "there is no stage quick"),
        (["--batch_size=x"], "--batch_size: must be INT. Received: 'x'"),
        (["--batch_size=0"], "--batch_size must be a positive integer. Received: 0"),
        (["--seed=1", "--seed=2"], "--seed is given twice, as 1 and as 2"),
        (["--learning_rate=nan"], "--learning_rate: must be FLOAT. Received: 'nan'"),
        (["--loss=l2"], "--loss must be one of mae, mse, FrameCrossentropy. Received: 'l2'"),
        (["--topology=7"], "--topology: must be TUPLE. Received: '7'"),
        (["--remat=perhaps"], "--remat: must be BOOL"),
        (["--mirror"], "unrecognized arguments: --mirror"),
        (["--show"], "--show is for the stage predict"),
    ],
)
def test_bad_flags(flags, message, tmp_path, capsys):
    assert fails(tmp_path / "run", *flags) == "2"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--size=10", "--digit_size=3"], ""),
        (["--model=LadderRNN"], "--model=LadderRNN does not go with the other flags of this recipe"),
        (["--kernel_initializer=foo"], "--kernel_initializer must be the name of a class in keras_frnn.layers"),
        (["--size=15"], "Frame height 15 does not fit"),
        (["--test_array=none.npy", "--digits=mnist"], "There is no file none.npy"),
        (["--initial_weights=nowhere"], "There is no trained network in nowhere"),
    ],
)
def test_flags_that_do_not_go_together(flags, message, tmp_path):
    assert message in fails(tmp_path / "run", "train", *flags)
