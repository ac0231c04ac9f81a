"""How readable predicted digits are, and how good predictions could be: the stage `digits` of moving_digits.py.

    python recipes/digit_scores.py             for the network of the package; writes the tables of docs/learning.md
    python recipes/digit_scores.py --tables    writes these tables from what is in benchmarks/results/

Readability: a classifier of clean frames is applied to predictions of one digit. It is not trained on predictions or
test digits. It sees a square around a frame's center of mass, so a digit in the wrong position is judged by its shape.

Limits: digits move along exact lines, but are drawn at whole pixels, so ten frames do not determine their speed
exactly. No predictor has a lower expected MSE than the mean of all continuations that fit the given frames, with the
digits known. That mean is estimated as if each digit's path were known separately, even where digits overlap, so the
bound may be unreachable.
"""

import argparse
import csv
import functools
import itertools
import pathlib

import keras
import numpy as np

from keras_frnn import datasets, models
from keras_frnn.datasets.moving_mnist import MovingDigits, draw, moved
from keras_frnn.files import atomic_path

_ROOT = pathlib.Path(__file__).parents[1]
_RESULTS, _PAGE = _ROOT / "benchmarks" / "results", _ROOT / "docs" / "learning.md"
_SPEED, _CONTEXT, _HORIZON = 0.05, 10, 10
_DRAWN, _ENOUGH, _ROUNDS = 20_000, 100, 1000  # Paths per draw; number that must fit; largest number of draws.


def run(experiment, folder):
    """The stage: writes readability.csv and limits.csv into the folder of a run."""
    write(folder.trained()[0], folder.path)


def write(model, folder: pathlib.Path, sequences: int = 300):
    for name, rows in {"readability": readability(model), "limits": limits(model, sequences)}.items():
        with atomic_path(folder / f"{name}.csv") as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
        print(f"{folder / name}.csv\n{table(rows)}\n")


def readability(model, sequences: int = 50, training_sequences: int = 1_000) -> list[dict]:
    """Fractions of digits that the classifier recognizes, by step. `sequences` are those of each class."""
    size = model.context_shape[2]
    frames, labels = _labeled_sequences("train", size, 1, training_sequences)
    keras.utils.set_random_seed(0)
    classifier = _classifier()
    classifier.fit(centered(frames[:, 0]), labels, batch_size=50, epochs=8, verbose=0)
    frames, labels = _labeled_sequences("test", size, _HORIZON, sequences)
    context, future = frames[:, :_CONTEXT], frames[:, _CONTEXT:]
    forecast = model.forecast(context, _HORIZON, batch_size=50)
    copied = np.repeat(context[:, -1:], _HORIZON, axis=1)

    def accuracy(frames) -> str:
        return f"{(classifier.predict(centered(frames), verbose=0).argmax(axis=1) == labels).mean():.3f}"

    return [
        {"frames": name} | {f"+{step + 1}": accuracy(shown[:, step]) for step in range(_HORIZON)}
        for name, shown in (("truth", future), ("fRNN", forecast), ("copy last frame", copied))
    ]


def _labeled_sequences(split: str, size: int, horizon: int, sequences: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames `(count, time, size, size, 1)` with one digit each, and their labels; so many sequences of each class."""
    images, labels = datasets.mnist_5k(split)
    given = dict(size=size, digit_size=round(size * 28 / 64), num_digits=1, speed=_SPEED, batch_size=50)
    frames = []
    for label in range(10):
        of_label = dict(context=_CONTEXT, horizon=horizon, sequences=sequences, seed=label, format="keras")
        data = datasets.moving_mnist(split, images[labels == label], **given, **of_label)
        frames += [np.concatenate(pair, axis=1) for pair in data]
    return np.concatenate(frames), np.repeat(np.arange(10), sequences)


def centered(frames: np.ndarray) -> np.ndarray:
    """Squares of half the frame's side around the center of mass, in [0, 1]: `(count, side, side, 1)`."""
    size, side = frames.shape[1], frames.shape[1] // 2
    frames = np.pad(_in_unit_range(frames), ((0, 0), (side, side), (side, side)))
    weights = frames + 1e-9
    places = np.arange(size + 2 * side)
    rows, columns = ((weights.sum(axis=axis) @ places / weights.sum(axis=(1, 2))).round() for axis in (2, 1))
    corners = np.stack([rows, columns], axis=1).astype(int) - side // 2
    return np.stack([f[y : y + side, x : x + side] for f, (y, x) in zip(frames, corners, strict=True)])[..., None]


def _classifier() -> keras.Model:
    layers = keras.layers
    stack = [layers.RandomTranslation(0.08, 0.08, fill_mode="constant", fill_value=0.0)]
    for filters in (16, 32):
        stack += [layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
    stack += [layers.Flatten(), layers.Dropout(0.3), layers.Dense(64, activation="relu"), layers.Dense(10)]
    classifier = keras.Sequential(stack)
    classifier.compile(keras.optimizers.Adam(2e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return classifier


def limits(model, sequences: int = 300) -> list[dict]:
    """Errors of the network and of the best prediction relative to copying, for several kinds of sequences."""
    generator = np.random.default_rng(0)
    return [row for number in (1, 2) for row in _limits(model, number, sequences, generator)]


def _limits(model, number_of_digits: int, sequences: int, generator: np.random.Generator) -> list[dict]:
    size = model.context_shape[2]
    given = dict(size=size, num_digits=number_of_digits, speed=_SPEED, context=_CONTEXT, horizon=_HORIZON)
    data = datasets.moving_mnist("test", "mnist-5k", **given, batch_size=sequences, sequences=sequences, format="keras")
    frames, (context, future) = data[0][0], map(_in_unit_range, data[0])
    forecast = _in_unit_range(model.forecast(frames, _HORIZON, batch_size=50))
    make = data.make
    digits, places = make.trajectories(np.arange(sequences))
    images, pixels = make.digits[digits] / 255, make.corners(places)
    best, touching = np.zeros_like(future), np.zeros((sequences, _CONTEXT), bool)
    for index, paths in enumerate(pixels):
        possible = [continuations(make, path[:_CONTEXT], generator) for path in paths]
        best[index] = [mean_frame(size, images[index], [p[:, step] for p in possible]) for step in range(_HORIZON)]
        for step in range(_CONTEXT):
            alone = [drawn(size, images[index, i, None], paths[i, step, None]) > 0.5 for i in range(number_of_digits)]
            touching[index, step] = np.sum(alone, axis=0).max() > 1
    share = touching.mean(axis=1)
    kinds = {("one digit", "two digits")[number_of_digits - 1]: share >= 0}
    if number_of_digits > 1:
        kinds |= {
            "no overlap in given frames": share == 0,
            "overlap in some given frames": (share > 0) & (share < 1),
            "overlap in all given frames": share == 1,
        }
    copy, network, bound = (
        ((frames - future) ** 2).mean(axis=(1, 2, 3)) for frames in (context[:, -1:], forecast, best)
    )
    return [
        {
            "sequences with": kind,
            "sequences": int(chosen.sum()),
            "MSE of copying": f"{copy[chosen].mean():.4f}",
            "network / copy": f"{network[chosen].mean() / copy[chosen].mean():.3f}",
            "bound / copy": f"{bound[chosen].mean() / copy[chosen].mean():.3f}",
        }
        for kind, chosen in kinds.items()
        if chosen.any()
    ]


def continuations(make: MovingDigits, path: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Possible, equally likely pixels of a digit in the later frames, `(paths, horizon, 2)`.

    Args:
        make: the source of the sequence.
        path: pixels of the digit in the given frames, `(context, 2)`.
        generator: draws candidate paths.
    """
    found, free = [], make.size - make.digits.shape[1]
    for _ in range(_ROUNDS):
        position = (path[0] + generator.random((_DRAWN, 2))) / free
        velocity = make.velocity(generator.random(_DRAWN))
        for pixel in path[1:]:
            position, velocity = moved(position, velocity)
            fits = (make.corners(position) == pixel).all(axis=-1)
            position, velocity = position[fits], velocity[fits]
        steps = []
        for _ in range(_HORIZON):
            position, velocity = moved(position, velocity)
            steps.append(make.corners(position))
        found.append(np.stack(steps, axis=1))
        if sum(map(len, found)) >= _ENOUGH:
            return np.concatenate(found)
    raise SystemExit(f"Too few paths go through {path.tolist()}.")


def drawn(size: int, images: np.ndarray, pixels) -> np.ndarray:
    """A frame in [0, 1] with each digit at its pixel."""
    frame = np.zeros((size, size))
    for image, pixel in zip(images, pixels, strict=True):
        draw(frame, image, pixel)
    return frame


def mean_frame(size: int, images: np.ndarray, possible: list[np.ndarray]) -> np.ndarray:
    """The mean frame over the possible pixels `(paths, 2)` of each digit, which are independent."""
    places, counts = zip(*(np.unique(pixels, axis=0, return_counts=True) for pixels in possible), strict=True)
    shares = functools.reduce(np.outer, [count / count.sum() for count in counts]).ravel()
    frames = [drawn(size, images, pixels) for pixels in itertools.product(*places)]
    return np.tensordot(shares, frames, axes=1)


def _in_unit_range(frames) -> np.ndarray:
    return (np.asarray(frames)[..., 0] + 1) / 2


def table(rows: list[dict]) -> str:
    """A Markdown table of the columns before that of commands."""
    columns = list(itertools.takewhile(lambda name: name != "command", rows[0]))
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join(lines + [f"| {' | '.join(str(row[name]) for name in columns)} |" for row in rows])


def write_page(page: pathlib.Path = _PAGE):
    """Fills the tables of the page from the results."""
    text = page.read_text()
    for name, file in {"trials": "learning", "readability": "readability", "limits": "limits"}.items():
        with (_RESULTS / f"{file}.csv").open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}\n\n{table(rows)}\n\n{end}{rest.partition(end)[2]}"
    with atomic_path(page) as temporary:
        temporary.write_text(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="only write the tables, from results that are there")
    if not parser.parse_args().tables:
        write(models.FoldedRNN.from_preset("moving-digits"), _RESULTS)
    write_page()
