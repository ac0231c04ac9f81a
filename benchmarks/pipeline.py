"""Data-loading throughput: prepared KTH and UCF101 windows, generated sequences, and decoding.

    python benchmarks/pipeline.py                          everything
    python benchmarks/pipeline.py --nodecoding --nowrite    only batches, without writing results

Stored videos and video files in the datasets' formats are created in a temporary folder. Training batches are read as
in `fit`, in both formats. Decoding compares two ways from a file to stored frames on one core, in turns: with OpenCV's
reader, and with PyAV's, which this library uses. Writes benchmarks/results/pipeline.json and .md.
"""

import contextlib
import io
import json
import pathlib
import statistics
import tempfile
import time

import cv2
import h5py
import numpy as np
from absl import app, flags

from keras_frnn import datasets
from keras_frnn.datasets.formats import FORMATS
from keras_frnn.datasets.video_files import decode_worker
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine

_SECONDS = flags.DEFINE_float("seconds", 5.0, "Seconds per measurement.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Number of measurements, of which the median is taken.")
_VIDEOS = flags.DEFINE_integer("videos", 60, "Number of videos of each kind.")
_DECODING = flags.DEFINE_bool("decoding", True, "Also measure decoding.")
_WRITE = flags.DEFINE_bool("write", True, "Write the results instead of only printing them.")

BATCH_SIZE = 12
# Name: frame size, frames, codec, camera noise. With this noise, files have a few kB per frame, like the datasets.
CLIPS = {
    "KTH": ((160, 120), 480, "XVID", 10),
    "UCF101": ((320, 240), 186, "XVID", 4.5),
    "UCF101, MJPG": ((320, 240), 186, "MJPG", 4.5),
}
TARGETS = {"KTH": 1000, "UCF101": 400, "Moving MNIST": 1000, "Moving pictures": 100, "decoding": 1.0}


def main(_):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        rows = []
        for name, rates in _reading_rates(folder).items():
            rows.append({"what": name, "unit": "sequences/s", "rates": rates, "target": TARGETS[name]})
        for name, clip in CLIPS.items() if _DECODING.value else ():
            rows.append({"what": f"decoding {name}", "unit": "frames/s", **_decoding(folder / name, name, *clip)})
    text = _table(rows)
    print(text)
    if not _WRITE.value:
        return
    results = pathlib.Path(__file__).parent / "results"
    with atomic_path(results / "pipeline.json") as temporary:
        temporary.write_text(
            json.dumps({"machine": machine(), "batch_size": BATCH_SIZE, "rows": rows}, indent=2) + "\n"
        )
    with atomic_path(results / "pipeline.md") as temporary:
        temporary.write_text(text)


def _reading_rates(folder: pathlib.Path) -> dict[str, dict[str, float]]:
    for name, shape in (("kth", (480, 64, 80, 1)), ("ucf101", (186, 64, 85, 3))):
        _write_store(folder / name / "train.hdf5", shape)
    pipelines = {}
    for format in FORMATS:
        common = dict(split="train", batch_size=BATCH_SIZE, format=format)
        pipelines |= {
            ("KTH", format): datasets.kth(folder / "kth", **common),
            ("UCF101", format): datasets.ucf101(folder / "ucf101", **common),
            ("Moving MNIST", format): datasets.moving_mnist(digits="mnist-5k", **common),
            ("Moving pictures", format): datasets.moving_pictures(**common),
        }
    # Interleaved, so that background load affects all of them alike.
    rates = {key: [] for key in pipelines}
    for _ in range(_REPEATS.value):
        for key, pipeline in pipelines.items():
            rates[key].append(_rate(pipeline))
    names = dict.fromkeys(name for name, _ in pipelines)
    return {name: {format: statistics.median(rates[name, format]) for format in FORMATS} for name in names}


def _write_store(path: pathlib.Path, shape: tuple):
    path.parent.mkdir(parents=True)
    generator = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for i in range(_VIDEOS.value):
            file[f"{i:05d}"] = generator.integers(0, 256, shape, dtype="uint8")


def _rate(pipeline) -> float:
    batches = iter(pipeline)
    next(batches)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < _SECONDS.value:
        next(batches)
        count += 1
    return count * BATCH_SIZE / (time.perf_counter() - begun)


def _decoding(folder: pathlib.Path, name: str, size: tuple, frames: int, codec: str, noise: float) -> dict:
    prepare = datasets.prepare_kth if name == "KTH" else datasets.prepare_ucf101
    for i in range(_VIDEOS.value):
        file = (
            f"person{i % 25 + 1:02d}_walk{chr(97 + i // 25)}_d1.avi"
            if name == "KTH"
            else f"v_Walk_g{i + 1:02d}_c01.avi"
        )
        _write_clip(folder / file, size, frames, codec, noise, seed=i)
    total = _VIDEOS.value * frames
    form = dict(height=64, width=80 if name == "KTH" else 85, channels=1 if name == "KTH" else 3)
    form |= dict(frame_size=size[::-1], cut=5 if name == "KTH" else 0, target=str(folder / "frames"))
    requests = [{"source": str(path), **form} for path in sorted(folder.glob("*.avi"))]
    turns = {
        "opencv": lambda _: [_decode_with_opencv(request) for request in requests],
        "pyav": lambda _: [decode_worker.decode(request) for request in requests],
        "prepared": lambda repeat: prepare(folder, folder / f"prepared-{repeat}", progress=False),
    }
    rates = {turn: [] for turn in turns}
    cv2.setNumThreads(0)  # As in the decoding processes.
    # In turns, so that background load affects all of them alike.
    for repeat in range(_REPEATS.value):
        for turn, run in turns.items():
            begun = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):
                run(repeat)
            rates[turn].append(total / (time.perf_counter() - begun))
    medians = {turn: statistics.median(values) for turn, values in rates.items()}
    return {
        **medians,
        "prepared_per_core": medians["prepared"] / int(machine()["cores"]),
        "pyav_of_opencv": statistics.median(np.divide(rates["pyav"], rates["opencv"])),
        "target": TARGETS["decoding"],
    }


def _decode_with_opencv(request: dict):
    video = cv2.VideoCapture(request["source"], cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    with open(request["target"], "wb") as file:
        while (frame := video.read()[1]) is not None:
            file.write(decode_worker.convert(frame, request).data)


def _write_clip(path: pathlib.Path, size: tuple, frames: int, codec: str, noise: float, seed: int):
    """Writes a video of a camera that pans over a textured scene, with camera noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    width, height = size
    scene = generator.normal(0, 60, (height + frames, width + frames, 3)).astype("float32")
    scene = 110 + 8 * cv2.GaussianBlur(scene, (0, 0), 6)
    grain = generator.normal(0, noise, (8, height, width, 3)).astype("float32")
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, size)
    for t in range(frames):
        frame = scene[t // 2 : t // 2 + height, t : t + width] + grain[t % len(grain)]
        writer.write(frame.clip(0, 255).astype("uint8"))
    writer.release()


def _table(rows: list[dict]) -> str:
    lines = [
        "# Pipelines",
        "",
        "Machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()) + ".",
        "",
        f"Training sequences of 10 + 10 frames, batch {BATCH_SIZE}, KTH and UCF101 at 64x80, generated ones at 64x64:",
        "",
        "| sequences per second | " + " | ".join(f'`format="{format}"`' for format in FORMATS) + " | target |",
        "| --- |" + " ---: |" * (len(FORMATS) + 1),
    ]
    lines += [
        f"| {row['what']} | {' | '.join(f'{rate:,.0f}' for rate in row['rates'].values())} | {row['target']:,} |"
        for row in rows
        if "rates" in row
    ]
    if not _DECODING.value:
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "Decoding, frames per second: from files to shrunk frames on one core, read with OpenCV (`cv2.VideoCapture`) "
        "and with PyAV, which this library uses; and the complete preparation, up to HDF5, per core:",
        "",
        "| | OpenCV | PyAV | PyAV to OpenCV | target | prepared |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['what']} | {row['opencv']:,.0f} | {row['pyav']:,.0f} | {row['pyav_of_opencv']:.2f} | "
        f"{row['target']} | {row['prepared_per_core']:,.0f} |"
        for row in rows
        if "opencv" in row
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    app.run(main)
