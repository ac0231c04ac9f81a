"""A lower bound for the error of predicting moving digits, and the error of a network, for several kinds of sequences.

    python benchmarks/limits.py --model=moving-digits

Digits move along exact lines, but are drawn at whole pixels, so ten frames do not determine their speed exactly. No
predictor has a lower expected MSE than the mean of all continuations that fit the given frames, with the digits known.
This program estimates that mean as if each digit's path were known separately, even where digits overlap, so the bound
may be unreachable.
"""

import csv
import functools
import itertools
import pathlib

import numpy as np
from absl import app, flags

from keras_frnn import datasets
from keras_frnn.command.networks import load_model
from keras_frnn.datasets.moving_mnist import MovingDigits, draw, moved
from keras_frnn.files import atomic_path

_MODEL = flags.DEFINE_string("model", None, "A saved FoldedRNN, or the name of a preset.", required=True)
_SEQUENCES = flags.DEFINE_integer("sequences", 300, "Number of test sequences with one digit, and with two digits.")
_TABLE = flags.DEFINE_string("table", "benchmarks/results/limits.csv", "Table to write.")
_SIZE, _SPEED, _CONTEXT, _HORIZON = 32, 0.05, 10, 10
_DRAWN, _ENOUGH, _ROUNDS = 20_000, 100, 1000  # Paths per draw; number that must fit; largest number of draws.


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


def drawn(images: np.ndarray, pixels) -> np.ndarray:
    """A frame in [0, 1] with each digit at its pixel."""
    frame = np.zeros((_SIZE, _SIZE))
    for image, pixel in zip(images, pixels, strict=True):
        draw(frame, image, pixel)
    return frame


def mean_frame(images: np.ndarray, possible: list[np.ndarray]) -> np.ndarray:
    """The mean frame over the possible pixels `(paths, 2)` of each digit, which are independent."""
    places, counts = zip(*(np.unique(pixels, axis=0, return_counts=True) for pixels in possible), strict=True)
    shares = functools.reduce(np.outer, [count / count.sum() for count in counts]).ravel()
    frames = [drawn(images, pixels) for pixels in itertools.product(*places)]
    return np.tensordot(shares, frames, axes=1)


def scores(model, number_of_digits: int, generator: np.random.Generator) -> list[dict]:
    """Rows of the table: all sequences with this number of digits, and, for several digits, each kind of sequence."""
    data = datasets.moving_mnist(
        "test",
        digits="mnist-5k",
        size=_SIZE,
        num_digits=number_of_digits,
        speed=_SPEED,
        batch_size=_SEQUENCES.value,
        context=_CONTEXT,
        horizon=_HORIZON,
        sequences=_SEQUENCES.value,
        format="keras",
    )
    context, future = (in_unit_range(frames) for frames in data[0])
    forecast = in_unit_range(model.forecast(data[0][0], _HORIZON, batch_size=50))
    make = data.make
    digits, places = make.trajectories(np.arange(_SEQUENCES.value))
    images, pixels = make.digits[digits] / 255, make.corners(places)
    best, touching = np.zeros_like(future), np.zeros((_SEQUENCES.value, _CONTEXT), bool)
    for index, paths in enumerate(pixels):
        possible = [continuations(make, path[:_CONTEXT], generator) for path in paths]
        best[index] = [mean_frame(images[index], [p[:, step] for p in possible]) for step in range(_HORIZON)]
        for step in range(_CONTEXT):
            alone = [drawn(images[index, i, None], paths[i, step, None]) > 0.5 for i in range(number_of_digits)]
            touching[index, step] = np.sum(alone, axis=0).max() > 1
    kinds = {("one digit", "two digits")[number_of_digits - 1]: np.ones(len(future), bool)}
    if number_of_digits > 1:
        share = touching.mean(axis=1)
        kinds |= {
            "no overlap in given frames": share == 0,
            "overlap in some given frames": (share > 0) & (share < 1),
            "overlap in all given frames": share == 1,
        }
    errors = {
        name: ((frames - future) ** 2).mean(axis=(1, 2, 3))
        for name, frames in {"copy": context[:, -1:], "network": forecast, "bound": best}.items()
    }
    return [
        {
            "sequences with": kind,
            "sequences": int(chosen.sum()),
            "MSE of copying": f"{errors['copy'][chosen].mean():.4f}",
            "network / copy": f"{errors['network'][chosen].mean() / errors['copy'][chosen].mean():.3f}",
            "bound / copy": f"{errors['bound'][chosen].mean() / errors['copy'][chosen].mean():.3f}",
        }
        for kind, chosen in kinds.items()
    ]


def in_unit_range(frames) -> np.ndarray:
    return (np.asarray(frames)[..., 0] + 1) / 2


def main(_):
    model, generator = load_model(_MODEL.value), np.random.default_rng(0)
    rows = [row for number in (1, 2) for row in scores(model, number, generator)]
    with atomic_path(pathlib.Path(_TABLE.value)) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print(*row.values(), sep="  ")


if __name__ == "__main__":
    app.run(main)
