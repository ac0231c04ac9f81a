import csv
import itertools
import json

import cv2
import golden
import keras
import numpy as np
import pytest
from PIL import Image, ImageSequence

from keras_frnn import datasets, evaluation, models
from keras_frnn.evaluation.colors import model_colors
from keras_frnn.files import atomic_path


@pytest.fixture(scope="module")
def golden_scores():
    context, future = golden.frames()
    # In two batches, like a dataset.
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
    context, future = golden.frames()
    forecasts = {"model": golden.network().forecast(context, 3), "copy_last_frame": context[:, -1:]}
    for name, values in golden_scores.values.items():
        summed = np.mean(((forecasts[name] - future) / 2) ** 2, axis=(0, 1)).sum()  # OpenSTL's formula.
        assert f"{values['mse'].mean():8.4f}{summed:8.1f}{values['mse'][0]:8.4f}" in table
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


def test_perfect_frames_are_excluded_from_psnr_and_counted():
    frames = np.random.default_rng(0).uniform(-1, 1, (3, 4, 16, 16, 1)).astype("float32")
    frames[0, 3] = frames[0, 2] = frames[0, 1]  # Nothing moves in the first sequence.
    scores = evaluation.evaluate(models.CopyLastFrame(2), [(frames[:, :2], frames[:, 2:])])
    assert scores.infinite_psnr == {"model": 2, "copy_last_frame": 2}
    errors = ((frames[1:, 2:] - frames[1:, 1:2]) / 2) ** 2
    expected = (-10 * np.log10(errors.mean(axis=(2, 3, 4)))).mean(axis=0)
    np.testing.assert_allclose(scores["model"]["psnr"], expected, rtol=1e-5)
    assert "2 frames with infinite PSNR excluded" in scores.table()


def test_the_psnr_of_only_perfect_frames_is_infinite(tmp_path):
    frames = np.zeros((2, 4, 16, 16, 1), "float32")
    frames[0, 3] = 0.5
    scores = evaluation.evaluate(models.CopyLastFrame(2), [(frames[:, :2], frames[:, 2:])])
    assert scores["model"]["psnr"][0] == np.inf
    assert np.isfinite(scores["model"]["psnr"][1])
    assert f"{scores['model']['psnr'][1]:8.2f}     inf" in scores.table()
    assert scores.to_dict()["values"]["model"]["psnr"][0] is None
    scores.save_csv(tmp_path / "scores.csv")
    assert "model,1,0,inf,0" in (tmp_path / "scores.csv").read_text()
    evaluation.plot_curves(scores, tmp_path / "curves.png")


class Stranger:
    """A foreign model, which only has `forecast`."""

    def __init__(self, fill, extra=0):
        self.fill, self.extra = fill, extra

    def forecast(self, context, steps, batch_size=32):
        return np.full((len(context), steps + self.extra, *context.shape[2:]), self.fill, "float32")


def test_foreign_models_and_other_horizons():
    context, future = batch(horizon=3)
    compared = {"stranger": Stranger(1.0), "short": models.CopyLastFrame(1), "long_one": models.CopyLastFrame(9)}
    scores = evaluation.evaluate(compared, [(context, future)])
    np.testing.assert_allclose(scores["stranger"]["mse"], [0.25] * 3)
    assert scores["long_one"]["mse"].tolist() == [0] * 3
    assert "long_one " in scores.table()
    assert "copy_last_frame" in scores.markdown()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Stranger(np.nan), "'bad' predicts frames with NaNs"),
        (Stranger(np.inf), "'bad' predicts frames with NaNs or infinities"),
        (Stranger(0, extra=1), r"shape \(1, 2, 16, 16, 1\). Received from model 'bad': shape=\(1, 3, 16, 16, 1\)"),
    ],
)
def test_forecasts_without_a_score(model, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate({"bad": model}, [batch()])


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
    evaluation.layer_removal(golden.network(), [(context, future)], tmp_path / "second.png", sequence=1)
    evaluation.layer_removal(golden.network(), [(context[1:], future[1:])], tmp_path / "alone.png")
    assert (tmp_path / "second.png").read_bytes() == (tmp_path / "alone.png").read_bytes()
    assert (tmp_path / "second.png").read_bytes() != (tmp_path / "removal.png").read_bytes()
    with pytest.raises(ValueError, match="first batch has 2 sequences. Received: sequence=2"):
        evaluation.layer_removal(golden.network(), [(context, future)], tmp_path / "third.png", sequence=2)


def test_json_and_markdown(golden_scores):
    content = json.loads(json.dumps(golden_scores.to_dict(), allow_nan=False))
    assert content["sequences"] == 2
    np.testing.assert_allclose(content["values"]["model"]["psnr"], golden_scores["model"]["psnr"])
    text = golden_scores.markdown()
    mse = golden_scores["model"]["mse"]
    assert f"| model | {mse.mean():.4f} | {mse.mean() * content['frame_values']:.1f} | {mse[0]:.4f} |" in text
    assert (
        f"| model | {golden_scores['model']['dssim'].mean():.4f} | {golden_scores['model']['dssim'][0]:.4f} |" in text
    )
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
        f"sequence-{number:05d}.{suffix}" for number in chosen for suffix in ("png", "gif")
    }
    assert (tmp_path / "a" / f"sequence-{chosen[0]:05d}.gif").read_bytes() == (
        tmp_path / "b" / f"sequence-{chosen[0]:05d}.gif"
    ).read_bytes()
    frames = [(np.zeros((2, 1, 8, 8, 1)), np.zeros((2, 1, 8, 8, 1)))] * 3
    assert evaluation.save_samples({}, frames, tmp_path / "c", count=10) == [0, 1, 2, 3, 4, 5]


def test_samples_choose_all_sequences_equally_often(tmp_path, monkeypatch):
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
        ([batch()[0]], r"batches of \(context, future\). Received: ndarray"),
        ([(*batch(), batch()[0])], r"batches of \(context, future\). Received: tuple"),
        ([(batch()[0], batch()[1][:, :, 1:])], "same batch and frame size. Received: context of shape"),
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
        ({"a": models.CopyLastFrame(2), "b": None}, "method `forecast`. Received: 'b' is None"),
    ],
)
def test_models_that_cannot_be_compared(compared, message):
    with pytest.raises(ValueError, match=message):
        evaluation.evaluate(compared, [batch()])


def test_a_network_has_the_same_color_in_all_pictures():
    blue = model_colors(["fRNN"])["fRNN"]
    assert model_colors(["shipped"])["shipped"] == blue
    cut = model_colors(["7 layers", "5 layers", "copy_last_frame"])
    assert cut["7 layers"] == blue
    compared = model_colors(["mine", "yours", "fRNN", "copy_last_frame"])
    assert compared["fRNN"] == blue
    assert len(set(compared.values())) == 4
    assert len(set(cut.values())) == 3


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
    with pytest.raises(ValueError, match="is endless. Pass `sequences=`"):
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
        # The pixels of the last predicted frame of the first sequence are in place and twice as large.
        image.seek(7)
        page = np.asarray(image.convert("RGB")).astype(int)
    shown = np.clip((prediction[0, 3] + 1) * 127.5, 0, 255).repeat(2, axis=0).repeat(2, axis=1)
    windows = itertools.product(range(page.shape[0] - 32), range(page.shape[1] - 40))
    distance = min(np.abs(page[y : y + 32, x : x + 40] - shown).mean() for y, x in windows)
    # A GIF has 256 colors, which is exact for gray and approximate for color noise.
    assert distance < (1 if channels == 1 else 30)


def shown(path):
    """The pages of a GIF or the frames of an MP4."""
    if path.suffix == ".gif":
        with Image.open(path) as image:
            return [np.asarray(page.convert("RGB")) for page in ImageSequence.Iterator(image)]
    video, pages = cv2.VideoCapture(str(path)), []
    while (frame := video.read())[0]:
        pages.append(frame[1][..., ::-1])
    return pages


@pytest.mark.once
@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_animation_of_bytes_is_that_of_floats(tmp_path, suffix):
    videos = np.random.default_rng(0).integers(0, 256, (3, 2, 4, 15, 17, 1), "uint8").repeat(2, 3).repeat(2, 4)
    floats = videos / np.float32(127.5) - 1
    pages = []
    for name, (context, future, prediction) in (("bytes", videos), ("floats", floats)):
        path = tmp_path / f"{name}{suffix}"
        evaluation.save_animation(context, future, {"some_model": prediction}, path, height=60)
        pages.append(shown(path))
        evaluation.plot_strip(context, future, {"some_model": prediction}, tmp_path / f"{name}.png")
    assert len(pages[0]) == (8 if suffix == ".gif" else 8 + 4)  # The last frame stays for a second.
    np.testing.assert_array_equal(pages[0], pages[1])
    assert (tmp_path / "bytes.png").read_bytes() == (tmp_path / "floats.png").read_bytes()
    expected = videos[2, 1, 3, ..., 0].repeat(2, axis=0).repeat(2, axis=1)[:, :, None]
    # The last sequence of the last row is at the lower right, inside a margin.
    height, width = expected.shape[:2]
    errors = [
        np.abs(pages[0][7][-6 - height - dy : -6 - dy, -6 - width - dx : -6 - dx].astype(int) - expected).mean()
        for dy, dx in itertools.product(range(2), range(2))
    ]
    assert min(errors) < (1 if suffix == ".gif" else 25)  # MP4 compresses noise.


@pytest.mark.once
@pytest.mark.parametrize("name", ["a.gif", "a.MP4"])
def test_pictures_without_a_future(tmp_path, name):
    context, prediction = np.zeros((1, 3, 16, 16, 3), "uint8"), np.zeros((1, 2, 16, 16, 3), "float32")
    prediction[:, 0] = 0.5  # Pillow merges equal pages.
    context[:, 1] = 9
    path = tmp_path / name
    evaluation.save_animation(context, None, {"a_model": prediction}, path, frame_rate=1, height=64)
    pages = shown(path) if name.endswith("gif") else shown(path.rename(tmp_path / "a.mp4"))
    assert len(pages) == 5
    truth, predicted = (slice(60, 78), slice(10, 60)), (slice(60, 78), slice(-70, -30))  # Side by side.
    assert pages[0][truth].mean() < 4
    nothing = pages[0][predicted].mean(axis=(0, 1))  # The model has not predicted yet.
    assert nothing[0] + 15 < nothing[2]
    np.testing.assert_allclose(pages[4][truth].mean(axis=(0, 1)), nothing, atol=4)  # It is unknown.
    assert abs(pages[4][predicted].mean() - 128) < 4
    evaluation.plot_strip(context, None, {"a_model": prediction}, tmp_path / "strip.png", steps=[2])
    evaluation.plot_strip(context, None, {}, tmp_path / "given.png")
    evaluation.save_animation(context, None, {}, tmp_path / "given.gif")


@pytest.mark.once
def test_channels_first_and_the_default_of_keras(tmp_path):
    videos = np.random.default_rng(0).uniform(-1, 1, (2, 1, 2, 16, 20, 3))
    evaluation.plot_strip(videos[0], videos[1], {}, tmp_path / "last.png")
    first = np.moveaxis(videos, -1, 3)
    evaluation.plot_strip(first[0], first[1], {}, tmp_path / "first.png", data_format="channels_first")
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        evaluation.plot_strip(first[0], first[1], {}, tmp_path / "default.png")
    finally:
        keras.config.set_image_data_format(before)
    for name in ("first", "default"):
        assert (tmp_path / f"{name}.png").read_bytes() == (tmp_path / "last.png").read_bytes()


@pytest.mark.once
def test_only_the_first_future_frames_are_known(tmp_path, monkeypatch):
    """Predictions continue after the truth ends; steps in any order select their own frames."""
    context, future, predicted = (
        np.random.default_rng(0).uniform(-1, 1, (1, time, 8, 8, 1)).astype("float32") for time in (2, 2, 4)
    )
    evaluation.save_animation(context, future, {"m": predicted}, tmp_path / "a.gif")
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 6
    drawn = []
    monkeypatch.setattr("matplotlib.axes.Axes.imshow", lambda axes, frame, **_: drawn.append(frame))
    evaluation.plot_strip(context, future, {"m": predicted}, tmp_path / "a.png", steps=[4, 1])
    expected = [*context[0], future[0, 0], predicted[0, 3], predicted[0, 0]]
    for frame, value in zip(drawn, expected, strict=True):
        np.testing.assert_allclose(frame, (value + 1) * 127.5, atol=0.51)


FRAMES = np.zeros((2, 3, 16, 16, 1), "float32")


@pytest.mark.once
@pytest.mark.parametrize("draw", [evaluation.save_animation, evaluation.plot_strip])
@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ((FRAMES + 2, FRAMES, {}), "context: Expected frames with values in .* Received: values from 2 to 2"),
        ((FRAMES, FRAMES * np.nan, {}), "future: .* Received: NaN"),
        ((FRAMES, FRAMES, {"m": FRAMES.astype("int32")}), r"predictions\['m'\]: .* Received: dtype=int32"),
        ((FRAMES[0], FRAMES, {}), r"context: .* Received: shape=\(3, 16, 16, 1\)"),
        ((FRAMES[:0], FRAMES[:0], {}), "context: There is no sequence"),
        ((FRAMES.repeat(2, -1), None, {}), "1 or 3 channels. Received, channels last: shape="),
        ((FRAMES, FRAMES[:1], {}), r"same batch and frame size. .*'future': \(1, 3"),
        ((FRAMES, FRAMES[:, :, 1:], {}), "same batch and frame size"),
        (
            (FRAMES, FRAMES, {"m": FRAMES[:, 1:]}),
            "same number of frames, and the future must not have more. .* pass `future=None`",
        ),
        ((FRAMES, None, {"m": FRAMES[:, 1:], "n": FRAMES}), "same number of frames"),
        ((FRAMES, FRAMES, FRAMES), "by model name. Received: ndarray"),
    ],
)
def test_frames_that_cannot_be_drawn(tmp_path, draw, frames, message):
    with pytest.raises(ValueError, match=message):
        draw(*frames, tmp_path / ("a.png" if draw is evaluation.plot_strip else "a.gif"))
    assert not list(tmp_path.iterdir())


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(path="a.avi"), "end in .gif or .mp4. Received: path='a.avi'"),
        (dict(path="a"), "end in .gif or .mp4"),
        (dict(path="a.gif", frame_rate=0), "from 1/600 to 1000 frames per second. Received: 0"),
        (dict(path="a.mp4", frame_rate=1e9), "from 1/600 to 1000"),
        (dict(path="a.mp4", frame_rate=float("nan")), "Received: nan"),
        (dict(path="a.gif", height=0), "Received: height=0"),
        (dict(path="a.gif", data_format="first"), "Received: data_format='first'"),
    ],
)
def test_arguments_of_animations(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluation.save_animation(FRAMES, FRAMES, {}, **arguments)


def test_suffix_of_pictures(golden_scores, tmp_path):
    for draw in (
        lambda path: evaluation.plot_curves(golden_scores, path),
        lambda path: evaluation.plot_strip(FRAMES, FRAMES, {}, path),
        lambda path: evaluation.layer_removal(golden.network(), [], path),
    ):
        with pytest.raises(ValueError, match="end in .png. Received: path="):
            draw(tmp_path / "picture")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="data is read twice"):
        evaluation.layer_removal(golden.network(), iter([]), tmp_path / "removal.png")


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
