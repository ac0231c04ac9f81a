"""Scores a network on unseen videos and compares it with copying the last frame and with optical flow.

    python recipes/video_scores.py FOLDER                          writes benchmarks/results/video.json and video.md

It takes up to twelve consecutive windows of each video in the folder, with 10 given and 10 predicted frames, 64x64 in
color, cropped at the center. Optical flow is `models.OpticalFlow`. The table leaves out windows with a scene cut, after
which nobody can know the frames; the text below it has the errors of all windows.
"""

import argparse
import json
import pathlib

import numpy as np

from keras_frnn import models
from keras_frnn.command.video_source import Video
from keras_frnn.datasets.video_files.clips import find_videos
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine

CONTEXT, HORIZON = 10, 10
SHOWN = (1, 5, 10)
# A scene cut, as the mean squared difference of two frames in [0, 1]: at least, and relative to the video's median.
CUT, CUT_RATIO = 0.02, 10
KINDS = {"network": "the network", "flow": "optical flow", "both": "the mean of both forecasts", "copy": "copying"}


def read_videos(folder: str, size: int = 64, most_windows: int = 12) -> dict[str, np.ndarray]:
    """Frames `(time, size, size, 3)` of each video that is long enough, by its name."""
    span = CONTEXT + HORIZON
    videos = {path.name: Video(str(path)).read((size, size, 3), 0, span * most_windows) for path in find_videos(folder)}
    return {name: frames for name, frames in videos.items() if len(frames) >= span}


def scores(model, video: np.ndarray) -> dict:
    """Mean squared errors by window and step for a video `(time, height, width, 3)`, on frames in [0, 1]."""
    span = CONTEXT + HORIZON
    starts = range(0, len(video) - span + 1, span)
    windows = np.stack([video[start : start + span] for start in starts])
    context, future = windows[:, :CONTEXT], windows[:, CONTEXT:]
    network = model.forecast(context, HORIZON, batch_size=4)
    flow = models.OpticalFlow(HORIZON, "channels_last").forecast(context)
    forecasts = {"network": network, "flow": flow, "both": (network + flow) / 2, "copy": context[:, -1:]}
    errors = {
        name: np.square((frames - future) / 2).mean((2, 3, 4)).round(6).tolist() for name, frames in forecasts.items()
    }
    change = np.square(np.diff(video, axis=0) / 2).mean((1, 2, 3))
    is_cut = (change > CUT) & (change > CUT_RATIO * np.median(change))
    return {"cuts": [bool(is_cut[start : start + span - 1].any()) for start in starts]} | errors


def without_cuts(clip: dict) -> dict:
    """Mean errors by step over windows without a cut, and the number of these windows."""
    kept = ~np.array(clip["cuts"])
    return {"windows": int(kept.sum())} | {name: np.array(clip[name])[kept].mean(0) for name in KINDS if kept.any()}


def mean_over(clips) -> dict:
    return {name: np.mean([clip[name] for clip in clips], axis=0) for name in KINDS}


def page(by_clip: dict[str, dict], preset: str, size: int, here: dict) -> str:
    kept = {name: without_cuts(clip) for name, clip in by_clip.items()}
    kept = {name: clip for name, clip in kept.items() if clip["windows"]}
    shown = ", ".join(f"+{step}" for step in SHOWN)
    lines = [
        f"# {preset} on unseen videos",
        "",
        "Mean squared error divided by that of copying the last frame; below 1 is better than copying. Windows with a",
        f"scene cut are left out. Written by `python recipes/video_scores.py FOLDER --preset={preset} "
        f"--size={size}`, on",
        ", ".join(f"{name} {value}" for name, value in here.items()) + ".",
        "",
        f"| video | windows | MSE of copying | network | {shown} | optical flow | {shown} |",
        "| --- | ---: | ---: | ---: | --- | ---: | --- |",
    ]
    for name, clip in [*kept.items(), ("mean over videos", mean_over(kept.values()))]:
        windows = f"{clip['windows']} of {len(by_clip[name]['cuts'])}" if name in by_clip else ""
        cells = [name, windows, f"{clip['copy'].mean():.4f}"]
        for kind in ("network", "flow"):
            ratio = clip[kind] / clip["copy"]
            cells += [
                f"{clip[kind].mean() / clip['copy'].mean():.2f}",
                ", ".join(f"{ratio[at - 1]:.2f}" for at in SHOWN),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    everything = [{name: np.mean(clip[name], axis=0) for name in KINDS} for clip in by_clip.values()]
    for about, clips in (
        ("by step, +1 to +10", kept.values()),
        ("the same of all windows, also those with a cut", everything),
    ):
        mean = mean_over(clips)
        lines += ["", f"Mean over videos, {about}:", ""]
        for kind, called in KINDS.items():
            if kind != "copy":
                ratio = mean[kind] / mean["copy"]
                total = mean[kind].mean() / mean["copy"].mean()
                lines.append(f"- {called}: {', '.join(f'{value:.2f}' for value in ratio)}; {total:.2f} of copying")
    return "\n".join(lines) + "\n"


def main(arguments: argparse.Namespace):
    model = models.FoldedRNN.from_preset(arguments.preset)
    size, output = arguments.size, arguments.output
    by_clip = {}
    for name, video in read_videos(arguments.folder, size, arguments.windows).items():
        by_clip[name] = scores(model, video)
        print(name, by_clip[name], flush=True)
    here = machine()
    results = {"preset": arguments.preset, "size": size, "machine": here, "videos": by_clip}
    with atomic_path(output / "video.json") as temporary:
        temporary.write_text(json.dumps(results) + "\n")
    with atomic_path(output / "video.md") as temporary:
        temporary.write_text(page(by_clip, pathlib.Path(arguments.preset).name, size, here))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="folder of videos")
    parser.add_argument("--preset", default="moving-pictures", help="a network of the package, or a folder")
    parser.add_argument("--size", type=int, default=64, help="side of the frames")
    parser.add_argument("--windows", type=int, default=12, help="largest number of windows per video")
    parser.add_argument("--output", type=pathlib.Path, default="benchmarks/results", help="folder of the results")
    main(parser.parse_args())
