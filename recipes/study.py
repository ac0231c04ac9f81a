"""The paper's comparison at a scale that a processor can train: five networks, twice, three seeds each.

    python recipes/study.py                  about two hours on one core; interrupted, it goes on with the next network
    python recipes/study.py --tmac=0.02      a minute or two, to see how it goes

Two of the 5,000 real digits of the package move over 32x32 pixels; ten frames are given, ten are predicted. Networks
are compared after the same arithmetic (`--tmac`, in 10^12 multiply-accumulates of forward passes), and after the same
number of sequences: those that RLadder sees with that arithmetic. All have the same loss, optimizer, rate and batch.

RLadder is trained from scratch, and after pre-training on moving letters for half the arithmetic, which is not counted:
the paper's RLadder had been pre-trained on KTH and did not learn this task without.

Each network is trained in a process of its own, so that its memory is its own. What a network reached is kept in
runs/study, and all of it in benchmarks/results/study.json with pictures in docs/figures; `make results` writes the
page.
"""

import dataclasses
import functools
import json
import multiprocessing
import pathlib
import time

import cv2
import keras
import numpy as np
from absl import app, flags

from keras_frnn import datasets, evaluation, losses, models
from keras_frnn.evaluation.colors import model_colors
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine, peak_memory_bytes

_TMAC = flags.DEFINE_float("tmac", 2, "Arithmetic for each network.", lower_bound=0)
_SEEDS = flags.DEFINE_integer("seeds", 3, "Trainings of each network.", lower_bound=1)
_SEQUENCES = flags.DEFINE_integer("test_sequences", 200, "Test sequences.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", "runs/study", "Folder for what each network reached.")
_RESULTS = flags.DEFINE_string("results", "benchmarks/results/study.json", "File for all of it.")
_FIGURES = flags.DEFINE_string("figures", "docs/figures", "Folder for the pictures.")

DATA = dict(digits="mnist-5k", size=32, speed=0.05)
FRAME, CONTEXT, HORIZON, BATCH = (32, 32, 1), 10, 10, 2
LEARNING_RATE = 2e-3
TOPOLOGY = [("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 3), ("recurrent", 48, 3)]
MINIMAL = [("minimal", *entry[1:]) if entry[0] == "recurrent" else entry for entry in TOPOLOGY]
NETWORKS = {
    "fRNN": lambda: models.FoldedRNN.from_topology(TOPOLOGY, HORIZON),
    "minimal fRNN": lambda: models.FoldedRNN.from_topology(MINIMAL, HORIZON),
    "RLadder": lambda: models.LadderRNN.from_topology(TOPOLOGY, HORIZON),
    "RLadder pre-trained": lambda: models.LadderRNN.from_topology(TOPOLOGY, HORIZON),
    "ConvLSTM": lambda: models.ConvLSTMForecaster(HORIZON, filters=(40, 32, 32), kernel_size=5, patch_size=4),
}


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: which network, what it has in common with the others, and its seed."""

    network: str
    equal: str  # "arithmetic" or "sequences"
    seed: int

    @property
    def name(self) -> str:
        return f"{self.network.replace(' ', '-')}-{self.equal}-{self.seed}"


def runs(seeds: int) -> list[Run]:
    # RLadder sets the number of sequences, so it is the same training in both comparisons.
    kinds = [(network, "arithmetic") for network in NETWORKS]
    kinds += [(network, "sequences") for network in NETWORKS if not network.startswith("RLadder")]
    return [Run(network, equal, seed) for seed in range(seeds) for network, equal in kinds]


@functools.cache
def gmac_a_sequence(network: str) -> float:
    return evaluation.cost(NETWORKS[network](), FRAME, CONTEXT, HORIZON).macs / 1e9


def training_steps(run: Run, tmac: float) -> int:
    counted = run.network if run.equal == "arithmetic" else "RLadder"
    return max(1, round(tmac * 1e3 / gmac_a_sequence(counted) / BATCH))


def letters() -> np.ndarray:
    """White letters on black, uint8 `(52, 28, 28)`: something else that moves."""
    drawn = np.zeros((52, 28, 28), "uint8")
    for image, letter in zip(drawn, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", strict=True):
        cv2.putText(image, letter, (5, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2, cv2.LINE_AA)
    return drawn


def fit(model, digits, steps: int, seed: int):
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps, alpha=0.02)
    model.compile(keras.optimizers.Adam(rate, clipnorm=1.0), losses.FrameCrossentropy())
    data = datasets.moving_mnist("train", **DATA | {"digits": digits}, batch_size=BATCH, seed=seed)
    model.fit(data, steps_per_epoch=steps, verbose=0)


def train(run: Run, folder: pathlib.Path, tmac: float, test_sequences: int):
    """Trains and scores a network; leaves its weights in the folder, then the file that says it is done."""
    folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(run.seed)
    model, steps = NETWORKS[run.network](), training_steps(run, tmac)
    if run.network == "RLadder pre-trained":
        fit(model, _resized(letters()), max(1, steps // 2), run.seed)
    begun, processor = time.perf_counter(), time.process_time()
    fit(model, DATA["digits"], steps, run.seed)
    result = {
        **dataclasses.asdict(run),
        "steps": steps,
        "sequences": steps * BATCH,
        "tmac": steps * BATCH * gmac_a_sequence(run.network) / 1e3,
        "gmac_a_sequence": gmac_a_sequence(run.network),
        "weights": model.count_params(),
        "training_seconds": time.perf_counter() - begun,
        "processor_seconds": time.process_time() - processor,
        "peak_memory_bytes": peak_memory_bytes(),
    }
    test = datasets.moving_mnist("test", **DATA, batch_size=min(50, test_sequences), sequences=test_sequences)
    result["scores"] = evaluation.evaluate({run.network: model}, test).to_dict()["values"]
    if isinstance(model, models.FoldedRNN):
        result["layer_removal"] = evaluation.layer_removal(model, test).to_dict()["values"]
    with atomic_path(folder / "model.keras") as temporary:
        model.save(temporary)
    write_json(result, folder / "result.json")


def _resized(images: np.ndarray) -> np.ndarray:
    """To the size that the digits have in these frames."""
    return np.stack([cv2.resize(image, (14, 14), interpolation=cv2.INTER_AREA) for image in images])


def write_json(value, path: pathlib.Path):
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1) + "\n")


def draw(results: list[dict], output: pathlib.Path, figures: pathlib.Path):
    draw_curves(results, figures / "study-curves.png")
    paths = {network: output / Run(network, "arithmetic", 0).name / "model.keras" for network in NETWORKS}
    if not all(path.exists() for path in paths.values()):
        print("The strip stays as it is: the networks of the first seed were trained elsewhere.")
        return
    test = datasets.moving_mnist("test", **DATA, batch_size=1, sequences=1)
    context, future = (np.asarray(frames) for frames in next(iter(test)))
    predictions = {}
    for network, path in paths.items():
        model = keras.saving.load_model(path, compile=False)
        predictions[network] = model.forecast(context)
    evaluation.plot_strip(context, future, predictions, figures / "study-strip.png")


def draw_curves(results: list[dict], path: pathlib.Path):
    """A panel for each comparison and metric: the mean over seeds, and from the least to the most as a band."""
    from matplotlib.figure import Figure

    metrics = {"mse": "MSE", "dssim": "DSSIM"}
    comparisons = {"arithmetic": "the same arithmetic", "sequences": "the same sequences"}
    figure = Figure(figsize=(13, 7.5), layout="constrained")
    colors = model_colors([*NETWORKS, evaluation.scores.COPY_LAST_FRAME])
    steps = np.arange(1, HORIZON + 1)
    for row, equal in zip(figure.subplots(2, len(metrics)), comparisons, strict=True):
        for axes, (metric, label) in zip(row, metrics.items(), strict=True):
            for name, color in colors.items():
                curves = np.array(
                    [run["scores"][name][metric] for run in compared(results, equal) if name in run["scores"]]
                )
                if not len(curves):
                    continue
                curves = curves[:1] if name == evaluation.scores.COPY_LAST_FRAME else curves
                axes.plot(steps, curves.mean(0), marker="o", markersize=4, color=color, label=name)
                axes.fill_between(steps, curves.min(0), curves.max(0), color=color, alpha=0.2, linewidth=0)
            axes.set(xlabel="predicted frame", title=f"{label} after {comparisons[equal]} (less is better)")
            axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=110)


def compared(results: list[dict], equal: str) -> list[dict]:
    """The runs of one comparison; RLadder's belong to both."""
    return [run for run in results if run["equal"] == equal or run["network"].startswith("RLadder")]


def main(_):
    output = pathlib.Path(_OUTPUT.value)
    wanted = runs(_SEEDS.value)
    setting = {"tmac": _TMAC.value, "seeds": _SEEDS.value, "test_sequences": _SEQUENCES.value, "batch_size": BATCH}
    setting |= {"learning_rate": LEARNING_RATE, "topology": [list(entry) for entry in TOPOLOGY], **DATA}
    kept = output / "setting.json"
    if not kept.exists():
        write_json(setting, kept)
    elif (before := json.loads(kept.read_text())) != setting:
        different = ", ".join(
            f"{key}: {before.get(key)} there, {setting[key]} here" for key in setting if before.get(key) != setting[key]
        )
        raise SystemExit(f"{output} holds a study with other settings ({different}). Pass another --output.")
    for number, run in enumerate(wanted, start=1):
        folder = output / run.name
        if (folder / "result.json").exists():
            continue
        print(f"{number} of {len(wanted)}: {run.name}, {training_steps(run, _TMAC.value):,} steps", flush=True)
        # A fresh interpreter: a forked one would count this one's memory, and TensorFlow does not survive a fork.
        process = multiprocessing.get_context("spawn").Process(
            target=train, args=(run, folder, _TMAC.value, _SEQUENCES.value)
        )
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit(f"The training of {run.name} ended with exit code {process.exitcode}.")
    results = [json.loads((output / run.name / "result.json").read_text()) for run in wanted]
    draw(results, output, pathlib.Path(_FIGURES.value))
    command = (
        f"python recipes/study.py --tmac={_TMAC.value:g} --seeds={_SEEDS.value} --test_sequences={_SEQUENCES.value}"
    )
    write_json(
        {"command": command, "machine": machine(), "setting": setting, "runs": results}, pathlib.Path(_RESULTS.value)
    )
    print(f"Written: {_RESULTS.value}, {_FIGURES.value}/study-*.png")


if __name__ == "__main__":
    app.run(main)
