"""Scores a network on unseen videos and compares it with copying the last frame and with optical flow.

    python benchmarks/video_scores.py FOLDER                          writes benchmarks/results/video.json and video.md

It takes up to twelve consecutive windows of each video in the folder, with 10 given and 10 predicted frames, 64x64 in
color, cropped at the center. Optical flow is `models.OpticalFlow`.
"""

import json
import pathlib

import numpy as np
from absl import app, flags

from keras_frnn import models
from keras_frnn.command.video_source import Video
from keras_frnn.datasets.video_files.clips import find_videos
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine

_PRESET = flags.DEFINE_string("preset", "moving-pictures", "A network of the package, or a folder.")
_SIZE = flags.DEFINE_integer("size", 64, "Side of the frames.")
_WINDOWS = flags.DEFINE_integer("windows", 12, "Largest number of windows per video.")
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder of the results.")

CONTEXT, HORIZON = 10, 10
SHOWN = (1, 5, 10)


def scores(model, video: np.ndarray) -> dict:
    """Mean squared errors per step for a video `(time, height, width, 3)`, on frames in [0, 1]."""
    span = CONTEXT + HORIZON
    starts = range(0, len(video) - span + 1, span)[: _WINDOWS.value]
    windows = np.stack([video[start : start + span] for start in starts])
    context, future = windows[:, :CONTEXT], windows[:, CONTEXT:]
    forecasts = {
        "network": model.forecast(context, HORIZON, batch_size=4),
        "flow": models.OpticalFlow(HORIZON, "channels_last").forecast(context),
        "copy": context[:, -1:],
    }
    error = lambda frames: np.square((frames - future) / 2).mean((0, 2, 3, 4)).tolist()  # noqa: E731
    return {"windows": len(windows)} | {name: error(frames) for name, frames in forecasts.items()}


def page(by_clip: dict[str, dict], preset: str, here: dict) -> str:
    mean = {name: np.mean([clip[name] for clip in by_clip.values()], axis=0) for name in ("network", "flow", "copy")}
    shown = ", ".join(f"+{step}" for step in SHOWN)
    lines = [
        f"# {preset} on unseen videos",
        "",
        "Mean squared error divided by that of copying the last frame; below 1 is better than copying. Written by",
        f"`python benchmarks/video_scores.py FOLDER --preset={preset} --size={_SIZE.value}`, on "
        + ", ".join(f"{name} {value}" for name, value in here.items())
        + ".",
        "",
        f"| video | windows | MSE of copying | network | {shown} | optical flow | {shown} |",
        "| --- | ---: | ---: | ---: | --- | ---: | --- |",
    ]
    for name, clip in [*by_clip.items(), ("mean over videos", mean)]:
        copy = np.asarray(clip["copy"])
        cells = [name, clip.get("windows", ""), f"{copy.mean():.4f}"]
        for kind in ("network", "flow"):
            ratio = np.asarray(clip[kind]) / copy
            cells += [f"{np.mean(clip[kind]) / copy.mean():.2f}", ", ".join(f"{ratio[step - 1]:.2f}" for step in SHOWN)]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    by_step = {kind: ", ".join(f"{ratio:.2f}" for ratio in mean[kind] / mean["copy"]) for kind in ("network", "flow")}
    lines += [
        "",
        f"By step, +1 to +{HORIZON}, mean over videos: network {by_step['network']};",
        f"flow {by_step['flow']}.",
    ]
    return "\n".join(lines) + "\n"


def main(argv):
    if len(argv) != 2:
        raise SystemExit(__doc__)
    model = models.FoldedRNN.from_preset(_PRESET.value)
    by_clip = {}
    for path in find_videos(argv[1]):
        frames = Video(str(path)).read((_SIZE.value, _SIZE.value, 3), 0, (CONTEXT + HORIZON) * _WINDOWS.value)
        if len(frames) >= CONTEXT + HORIZON:
            by_clip[path.name] = scores(model, frames)
            print(path.name, by_clip[path.name], flush=True)
    output, here = pathlib.Path(_OUTPUT.value), machine()
    results = {"preset": _PRESET.value, "size": _SIZE.value, "machine": here, "videos": by_clip}
    with atomic_path(output / "video.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
    with atomic_path(output / "video.md") as temporary:
        temporary.write_text(page(by_clip, pathlib.Path(_PRESET.value).name, here))


if __name__ == "__main__":
    app.run(main)
