"""The four stages on networks that train in seconds."""

import dataclasses
import importlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import keras
import matplotlib
import mmnist_frnn
import numpy as np
import pytest
import ucf101_frnn

from keras_frnn import datasets, evaluation, files, models
from keras_frnn.datasets.moving_mnist import MovingDigits
from keras_frnn.experiments import evaluating, run_folder, training
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import replace
from keras_frnn.experiments.run_folder import RunFolder

ROOT = pathlib.Path(__file__).parent.parent.parent
RECIPES = ROOT / "recipes"
TINY = replace(
    mmnist_frnn.QUICK,
    topology=(("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3), ("recurrent", 3, 3)),
    iterations=6,
    checkpoint_every=2,
    ema=0.9,
    size=16,
    context=2,
    horizon=2,
    test_sequences=25,
    samples=2,
)
LADDER = replace(
    TINY,
    title="RLadder",
    model="LadderRNN",
    update_bias=None,
    topology=(("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3)),
)


def run(folder, *argv, experiment=TINY, recipe="tiny"):
    main(f"recipes/{recipe}.py", argv=[*argv, f"--output={folder}"], paper=experiment)


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
    assert len(samples["numbers"]) == 2
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
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 2

    monkeypatch.setattr(evaluation, "evaluate", None)
    run(tmp_path / "run", "predict", "--count=2")
    frames = [np.load(path) for path in sorted((tmp_path / "run" / "predictions").glob("*.npy"))]
    context = np.concatenate([context for context, _ in datasets.moving_mnist("test", **data)])[:2]
    np.testing.assert_allclose(np.stack(frames), model.forecast(context), atol=1e-5)
    assert len(list((tmp_path / "run" / "predictions").glob("*.png"))) == 2
    matplotlib.use("agg")
    assert "There is no window to show pictures in" in fails(tmp_path / "run", "predict", "--show")
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    (tmp_path / "run" / "results.json").write_text(json.dumps({**results, "iteration": 4}))
    assert "is of iteration 4. Run evaluate again" in fails(tmp_path / "run", "analyse")
    (tmp_path / "run" / "samples.npz").unlink()
    assert "Run evaluate first" in fails(tmp_path / "run", "analyse")
    assert "Run the stage train first" in fails(tmp_path / "none", "evaluate")
    assert not (tmp_path / "none").exists()


def test_data_that_goes_away_ends_in_a_sentence(tmp_path, monkeypatch):
    made = MovingDigits.__call__

    def third_batch_fails(self, number):
        if number[0] >= 2 * TINY.training.batch_size:
            raise ValueError("some.hdf5 cannot be read. Put it back.")
        return made(self, number)

    monkeypatch.setattr(MovingDigits, "__call__", third_batch_fails)
    assert fails(tmp_path / "run", "train").endswith("some.hdf5 cannot be read. Put it back.")


def copy(network, folder, **flags):
    """A run with the network of another one, and with other flags."""
    folder.mkdir()

    def change(record):
        for part in record["settings"]["experiment"].values():
            if isinstance(part, dict):
                part |= {name: value for name, value in flags.items() if name in part}

    rewrite(network, folder / "model.keras", change)


def rewrite(network, path, change):
    """Copies a network's file with another record."""
    with zipfile.ZipFile(network) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "run.json":
                record = json.loads(content)
                change(record)
                content = json.dumps(record)
            new.writestr(name, content)


@pytest.mark.once
def test_runs_on_the_same_data_are_compared(tmp_path, warned, undisturbed):
    network = undisturbed / "model.keras"
    copy(network, tmp_path / "a")
    copy(network, tmp_path / "b")
    copy(network, tmp_path / "faster", speed=0.06)
    copy(network, tmp_path / "longer", horizon=3)
    foreign = tmp_path / "foreign" / "model.keras"
    foreign.parent.mkdir()
    foreign.write_bytes(network.read_bytes()[:999])
    (tmp_path / "a" / "results.json").write_text("{")
    run(tmp_path / "rladder", "train", "evaluate", "--iterations=1", "--test_sequences=3", experiment=LADDER)
    scores = json.loads((tmp_path / "rladder" / "results.json").read_text())["scores"]["values"]
    assert set(scores) == {"RLadder", "copy_last_frame"}  # On other test sequences.
    for name in ("a", "b"):
        shutil.rmtree(tmp_path / name)
        copy(network, tmp_path / name, test_sequences=3)
    run(tmp_path / "rladder", "evaluate", experiment=LADDER)
    scores = json.loads((tmp_path / "rladder" / "results.json").read_text())["scores"]["values"]
    assert set(scores) == {"RLadder", "fRNN", "fRNN (b)", "copy_last_frame"}
    assert scores["fRNN"] == scores["fRNN (b)"]
    assert [text for text in warned if f"{foreign} is damaged" in text]


@pytest.mark.once
def test_published_rows_are_for_the_published_data():
    store = {"format": {"protocol": "paper, seed=0"}, "source_videos": 13_320}

    def published(experiment, **test):
        data = {"train": store, "test": {**store, **test}}
        settings = {"experiment": dataclasses.asdict(experiment), "data": data}
        return evaluating._published(experiment, run_folder.as_json(settings), ucf101_frnn.PAPER)[0]

    assert published(ucf101_frnn.PAPER) == "ucf101"
    assert published(ucf101_frnn.SMALL) == "ucf101"
    assert published(replace(ucf101_frnn.PAPER, protocol="official-1")) is None
    assert published(replace(ucf101_frnn.PAPER, frame_step=1)) is None
    assert published(ucf101_frnn.PAPER, source_videos=8) is None


def test_stopped_by_a_signal(tmp_path, monkeypatch, undisturbed, capsys):
    end = training.Checkpoints.on_train_batch_end

    def stop_in_third(self, batch, logs=None):
        if self.iteration == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        end(self, batch, logs)

    monkeypatch.setattr(training.Checkpoints, "on_train_batch_end", stop_in_third)
    assert fails(tmp_path, "train") == "143"
    monkeypatch.undo()
    run(tmp_path, "train")
    assert "Going on from iteration 3 of 6" in capsys.readouterr().out
    assert_same_weights(weights(tmp_path), weights(undisturbed))


@pytest.mark.once
def test_bad_checkpoints_are_skipped(tmp_path, warned, undisturbed, monkeypatch):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    whole = {path.name: path.read_bytes() for path in (undisturbed / "checkpoints").iterdir()}
    (folder / "00000002.keras").write_bytes(whole["00000002.keras"])
    (folder / "00000004.keras").write_bytes(whole["00000004.keras"][:5000])
    flipped = bytearray(whole["00000006.keras"])
    flipped[len(flipped) // 3] ^= 0xFF
    (folder / "00000006.keras").write_bytes(flipped)
    run(tmp_path, "train")
    assert [text.split(" is damaged")[0][-14:] for text in warned if "skipped" in text] == [
        "00000006.keras",
        "00000004.keras",
    ]
    assert_same_weights(weights(tmp_path), weights(undisturbed))
    # So is a damaged model.keras; its weights are in the last checkpoint.
    (tmp_path / "model.keras").write_bytes(b"")
    run(tmp_path, "train")
    assert_same_weights(weights(tmp_path), weights(undisturbed))


@pytest.mark.once
@pytest.mark.parametrize("content", [None, "{", '{"editor": 1}', "[]"])
def test_settings_that_are_lost(tmp_path, warned, undisturbed, content):
    (tmp_path / "model.keras").write_bytes((undisturbed / "model.keras").read_bytes())
    path = tmp_path / "settings.json"
    if content is not None:
        path.write_text(content)
    run(tmp_path, "train")
    assert [text for text in warned if f"{path} is " in text]
    assert "iterations: 6 in the folder, 8 now" in fails(tmp_path, "train", "--iterations=8")


@pytest.mark.once
def test_another_run_is_refused_field_by_field(tmp_path, undisturbed):
    message = fails(
        undisturbed, "--batch_size=3", "--digits=mnist-5k", "--context=3", "--topology=(('recurrent',2,3),)"
    )
    assert "    batch_size: 2 in the folder, 3 now\n" in message
    assert "    context: 2 in the folder, 3 now\n" in message
    assert "    topology: [['conv', 2, 3]," in message
    assert "digits" not in message
    assert "seed: 0 in the folder, 4 now" in fails(undisturbed, "evaluate", "--seed=4")
    (tmp_path / "thesis.tex").write_text("")
    assert "holds no run of an experiment, but thesis.tex" in fails(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex"}
    with files.held(undisturbed):
        assert "Another process is working in" in fails(undisturbed)


@pytest.mark.once
def test_more_iterations_at_another_rate(tmp_path, capsys):
    """Where the rate does not fall, nothing that was done depends on how long the training is to be."""
    experiment = replace(TINY, decay=None, ema=None)
    run(tmp_path / "six", "train", experiment=experiment)
    run(tmp_path / "six_more", "train", "--iterations=4", experiment=experiment)
    run(tmp_path / "six_more", "train", experiment=experiment)
    assert "Going on from iteration 4 of 6." in capsys.readouterr().out
    assert_same_weights(weights(tmp_path / "six_more"), weights(tmp_path / "six"))
    run(tmp_path / "six_more", "train", "--iterations=7", "--learning_rate=0", experiment=experiment)
    assert_same_weights(weights(tmp_path / "six_more"), weights(tmp_path / "six"))
    stored = run_folder.stored_flags(json.loads((tmp_path / "six_more" / "settings.json").read_text()))
    assert (stored["iterations"], stored["learning_rate"]) == (7, 0)
    # Fewer are had already.
    run(tmp_path / "six_more", "train", "--iterations=5", experiment=experiment)
    assert "model.keras has had its 7 iterations." in capsys.readouterr().out


@pytest.mark.once
def test_nan_loss(tmp_path):
    message = fails(tmp_path, "train", "--learning_rate=1e38", "--checkpoint_every=3")
    assert "The loss became nan in iteration 2. There is no checkpoint yet." in message
    assert not list(tmp_path.rglob("*.keras"))


def test_nan_weights_of_the_last_step(tmp_path, monkeypatch):
    save = training.Checkpoints._save

    def save_nan(self, loss):
        self.model.trainable_variables[0].assign(np.full(self.model.trainable_variables[0].shape, np.nan))
        save(self, loss)

    monkeypatch.setattr(training.Checkpoints, "_save", save_nan)
    assert "In iteration 1, weights are NaN or infinite: " in fails(tmp_path, "train", "--iterations=1")
    assert not list(tmp_path.rglob("*.keras"))


@pytest.mark.once
def test_full_disk(tmp_path, monkeypatch):
    write = zipfile.ZipFile.writestr

    def full(self, name, text):
        if name == "run.json" and '"iteration": 4' in text:
            raise OSError(28, "No space left on device")
        write(self, name, text)

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    assert "00000004.keras cannot be written: [Errno 28] No space left" in fails(tmp_path, "train")
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["00000002.keras"]
    run_folder.load(tmp_path / "checkpoints" / "00000002.keras", compile=True)


@pytest.mark.once
def test_initial_weights(tmp_path, undisturbed):
    run(
        tmp_path / "b", "train", f"--initial_weights={undisturbed}", "--iterations=1", "--learning_rate=0", "--ema=none"
    )
    assert_same_weights(weights(tmp_path / "b"), weights(undisturbed))
    flags = (f"--initial_weights={undisturbed}", "--topology=(('conv',2,3),('recurrent',3,3))")
    message = fails(tmp_path / "c", "train", *flags)
    assert f"Training cannot start from {undisturbed}. Layer 2 cannot start from the source's." in message
    assert "Expected: FoldedMaxPooling2D(size 2x2). Received: FoldedConvGRU(3 filters, 3x3)." in message


def test_devices(tmp_path):
    run(tmp_path / "cpu", "train", "--device=cpu:0", "--iterations=1")
    for missing in "gpu:9", "cpu:9":
        assert f"There is no device '{missing}'" in fails(tmp_path / "none", "train", f"--device={missing}")
        assert not (tmp_path / "none").exists()


KILLED = """
import os, signal, sys, zipfile
sys.path.insert(0, {tests!r})
import test_running
from keras_frnn.experiments import run_folder
replace, saved = os.replace, []
def killed(source, target):
    if str(source).endswith("saving.keras"):
        saved.append(target)
        if len(saved) == 2:
            os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
run_folder.os.replace = killed
test_running.run(sys.argv[1], "train")
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
    """At random moments after its first new checkpoint, so that it gets on."""
    generator = np.random.default_rng(0)
    flags = ["--iterations=800", "--checkpoint_every=3", "--size=16", "--topology=(('conv',2,3),('recurrent',3,3))"]
    command = [sys.executable, str(RECIPES / "mmnist_frnn.py"), "train", *flags]
    subprocess.run([*command, f"--output={tmp_path / 'undisturbed'}"], check=True)
    killed, output = RunFolder(tmp_path / "killed"), ""
    for _ in range(20):
        before = killed.checkpoints()[:1]
        process = subprocess.Popen(
            [*command, f"--output={killed.path}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        while process.poll() is None and killed.checkpoints()[:1] == before:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.2))
        process.kill()
        printed = process.communicate()[0]
        assert process.returncode == -signal.SIGKILL, printed
        if before:  # It went on from the newest checkpoint: no more than what came after that was lost.
            assert f"Going on from iteration {int(before[0].stem)} of 800" in printed
        output += printed
    assert "skipped" not in output
    subprocess.run([*command, f"--output={killed.path}"], check=True)
    assert_same_weights(weights(killed.path), weights(tmp_path / "undisturbed"))


PAPER_STEP = """
import sys
import numpy as np
import {recipe}
from keras_frnn.experiments import running, training
from keras_frnn.experiments.experiment import replace
from keras_frnn.machine import peak_memory_bytes
generator = np.random.default_rng(0)
experiment = replace({recipe}.PAPER, device="cpu:0")
frames = generator.uniform(-1, 1, (int(sys.argv[1]), 20, 64, 64, 1)).astype("float32")
with running.on_device(running.checked_device(experiment.device)):
    model = training.make_model(experiment, frames.shape)
    loss = model.train_on_batch(frames[:, :10], frames[:, 10:])
print(float(loss), peak_memory_bytes())
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["mmnist_frnn", "mmnist_rladder"])
def test_a_step_of_the_paper_fits_into_24_gigabytes(recipe):
    batch = importlib.import_module(recipe).PAPER.training.batch_size
    code = PAPER_STEP.format(recipe=recipe)
    threads = {name: str(os.cpu_count()) for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")}
    environment = {**os.environ, **threads, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(batch)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loss, memory = (float(number) for number in done.stdout.split()[-2:])
    assert 0 < loss < 1
    assert memory < 24e9


@pytest.mark.once
@pytest.mark.parametrize("recipe", [path.stem for path in RECIPES.glob("*_*nn.py")] + ["mmnist_rladder"])
def test_help_needs_no_keras(recipe):
    code = (
        f"import runpy, sys; sys.argv = ['{recipe}', '--help']\n"
        f"try: runpy.run_path({str(RECIPES / recipe)!r} + '.py', run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert not {'keras', 'numpy', 'tensorflow'} & set(sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(RECIPES), str(ROOT)])}
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
        (["--batch-size=0"], "--batch_size: must be a positive integer. Received: 0"),
        (["--seed=1", "--seed=2"], "--seed is given twice, as 1 and as 2"),
        (["--learning_rate=nan"], "--learning_rate: must be FLOAT. Received: 'nan'"),
        (["--loss=l2"], "--loss: must be one of mae, mse, FrameCrossentropy. Received: 'l2'"),
        (["--topology=7"], "--topology: must be TUPLE. Received: '7'"),
        (["--remat=perhaps"], "--remat: must be BOOL"),
        (["--mirror"], "unrecognized arguments: --mirror"),
        (["--show"], "--show is for the stage predict"),
        (["--turns=(3,)"], "--turns: `turns` must be dictionaries of the flags digits, num_digits, speed. Received"),
        (["--phases=(3,)"], "--phases: A phase is a dictionary of flags, such as dict(horizon=5). Received: 3"),
        (["--phases=({'horizons': 3},)"], "--phases: An experiment has the values title, "),
        (["--phases=({}, {'average': 2})"], "Phase 2 can average up to 1 networks. Received: 2"),
    ],
)
def test_bad_flags(flags, message, tmp_path, capsys):
    assert fails(tmp_path / "run", *flags) == "2"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.once
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--size=10", "--digit_size=3"], ""),
        (["--model=LadderRNN"], "--model=LadderRNN does not go with the other flags of this experiment"),
        (["--kernel_initializer=foo"], "--kernel_initializer must be the name of a class in keras_frnn.layers"),
        (["--size=15"], "Frame height 15 does not fit"),
        (["--test_array=none.npy", "--digits=mnist"], "There is no file none.npy"),
        (["--initial_weights=nowhere"], "There is no trained network in nowhere"),
        (["--cooldown=2"], "`cooldown` is a fraction of the training, from 0 to 1. Received: cooldown=2.0"),
    ],
)
def test_flags_that_do_not_go_together(flags, message, tmp_path):
    assert message in fails(tmp_path / "run", "train", *flags)
