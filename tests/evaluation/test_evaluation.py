import csv
import itertools
import json

import golden
import numpy as np
import pytest
from PIL import Image

from keras_frnn import datasets, evaluation, models
from keras_frnn.files import atomic_path


@pytest.fixture(scope="module")
def golden_scores():
    context, future = golden.frames()
    # In two batches, as a dataset would come.
    return evaluation.evaluate(golden.network(), [(context[:1], future[:1]), (context[1:], future[1:])])


def test_golden_scores(golden_scores):
    assert golden_scores.sequences == 2
    for name, recorded in (("model", "prediction"), ("copy_last_frame", "copy_last")):
        expected = golden.arrays()[f"metrics/{recorded}"].mean(axis=0)
        for metric, values, tolerance in zip(("mse", "psnr", "dssim"), expected, (1e-5, 1e-3, 1e-5), strict=True):
            np.testing.assert_allclose(golden_scores[name][metric], values, rtol=0, atol=tolerance)


def test_channels_first_scores_the_same(golden_scores):
    context, future = (np.moveaxis(frames, -1, 2) for frames in golden.frames())
    scores = evaluation.evaluate(golden.network(data_format="channels_first"), [(context, future)])
    for name, metrics in golden_scores.values.items():
        for metric, values in metrics.items():
            np.testing.assert_allclose(scores[name][metric], values, rtol=1e-4)


def test_table_names_metrics_and_numbers(golden_scores):
    table = golden_scores.table()
    assert "2 test sequences" in table
    for definition in evaluation.METRICS.values():
        assert definition in table
    for values in golden_scores.values.values():
        assert f"{values['mse'].mean():8.4f}{values['mse'][0]:8.4f}" in table
        assert f"{values['psnr'].mean():8.2f}{values['psnr'][0]:8.2f}" in table


def test_csv(golden_scores, tmp_path):
    golden_scores.save_csv(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["model"], row["step"]) for row in rows] == [
        (name, str(step)) for name in ("model", "copy_last_frame") for step in (1, 2, 3)
    ]
    for row in rows:
        for metric in evaluation.METRICS:
            expected = golden_scores[row["model"]][metric][int(row["step"]) - 1]
            assert float(row[metric]) == pytest.approx(expected, rel=1e-5)


def test_perfect_frames_are_left_out_of_psnr_and_counted():
    frames = np.random.default_rng(0).uniform(-1, 1, (3, 4, 16, 16, 1)).astype("float32")
    frames[0, 3] = frames[0, 2] = frames[0, 1]  # Nothing moves in the first sequence.
    scores = evaluation.evaluate(models.CopyLastFrame(2), [(frames[:, :2], frames[:, 2:])])
    assert scores.infinite_psnr == {"model": 2, "copy_last_frame": 2}
    errors = ((frames[1:, 2:] - frames[1:, 1:2]) / 2) ** 2
    expected = (-10 * np.log10(errors.mean(axis=(2, 3, 4)))).mean(axis=0)
    np.testing.assert_allclose(scores["model"]["psnr"], expected, rtol=1e-5)
    assert "2 frames of infinite PSNR left out" in scores.table()


def test_several_models_on_the_same_sequences():
    context, future = golden.frames()
    model = golden.network()
    scores = evaluation.evaluate({"whole": model, "cut": model.truncate(4)}, [(context, future)])
    assert list(scores.values) == ["whole", "cut", "copy_last_frame"]
    np.testing.assert_allclose(
        scores["whole"]["mse"], golden.arrays()["metrics/prediction"][:, 0].mean(axis=0), atol=1e-5
    )
    errors = ((golden.arrays()["truncated/depth04"] - future) / 2) ** 2
    np.testing.assert_allclose(scores["cut"]["mse"], errors.mean(axis=(0, 2, 3, 4)), rtol=1e-4)


def test_layer_removal(tmp_path):
    context, future = golden.frames()
    scores = evaluation.layer_removal(golden.network(), [(context, future)], tmp_path / "removal.png")
    assert list(scores.values) == ["8 layers", "7 layers", "5 layers", "4 layers", "copy_last_frame"]
    for depth in (8, 7, 5, 4):
        errors = ((golden.arrays()[f"truncated/depth{depth:02d}"] - future) / 2) ** 2
        np.testing.assert_allclose(scores[f"{depth} layers"]["mse"], errors.mean(axis=(0, 2, 3, 4)), rtol=1e-4)
    with Image.open(tmp_path / "removal.png") as image:
        assert image.size[1] > 5 * 60  # Truth and four depths.


def test_json_and_markdown(golden_scores, tmp_path):
    golden_scores.save_json(tmp_path / "scores.json")
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["sequences"] == 2
    np.testing.assert_allclose(content["values"]["model"]["psnr"], golden_scores["model"]["psnr"])
    text = golden_scores.markdown()
    assert f"| model | {golden_scores['model']['mse'].mean():.4f} | {golden_scores['model']['mse'][0]:.4f} |" in text
    assert "published" not in text


@pytest.mark.parametrize("dataset", ["moving_mnist", "kth", "ucf101"])
def test_published_rows(golden_scores, dataset):
    published = evaluation.published_results(dataset)
    for text in (golden_scores.table(dataset), golden_scores.markdown(dataset)):
        assert published["caveat"] in text
        assert "ECCV 2018" in text
        row = next(line for line in text.splitlines() if "fRNN (published)" in line)
        assert f"{published['models']['fRNN']['mse'][9]:.4f}" in row


def test_published_means_are_those_of_the_paper():
    frnn = evaluation.published_results("moving_mnist")["models"]["fRNN"]
    assert np.mean(frnn["mse"]) == pytest.approx(0.00947, abs=5e-6)


def test_samples_are_seeded_and_uniform(tmp_path):
    data = datasets.moving_mnist("test", "mnist-5k", sequences=23, batch_size=5, size=16, context=2, horizon=2)
    model = {"copy": models.CopyLastFrame(2)}
    chosen = evaluation.save_samples(model, data, tmp_path / "a", count=4, seed=1)
    assert evaluation.save_samples(model, data, tmp_path / "b", count=4, seed=1) == chosen
    assert len(set(chosen)) == 4
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        f"sequence-{number:05d}.{ending}" for number in chosen for ending in ("png", "gif")
    }
    assert (tmp_path / "a" / f"sequence-{chosen[0]:05d}.gif").read_bytes() == (
        tmp_path / "b" / f"sequence-{chosen[0]:05d}.gif"
    ).read_bytes()
    frames = [(np.zeros((2, 1, 8, 8, 1)), np.zeros((2, 1, 8, 8, 1)))] * 3
    assert evaluation.save_samples({}, frames, tmp_path / "c", count=10) == [0, 1, 2, 3, 4, 5]


def test_samples_choose_every_sequence_alike(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_frnn.evaluation.samples.plot_strip", lambda *args, **kwargs: None)
    monkeypatch.setattr("keras_frnn.evaluation.samples.save_animation", lambda *args, **kwargs: None)
    frames = [(np.zeros((5, 1, 2, 2, 1)), np.zeros((5, 1, 2, 2, 1)))] * 2
    chosen = [evaluation.save_samples({}, frames, tmp_path, count=3, seed=seed) for seed in range(400)]
    counts = np.bincount(np.concatenate(chosen), minlength=10)
    # 120 expected for each of the ten, standard deviation 9.
    assert np.abs(counts - 120).max() < 45


def test_reads_datasets():
    data = datasets.moving_mnist("test", "mnist-5k", sequences=5, batch_size=2, size=16, context=2, horizon=3)
    scores = evaluation.evaluate(models.CopyLastFrame(1), data)
    errors = np.concatenate([((f - c[:, -1:]) / 2) ** 2 for c, f in data])
    np.testing.assert_allclose(scores["model"]["mse"], errors.mean(axis=(0, 2, 3, 4)), rtol=1e-5)


def batch(fill=0.0, horizon=2, dtype="float32"):
    return np.full((1, 2, 16, 16, 1), fill, dtype), np.full((1, horizon, 16, 16, 1), fill, dtype)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "has no sequences"),
        ([batch(), batch(horizon=3)], "same horizon. Received: 2 and 3"),
        ([batch(fill=np.nan)], "Received: NaN"),
        ([batch(fill=7)], "values from 7 to 7"),
        ([batch(dtype="uint8")], "Received: dtype=uint8"),
    ],
)
def test_bad_data(data, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(models.CopyLastFrame(2), data)


@pytest.mark.parametrize(
    ("compared", "message"),
    [
        ({}, "Expected models by name"),
        ({"copy_last_frame": models.CopyLastFrame(2)}, "'copy_last_frame' is always scored"),
        ({"a": models.CopyLastFrame(2), "b": models.CopyLastFrame(3)}, r"same `horizon`. Received: {'a': 2, 'b': 3}"),
    ],
)
def test_models_that_cannot_be_compared(compared, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(compared, [batch()])


def test_layers_of_other_models_cannot_be_removed():
    with pytest.raises(ValueError, match="Only the layers of a FoldedRNN"):
        evaluation.layer_removal(models.CopyLastFrame(2), [batch()])


def test_no_published_results():
    with pytest.raises(ValueError, match=r"for \['kth', 'moving_mnist', 'ucf101'\]. Received: dataset='mnist'"):
        evaluation.published_results("mnist")


def test_steps_of_a_strip(tmp_path):
    frames = np.zeros((1, 4, 16, 16, 1))
    evaluation.plot_strip(frames, frames, {"model": frames}, tmp_path / "strip.png", steps=[1, 4])
    assert (tmp_path / "strip.png").exists()
    with pytest.raises(ValueError, match=r"future frames from 1 to 4. Received: steps=\[5\]"):
        evaluation.plot_strip(frames, frames, {}, tmp_path / "strip.png", steps=[5])


def test_endless_data():
    with pytest.raises(ValueError, match="never ends. Pass `sequences=`"):
        evaluation.evaluate(models.CopyLastFrame(10), datasets.moving_mnist("train", "mnist-5k", size=32))


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures(golden_scores, tmp_path, channels):
    generator = np.random.default_rng(0)
    context, future, prediction = (generator.uniform(-1, 1, (2, 4, 16, 20, channels)) for _ in range(3))
    evaluation.plot_curves(golden_scores, tmp_path / "curves.png")
    evaluation.plot_strip(context, future, {"model": prediction}, tmp_path / "strip.png")
    evaluation.save_animation(context, future, {"model": prediction}, tmp_path / "animation.gif", height=32)
    for name in ("curves.png", "strip.png"):
        with Image.open(tmp_path / name) as image:
            assert image.size[0] > 400
            assert len(np.unique(np.asarray(image.convert("L")))) > 20
    with Image.open(tmp_path / "animation.gif") as image:
        assert image.n_frames == 8
        # The pixels of the last predicted frame of the first sequence are where they belong, twice as large.
        image.seek(7)
        page = np.asarray(image.convert("RGB")).astype(int)
    shown = np.clip((prediction[0, 3] + 1) * 127.5, 0, 255).repeat(2, axis=0).repeat(2, axis=1)
    windows = itertools.product(range(page.shape[0] - 32), range(page.shape[1] - 40))
    distance = min(np.abs(page[y : y + 32, x : x + 40] - shown).mean() for y, x in windows)
    # A GIF has 256 colours: exact for grey, near for colour noise.
    assert distance < (1 if channels == 1 else 30)


def test_files_are_whole_or_not_there(tmp_path):
    path = tmp_path / "sub" / "scores.csv"

    def interrupted_write():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        interrupted_write()
    assert list(path.parent.iterdir()) == []
    with atomic_path(path) as temporary:
        temporary.write_text("whole")
    assert path.read_text() == "whole"
    assert [p.name for p in path.parent.iterdir()] == ["scores.csv"]
