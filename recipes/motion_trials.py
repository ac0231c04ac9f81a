"""Compares networks for natural video, untrained and trained, with optical flow and with the mean of both.

    python recipes/motion_trials.py FOLDER [NETWORK ...]           writes benchmarks/results/motion.json and motion.md

FOLDER has videos, and NETWORK is the .keras file of a run, such as runs/moving_pictures-quick/model.keras. Scores are
those of video_scores.py, means over windows without a scene cut and over videos. These networks are compared without
training: that of `keras-frnn train`, with its motion layer and without it, and moving-pictures; more are those of runs.
"""

import argparse
import json
import pathlib

import keras
import numpy as np
import video_scores

from keras_frnn import models
from keras_frnn.command.train import NETWORKS
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine
from keras_frnn.models.load_network import load_network


def untrained(topology) -> models.FoldedRNN:
    keras.utils.set_random_seed(0)
    model = models.FoldedRNN.from_topology(topology, video_scores.HORIZON, update_bias=-2.0, decoder_update_bias=-5.0)
    model.build((None, video_scores.CONTEXT, 64, 64, 3))  # Its weights are drawn now, whatever else is loaded.
    return model


def row(name: str, error, copied, flow) -> str:
    ratio = error / copied
    better = error <= flow
    steps = ", ".join(f"{ratio[step - 1]:.2f}" for step in video_scores.SHOWN)
    verdict = "every" if better.all() else ", ".join(f"+{step + 1}" for step in better.nonzero()[0]) or "none"
    return f"| {name} | {error.mean() / copied.mean():.3f} | {steps} | {verdict} |"


def page(trials: dict[str, dict], about: str) -> str:
    shown = ", ".join(f"+{step}" for step in video_scores.SHOWN)
    copied, flow = (np.array(next(iter(trials.values()))[kind]) for kind in ("copy", "flow"))
    rows = [row("optical flow", flow, copied, flow)]
    for name, trial in trials.items():
        rows.append(row(name, np.array(trial["network"]), copied, flow))
        if name == "moving-pictures":
            rows.append(row("the mean of its forecast and optical flow's", np.array(trial["both"]), copied, flow))
    head = [f"| network | MSE / copying | {shown} | as good as optical flow at |", "| --- | ---: | --- | --- |"]
    return "\n".join([*head, *rows, "", about]) + "\n"


def main(arguments: argparse.Namespace):
    videos = video_scores.read_videos(arguments.folder)
    quick = [entry for entry in NETWORKS["quick"] if entry != ("motion",)]
    networks = {
        "quick without motion, untrained": untrained(quick),
        "quick, untrained": untrained([("motion",), *quick]),
        "moving-pictures": models.FoldedRNN.from_preset("moving-pictures"),
        **{path: load_network(path) for path in arguments.networks},
    }
    trials = {}
    for name, model in networks.items():
        clips = [video_scores.without_cuts(video_scores.scores(model, video)) for video in videos.values()]
        clips = [clip for clip in clips if clip["windows"]]
        trials[name] = {kind: error.tolist() for kind, error in video_scores.mean_over(clips).items()}
        print(name, trials[name]["network"], flush=True)
    windows = sum(clip["windows"] for clip in clips)
    here = ", ".join(f"{key} {value}" for key, value in machine().items())
    about = f"Means over {len(clips)} videos, {windows} windows without a scene cut; on {here}."
    with atomic_path(arguments.output / "motion.json") as temporary:
        temporary.write_text(json.dumps({"about": about, "trials": trials}) + "\n")
    with atomic_path(arguments.output / "motion.md") as temporary:
        temporary.write_text(page(trials, about))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder of videos")
    parser.add_argument("networks", nargs="*", help=".keras files of networks")
    parser.add_argument("--output", type=pathlib.Path, default="benchmarks/results", help="folder of the results")
    main(parser.parse_args())
