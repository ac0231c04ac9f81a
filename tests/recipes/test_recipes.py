"""The recipes' machinery on networks that train in seconds."""

import json

import experiment
import keras
import mmnist_frnn
import mmnist_rladder
import numpy as np
import pytest
from absl import flags

from keras_frnn import datasets, models

FILES = {
    "animation.gif", "curves.png", "model.keras", "progress.json", "results.json", "samples", "scores.csv",
    "scores.md", "settings.json", "strip.png",
}  # fmt: skip
PRESET = experiment.Preset(
    topology=(("conv", 2, 3), ("pool", 2), ("recurrent", 3, 3)),
    kernel_initializer=keras.initializers.GlorotUniform,
    steps=4,
    steps_per_epoch=2,
    loss="mse",
    optimizer=lambda: keras.optimizers.Adam(1e-2),
)
DATA = dict(digits="mnist-5k", size=16, context=2, horizon=2)


def run(output, seed=0, family=models.FoldedRNN, recipe="test"):
    return experiment.run(
        family,
        PRESET,
        lambda steps: datasets.moving_mnist("train", **DATA, batch_size=2, start=2 * steps, seed=seed),
        datasets.moving_mnist("test", **DATA, batch_size=2, sequences=5),
        settings={"recipe": recipe, "dataset": "moving_mnist", "preset": "test", "seed": seed},
        output=output,
        horizon=2,
    )


def test_run_writes_scores_and_pictures(tmp_path, capsys):
    scores = run(tmp_path / "run")
    written = {path.name for path in (tmp_path / "run").iterdir()}
    assert written == FILES | {"layer_removal.png", "layer_removal.csv"}
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 2 * 5
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["test_mse"]["fRNN"] == pytest.approx(scores["fRNN"]["mse"].mean())
    assert results["machine"]["backend"] == keras.backend.backend()
    futures = [future for _, future in datasets.moving_mnist("test", **DATA, sequences=5)]
    black = np.mean(((np.concatenate(futures) + 1) / 2) ** 2)
    assert results["test_mse"]["black_frame"] == pytest.approx(black, rel=1e-5)
    printed = capsys.readouterr().out
    for number in results["test_mse"].values():
        assert f"{number:.4f}" in printed


def test_two_runs_side_by_side_are_scored_together(tmp_path, capsys):
    alone = run(tmp_path / "frnn", recipe="frnn")
    both = run(tmp_path / "rladder", recipe="rladder", family=models.LadderRNN)
    assert set(both.values) == {"fRNN", "RLadder", "copy_last_frame"}
    np.testing.assert_allclose(both["fRNN"]["mse"], alone["fRNN"]["mse"], rtol=1e-5)
    assert {path.name for path in (tmp_path / "rladder").iterdir()} == FILES
    assert "RLadder" in (tmp_path / "rladder" / "scores.md").read_text()
    # A run with another seed saw other data.
    other = {"recipe": "other", "dataset": "moving_mnist", "preset": "test", "seed": 1}
    assert experiment._finished_beside(tmp_path / "other", other) == {}


def test_damaged_files(tmp_path, monkeypatch):
    warned = []
    monkeypatch.setattr(experiment.logging, "warning", lambda text, *values: warned.append(text % values))
    settings = {"recipe": "mine", "dataset": "moving_mnist", "preset": "test", "seed": 0}
    theirs = json.dumps({"settings": settings | {"recipe": "other"}, "title": "RLadder"})
    model = models.FoldedRNN.from_topology(PRESET.topology, 2)
    model.build((None, 2, 16, 16, 1))
    model.save(tmp_path / "whole.keras")
    whole = (tmp_path / "whole.keras").read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    damaged = {"missing": None, "truncated": whole[: len(whole) // 2], "flipped": bytes(flipped), "empty": b""}
    neighbours = {"half": theirs[:20], "list": "[]", "text": "\x00"} | dict.fromkeys(damaged, theirs)
    # Files of other programs are no damage.
    neighbours |= {"foreign": "{}", "foreign_settings": '{"settings": 3, "title": ""}'}
    for name, content in neighbours.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "results.json").write_text(content)
        if damaged.get(name) is not None:
            (tmp_path / name / "model.keras").write_bytes(damaged[name])
    assert experiment._finished_beside(tmp_path / "mine", settings) == {}
    of = {name: [text for text in warned if f"/{name}/" in text] for name in neighbours}
    assert {name: len(texts) for name, texts in of.items()} == dict.fromkeys(neighbours, 1) | {
        "foreign": 0,
        "foreign_settings": 0,
    }
    assert "model.keras is damaged or missing" in of["flipped"][0]
    # A whole neighbour is found among them.
    (tmp_path / "flipped" / "model.keras").write_bytes(whole)
    assert list(experiment._finished_beside(tmp_path / "mine", settings)) == ["RLadder"]

    for content in damaged.values():
        if content is not None:
            (tmp_path / "empty" / "model.keras").write_bytes(content)
            with pytest.raises(SystemExit, match=r"model.keras is damaged .* Delete .* to begin the run anew"):
                experiment._train(None, PRESET, None, tmp_path / "empty")
    (tmp_path / "half" / "settings.json").write_text("{")
    with pytest.raises(SystemExit, match=r"settings.json is damaged"):
        experiment._claim(tmp_path / "half", settings)
    (tmp_path / "half" / "progress.json").write_text("{}")
    with pytest.raises(SystemExit, match=r"progress.json does not say how long"):
        experiment._seconds(tmp_path / "half" / "progress.json")


class InterruptedInTheSecondEpoch(experiment._Checkpoint):
    def on_train_batch_end(self, batch, logs=None):
        if (self.output / "model.keras").exists():
            raise KeyboardInterrupt


def test_interrupted_run_ends_like_an_undisturbed_one(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(experiment, "_draw", lambda *args: None)
    run(tmp_path / "undisturbed" / "run")
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "_Checkpoint", InterruptedInTheSecondEpoch)
        with pytest.raises(SystemExit, match="Interrupted. The same command goes on"):
            run(tmp_path / "disturbed" / "run")
    assert {path.name for path in (tmp_path / "disturbed" / "run").iterdir()} == {
        "model.keras", "progress.json", "settings.json"
    }  # fmt: skip
    run(tmp_path / "disturbed" / "run")
    assert "Going on from step 2 of 4" in capsys.readouterr().out
    weights = [
        keras.saving.load_model(tmp_path / n / "run" / "model.keras").get_weights()
        for n in ("undisturbed", "disturbed")
    ]
    for undisturbed, disturbed in zip(*weights, strict=True):
        np.testing.assert_allclose(disturbed, undisturbed, rtol=1e-5, atol=1e-6)
    run(tmp_path / "disturbed" / "run")
    assert "has had its 4 steps" in capsys.readouterr().out


def test_folder_of_another_run(tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "_draw", lambda *args: None)
    run(tmp_path / "run")
    with pytest.raises(SystemExit, match="other settings"):
        run(tmp_path / "run", seed=1)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(SystemExit, match="holds no run of a recipe"):
        run(tmp_path / "mine")


def test_paper_preset_is_the_published_protocol():
    preset = experiment.PRESETS["paper"]
    optimizer = preset.optimizer()
    assert preset.topology == models.PAPER_TOPOLOGY
    assert (preset.steps, preset.loss) == (500_000, "mae")
    assert isinstance(optimizer, keras.optimizers.RMSprop)
    assert float(keras.ops.convert_to_numpy(optimizer.learning_rate)) == pytest.approx(1e-4)
    assert experiment.MOVING_MNIST["paper"] == {"digits": "mnist", "size": 64, "test_sequences": 10_000}
    assert (mmnist_frnn.BATCH_SIZE["paper"], mmnist_rladder.BATCH_SIZE["paper"]) == (12, 6)


@pytest.mark.parametrize("name", experiment.PRESETS)
def test_presets_fit_their_data(name):
    preset, size = experiment.PRESETS[name], experiment.MOVING_MNIST[name]["size"]
    model = models.FoldedRNN.from_topology(preset.topology, horizon=10, kernel_initializer="zeros")
    model.build((None, 10, size, size, 1))
    assert model.compute_output_shape((None, 10, size, size, 1)) == (None, 10, size, size, 1)
    assert preset.steps % preset.steps_per_epoch == 0


@pytest.mark.parametrize("recipe", [mmnist_frnn, mmnist_rladder])
def test_recipes_pass_their_flags_on(recipe, monkeypatch, tmp_path):
    calls = {}
    monkeypatch.setattr(experiment, "run", lambda *args, **kwargs: calls.update(args=args, **kwargs))
    flags.FLAGS(["recipe", "--preset=quick", "--seed=3", f"--output={tmp_path}"])
    recipe.main([recipe.__name__])
    assert calls["settings"]["recipe"] == recipe.__name__
    assert calls["settings"]["seed"] == 3
    assert calls["output"] == tmp_path
    family, preset, train_data, test_data = calls["args"]
    assert family in experiment.TITLES
    assert preset is experiment.PRESETS["quick"]
    batch = recipe.BATCH_SIZE["quick"]
    first, second = (next(iter(train_data(steps)))[0].numpy() for steps in (0, 1))
    assert len(first) == batch
    assert not np.array_equal(first, second)
    assert test_data.cardinality() == 4
