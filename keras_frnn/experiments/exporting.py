"""The stage export: the trained network as a preset, a folder for `from_preset`, with its scores and a model card."""

import os
import shutil

import keras
import numpy as np

from keras_frnn import evaluation
from keras_frnn.experiments.data import data_of_another_seed, test_data
from keras_frnn.experiments.experiment import Experiment, MovingDigits
from keras_frnn.experiments.run_folder import RunFolder, stored_flags
from keras_frnn.experiments.training import in_float32
from keras_frnn.machine import machine

_UNSEEN = 2  # Seed of other test motion, on which no decision was ever based.


def export(experiment: Experiment, folder: RunFolder):
    """Writes preset/ in the run's folder: the network in float16, and the scores and a forecast of these weights."""
    trained, _ = folder.trained()
    # A folder of its own first, so that a killed process leaves a whole preset or none.
    path, temporary = folder.path / "preset", folder.path / "saving-preset"
    shutil.rmtree(temporary, ignore_errors=True)
    network = in_float32(trained, horizon=experiment.windows.horizon, name=folder.settings["recipe"])
    network.save_to_preset(temporary, dtype="float16")
    rounded = type(network).from_preset(temporary)
    metadata = {
        "recipe": folder.settings["recipe"],
        "preset": folder.settings["preset"],
        "experiment": folder.settings["experiment"],
        "training": [_training(part) for part in folder.phases() or [folder]],
        "machine": machine(),
        "scores": evaluation.evaluate(rounded, test_data(experiment)).to_dict(),
    }
    if isinstance(experiment.source, MovingDigits) and experiment.source.test_array is None:
        scores = evaluation.evaluate(rounded, data_of_another_seed(experiment, _UNSEEN)).to_dict()
        metadata["scores_on_unseen_motion"] = {"seed": _UNSEEN, **scores}
    rounded.save_to_preset(temporary, metadata, dtype="float16")
    context = keras.ops.convert_to_numpy(next(iter(test_data(experiment)))[0][:2])
    frames = {"context": context, "forecast": rounded.forecast(context)}
    pixels = {name: ((values + 1) * 127.5).round().astype("uint8") for name, values in frames.items()}
    np.savez_compressed(temporary / "sample.npz", **pixels)
    card = _card(experiment, metadata, rounded)
    (temporary / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(path, ignore_errors=True)
    os.replace(temporary, path)
    print(f"{card}\nWritten to {path}/.")


def _training(part: RunFolder) -> dict:
    model, record = part.trained()
    flags, done = stored_flags(record["settings"]), record["iteration"]
    macs = evaluation.cost(model, model.context_shape[2:], flags["context"], model.horizon).macs
    return {"iterations": done, "seconds": record["seconds"], "tmac": done * flags["batch_size"] * macs / 1e12}


def _card(experiment: Experiment, metadata: dict, network: keras.Model) -> str:
    tmac, iterations, seconds = (sum(p[key] for p in metadata["training"]) for key in ("tmac", "iterations", "seconds"))
    height, width, channels = network.context_shape[2:]
    scores, context = metadata["scores"], experiment.windows.context
    relative = _relative(scores, "")
    if unseen := metadata.get("scores_on_unseen_motion"):
        relative += "\n" + _relative(unseen, f" on other motion (`seed={_UNSEEN}`)")
    curves = (scores["values"]["model"][metric] for metric in ("mse", "psnr", "dssim"))
    steps = "\n".join(
        f"| +{step} | {mse:.4f} | {psnr:.2f} | {dssim:.4f} |"
        for step, (mse, psnr, dssim) in enumerate(zip(*curves, strict=True), start=1)
    )
    return f"""# {experiment.title}

`keras_frnn.models.{type(network).__name__}.from_preset(FOLDER)` loads this network. It was trained by
`python recipes/{metadata["recipe"]}.py --preset={metadata["preset"]}`, whose stage `export` wrote this card from
`metadata.json`.

| | |
| --- | --- |
| frames | {height}x{width}, channels: {channels}, float32 in [-1, 1] |
| parameters | {network.count_params():,}, stored as float16 |
| training | {tmac:.2f} TMAC of forward passes, {iterations:,} iterations, {seconds / 60:.0f} minutes |
| tested on | {scores["sequences"]:,} sequences, {context} given frames, {network.horizon} predicted |
{relative}

| frame | MSE | PSNR in dB | DSSIM |
| ---: | ---: | ---: | ---: |
{steps}
"""


def _relative(scores: dict, where: str) -> str:
    rows = []
    for metric in ("mse", "dssim"):
        mine, copy = (float(np.mean(scores["values"][name][metric])) for name in ("model", "copy_last_frame"))
        rows.append(f"| {metric.upper()}{where} | {mine:.4f}; {mine / copy:.3f} of copying the last frame |")
    return "\n".join(rows)
