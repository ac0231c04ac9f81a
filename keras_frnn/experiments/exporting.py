"""The stage export: the trained network as a preset, a folder for `from_preset`, with its scores and a model card."""

import os
import shutil

import keras
import numpy as np

from keras_frnn import evaluation
from keras_frnn.experiments.data import data_of_another_seed, test_data
from keras_frnn.experiments.experiment import Experiment, MovingDigits
from keras_frnn.experiments.run_folder import RunFolder
from keras_frnn.experiments.training import in_float32
from keras_frnn.machine import machine

_UNSEEN = 2  # Seed of other test motion, which no decision was ever based on.

_CARD = """# {title}

`keras_frnn.models.{class_name}.from_preset(FOLDER)` loads this network. It was trained by
`python recipes/{recipe}.py --preset={preset}`, whose stage `export` wrote this card from `metadata.json`.

| | |
| --- | --- |
| frames | {height}x{width}, channels: {channels}, float32 in [-1, 1] |
| parameters | {weights:,}, stored as float16 |
| training | {tmac:.2f} TMAC of forward passes, {iterations:,} iterations, {minutes:.0f} minutes |
| tested on | {sequences:,} sequences, {context} given frames, {horizon} predicted |
{scores}

| frame | MSE | PSNR in dB | DSSIM |
| ---: | ---: | ---: | ---: |
{by_step}
"""


def export(experiment: Experiment, folder: RunFolder):
    """Writes preset/ in the run's folder: the network in float16, and the scores and a forecast of these weights."""
    trained, _ = folder.trained()
    # A folder of its own first, so that a killed process leaves the old preset or the new one.
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
    flags = record["settings"]["experiment"]
    macs = evaluation.cost(model, model.context_shape[2:], flags["windows"]["context"], model.horizon).macs
    done = record["iteration"]
    tmac = done * flags["training"]["batch_size"] * macs / 1e12
    return {"iterations": done, "seconds": record["seconds"], "tmac": tmac}


def _card(experiment: Experiment, metadata: dict, network: keras.Model) -> str:
    tmac, iterations, seconds = (sum(p[key] for p in metadata["training"]) for key in ("tmac", "iterations", "seconds"))
    height, width, channels = network.context_shape[2:]
    lines = []
    for key, where in (("scores", ""), ("scores_on_unseen_motion", f" on unseen motion (`seed={_UNSEEN}`)")):
        values = metadata.get(key, {"values": {}})["values"]
        for metric in ("mse", "dssim") if values else ():
            mine, copy = (float(np.mean(values[name][metric])) for name in ("model", "copy_last_frame"))
            lines.append(f"| {metric.upper()}{where} | {mine:.4f}; {mine / copy:.3f} of copying the last frame |")
    mine = metadata["scores"]["values"]["model"]
    by_step = enumerate(zip(mine["mse"], mine["psnr"], mine["dssim"], strict=True), start=1)
    return _CARD.format(
        title=experiment.title,
        class_name=type(network).__name__,
        recipe=metadata["recipe"],
        preset=metadata["preset"],
        height=height,
        width=width,
        channels=channels,
        weights=network.count_params(),
        tmac=tmac,
        iterations=iterations,
        minutes=seconds / 60,
        sequences=metadata["scores"]["sequences"],
        context=experiment.windows.context,
        horizon=experiment.windows.horizon,
        scores="\n".join(lines),
        by_step="\n".join(
            f"| +{step} | {mse:.4f} | {psnr:.2f} | {dssim:.4f} |" for step, (mse, psnr, dssim) in by_step
        ),
    )
