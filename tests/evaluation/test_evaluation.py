import csv
import itertools

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


def test_reads_datasets():
    data = datasets.moving_mnist("test", "uci", sequences=5, batch_size=2, size=16, context=2, horizon=3)
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


def test_endless_data():
    with pytest.raises(ValueError, match="never ends. Pass `sequences=`"):
        evaluation.evaluate(models.CopyLastFrame(10), datasets.moving_mnist("train", "uci", size=32))


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
