"""Trains on a few videos, from a preset and from scratch, for more and more steps.

    keras-frnn prepare CLIPS --output=data/clips
    python recipes/fine_tuning.py data/clips           writes benchmarks/results/fine_tuning.json and fine_tuning.md

Each training is one of `keras-frnn train`, and continues if the program was interrupted. Its network, the best one in
validation, is scored on the test videos.
"""

import json
import pathlib

import keras
import numpy as np
from absl import app, flags

import keras_frnn_command
from keras_frnn import datasets, models
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.evaluation.scores import COPY_LAST_FRAME
from keras_frnn.experiments.validation import squared_errors
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine

_STEPS = flags.DEFINE_multi_integer("steps", [100, 300, 1000], "Training steps; repeatable.")
_SEEDS = flags.DEFINE_integer("seeds", 3, "Trainings of each kind.")
_SEQUENCES = flags.DEFINE_integer("sequences", 60, "Test sequences.")
_RUNS = flags.DEFINE_string("runs", "runs/fine_tuning", "Folder of the networks.")
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder of the results.")

STARTS = {"moving-pictures": "--initial=moving-pictures", "scratch": "--network=quick"}
SHOWN = (1, 5, 10)


def errors(model, folder: str) -> np.ndarray:
    """Mean squared errors by step on the test videos, divided by those of copying."""
    test = datasets.video_folder(folder, "test", batch_size=20, sequences=_SEQUENCES.value, format="keras")
    found = squared_errors({"network": model}, test)
    return found["network"].mean(0) / found[COPY_LAST_FRAME].mean(0)


def page(results: dict) -> str:
    shown = ", ".join(f"+{step}" for step in SHOWN)
    lines = [
        f"| start | steps | trainings | MSE / copying | least to greatest | {shown} | steps worse than copying |",
        "| --- | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for row in results["rows"]:
        by_step = np.array(row["errors"])
        mean, means = by_step.mean(0), by_step.mean(1)
        worse = ", ".join(f"+{step}" for step in np.flatnonzero((by_step >= 1).any(0)) + 1) or "none"
        lines.append(
            f"| {row['start']} | {row['steps']:,} | {len(by_step)} | {means.mean():.3f} | {means.min():.3f} to "
            f"{means.max():.3f} | {', '.join(f'{mean[step - 1]:.2f}' for step in SHOWN)} | {worse} |"
        )
    about = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    return "\n".join([*lines, "", f"{results['data']}. Machine: {about}."]) + "\n"


def described(folder: str) -> str:
    found = {split: open_store(folder, split, "h5py") for split in ("train", "test")}
    height, width, channels = found["train"].frame_shape
    counts = " and ".join(f"{len(store.lengths)} videos for {split}ing" for split, store in found.items())
    return (
        f"Mean over {_SEQUENCES.value} test sequences and 10 predicted frames of {height}x{width}x{channels}; "
        f"{counts}; batches of 2"
    )


def main(argv):
    if len(argv) != 2:
        raise SystemExit(__doc__)
    folder, runs, output = argv[1], pathlib.Path(_RUNS.value), pathlib.Path(_OUTPUT.value)
    untrained = models.FoldedRNN.from_preset("moving-pictures")
    rows = [{"start": "moving-pictures", "steps": 0, "errors": [errors(untrained, folder).tolist()]}]
    for steps in sorted(_STEPS.value):
        for start, flag in STARTS.items():
            row: dict = {"start": start, "steps": steps, "errors": []}
            for seed in range(_SEEDS.value):
                path = runs / f"{start}-{steps}-{seed}.keras"
                done = path.with_suffix(".json")
                if not path.exists():  # It is written at the end.
                    arguments = [f"--steps={steps}", "--save-every=50", f"--seed={seed}"]
                    code = keras_frnn_command.main(["train", folder, flag, *arguments, f"--output={path}"])
                    if code:
                        raise SystemExit(code)
                if not done.exists():
                    model = keras.saving.load_model(path, compile=False)
                    with atomic_path(done) as temporary:
                        temporary.write_text(json.dumps(errors(model, folder).tolist()))
                row["errors"].append(json.loads(done.read_text()))
                print(start, steps, seed, np.mean(row["errors"][-1]), flush=True)
            rows.append(row)
            results = {"rows": rows, "data": described(folder), "machine": machine()}
            with atomic_path(output / "fine_tuning.json") as temporary:
                temporary.write_text(json.dumps(results, indent=1) + "\n")
            with atomic_path(output / "fine_tuning.md") as temporary:
                temporary.write_text(page(results))


if __name__ == "__main__":
    app.run(main)
