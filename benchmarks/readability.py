"""Readability of predicted digits: a classifier of clean frames is applied to predictions of one digit.

    python benchmarks/readability.py --model=moving-digits --size=32

The classifier is not trained on predictions or test digits. It sees a square around a frame's center of mass, so a
digit in the wrong position is judged by its shape alone.
"""

import csv
import pathlib

import keras
import numpy as np
from absl import app, flags

from keras_frnn import datasets
from keras_frnn.command.networks import load_model
from keras_frnn.files import atomic_path

_MODEL = flags.DEFINE_string("model", None, "A saved FoldedRNN, or the name of a preset.", required=True)
_SIZE = flags.DEFINE_integer("size", 64, "Side of the frames.")
_SEQUENCES = flags.DEFINE_integer("sequences", 50, "Sequences of each class.")
_TABLE = flags.DEFINE_string("table", "benchmarks/results/readability.csv", "Table to write.")
_CONTEXT = _HORIZON = 10


def labeled_sequences(split: str, horizon: int, sequences: int):
    """Arrays of frames `(count, time, size, size, 1)` with one digit each, and their labels."""
    images, labels = datasets.mnist_5k(split)
    frames = []
    for label in range(10):
        data = datasets.moving_mnist(
            split,
            images[labels == label],
            size=_SIZE.value,
            digit_size=round(_SIZE.value * 28 / 64),
            num_digits=1,
            speed=0.05,
            batch_size=50,
            context=_CONTEXT,
            horizon=horizon,
            sequences=sequences,
            seed=label,
        )
        frames += [np.concatenate([context, future], axis=1) for context, future in data]
    return np.concatenate(frames), np.repeat(np.arange(10), sequences)


def centered(frames: np.ndarray) -> np.ndarray:
    """Squares of half the frame's side around the center of mass, in [0, 1]: `(count, side, side, 1)`."""
    size, side = frames.shape[1], frames.shape[1] // 2
    frames = np.pad((frames[..., 0] + 1) / 2, ((0, 0), (side, side), (side, side)))
    weights = frames + 1e-9
    places = np.arange(size + 2 * side)
    rows, columns = ((weights.sum(axis=axis) @ places / weights.sum(axis=(1, 2))).round() for axis in (2, 1))
    tops, lefts = (rows - side // 2).astype(int), (columns - side // 2).astype(int)
    return np.stack(
        [f[top : top + side, left : left + side] for f, top, left in zip(frames, tops, lefts, strict=True)]
    )[..., None]


def trained_classifier():
    keras.utils.set_random_seed(0)
    frames, labels = labeled_sequences("train", horizon=1, sequences=1_000)
    frames = centered(frames[:, 0])
    classifier = keras.Sequential(
        [
            keras.layers.RandomTranslation(0.08, 0.08, fill_mode="constant", fill_value=0.0),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    classifier.compile(keras.optimizers.Adam(2e-3), loss)
    classifier.fit(frames, labels, batch_size=50, epochs=8, verbose=0)
    return classifier


def main(argv):
    model = load_model(_MODEL.value)
    frames, labels = labeled_sequences("test", _HORIZON, _SEQUENCES.value)
    context, future = frames[:, :_CONTEXT], frames[:, _CONTEXT:]
    forecast = model.forecast(context, _HORIZON, batch_size=50)
    classifier = trained_classifier()

    def accuracy(frames):
        return float((classifier.predict(centered(frames), verbose=0).argmax(axis=1) == labels).mean())

    rows = {
        "truth": [accuracy(future[:, step]) for step in range(_HORIZON)],
        "fRNN": [accuracy(forecast[:, step]) for step in range(_HORIZON)],
        "copy_last_frame": [accuracy(context[:, -1])] * _HORIZON,
    }
    with atomic_path(pathlib.Path(_TABLE.value)) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["frames", *(f"+{step}" for step in range(1, _HORIZON + 1))])
        for name, values in rows.items():
            writer.writerow([name, *(f"{value:.3f}" for value in values)])
            print(f"{name:16}" + "".join(f"{value:8.3f}" for value in values))


if __name__ == "__main__":
    app.run(main)
