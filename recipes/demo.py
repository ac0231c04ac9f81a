"""Predicts moving digits with the network that comes with the package, then trains a small one and compares the two.

    python recipes/demo.py

Two handwritten digits move over 32x32 pixels and bounce off the edges: ten frames are given, the next ten are to be
predicted. The digits of testing are in no training sequence. Pictures and scores go to runs/demo.
"""

import json
import pathlib
import time

import keras
import numpy as np
from absl import app, flags

from keras_frnn import datasets, evaluation, losses, models
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine

_OUTPUT = flags.DEFINE_string("output", "runs/demo", "Folder for pictures and scores.")
_STEPS = flags.DEFINE_integer("steps", 1_200, "Training steps of the small network.")
_SEQUENCES = flags.DEFINE_integer("sequences", 200, "Test sequences.")

DATA = dict(digits="mnist-5k", size=32, speed=0.05)
TOPOLOGY = [("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)]
LONG = 40  # Frames to look ahead after ten.
STRIP = slice(2, 3)  # The first test sequence whose digits are apart as prediction begins.


class BlackFrame(models.CopyLastFrame):
    """The baseline that predicts black: the trivial answer to videos that are mostly black."""

    def predict_frames(self, context, steps: int):
        return -keras.ops.ones_like(super().predict_frames(context, steps))


def main(_):
    output = pathlib.Path(_OUTPUT.value)
    shipped = models.FoldedRNN.from_preset("moving-digits")
    draw_forecasts(shipped, output)
    begun = time.perf_counter()
    small = train()
    seconds = time.perf_counter() - begun
    compared = {"black_frame": BlackFrame(10), "trained_now": small, "shipped": shipped}
    test = datasets.moving_mnist("test", **DATA, batch_size=50, sequences=_SEQUENCES.value)
    scores = evaluation.evaluate(compared, test)
    print(f"\n{scores.table()}\n")
    draw_comparison(compared, scores, test, output)
    write_results(scores, small, shipped, seconds, output)
    print(f"Written to {output}/: {', '.join(sorted(path.name for path in output.iterdir()))}")


def draw_forecasts(model: models.FoldedRNN, output: pathlib.Path):
    """Predictions without any training: ten frames ahead as an animation, and many more as a strip."""
    test = datasets.moving_mnist("test", **DATA, batch_size=4, sequences=4, horizon=LONG)
    context, future = (np.asarray(frames) for frames in next(iter(test)))
    forecast = model.forecast(context, steps=LONG)
    evaluation.save_animation(context, future[:, :10], {"fRNN": forecast[:, :10]}, output / "animation.gif", height=160)
    steps = [1, 2, 3, 5, 7, 10, 15, 20, 30, LONG]
    evaluation.plot_strip(
        context[STRIP], future[STRIP], {"fRNN": forecast[STRIP]}, output / "long_horizon.png", steps=steps
    )
    print(f"What the shipped network predicts: {output / 'animation.gif'}, {output / 'long_horizon.png'}\n", flush=True)


def train() -> models.FoldedRNN:
    """A small network, from scratch: small batches learn most from little arithmetic."""
    keras.utils.set_random_seed(0)
    model = models.FoldedRNN.from_topology(TOPOLOGY, horizon=10, update_bias=-2.0)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, _STEPS.value, alpha=0.02)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), losses.FrameCrossentropy())
    print(f"Training a network of its own for {_STEPS.value:,} steps:", flush=True)
    data = datasets.moving_mnist("train", **DATA, batch_size=2)
    model.fit(data, steps_per_epoch=max(1, _STEPS.value // 6), epochs=min(6, _STEPS.value), verbose=2)
    return model


def draw_comparison(compared: dict, scores: evaluation.Scores, test, output: pathlib.Path):
    context, future = (np.asarray(frames)[STRIP] for frames in next(iter(test)))
    predictions = {name: compared[name].forecast(context) for name in ("trained_now", "shipped")}
    evaluation.plot_strip(context, future, predictions, output / "strip.png")
    evaluation.plot_curves(scores, output / "curves.png")
    removed = evaluation.layer_removal(compared["shipped"], test, output / "layer_removal.png", STRIP.start)
    removed.save_csv(output / "layer_removal.csv")


def write_results(scores, small, shipped, seconds: float, output: pathlib.Path):
    scores.save_csv(output / "scores.csv")
    mse = {name: float(np.mean(values["mse"])) for name, values in scores.values.items()}
    results = {
        "command": f"python recipes/demo.py --steps={_STEPS.value} --sequences={_SEQUENCES.value}",
        "weights": {"trained_now": small.count_params(), "shipped": shipped.count_params()},
        "training_seconds": {"trained_now": round(seconds, 1)},
        "test_mse": mse,
        "scores": scores.to_dict(),
        "machine": machine(),
    }
    for name, text in (("scores.md", scores.markdown()), ("results.json", json.dumps(results, indent=2) + "\n")):
        with atomic_path(output / name) as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    app.run(main)
