"""Loading a trained network from wherever it is."""

import os
import pathlib

import keras

from keras_frnn.hub import is_on_hub
from keras_frnn.models.conv_lstm_forecaster import ConvLSTMForecaster
from keras_frnn.models.copy_last_frame import CopyLastFrame
from keras_frnn.models.folded_rnn import FoldedRNN
from keras_frnn.models.ladder_rnn import LadderRNN
from keras_frnn.models.pred_rnn import PredRNN
from keras_frnn.models.sim_vp import SimVP
from keras_frnn.models.stacked_conv_lstm import StackedConvLSTM
from keras_frnn.models.strangers import check_keras_file
from keras_frnn.models.video_predictor import VideoPredictor

_CLASSES = (FoldedRNN, LadderRNN, ConvLSTMForecaster, PredRNN, SimVP, StackedConvLSTM, CopyLastFrame)


def load_network(path: str | os.PathLike, compile: bool = False) -> keras.Model:
    """A network of this package from a folder that `save_to_preset` wrote, the Hub, or a .keras file.

    Args:
        path: the folder, hf://user/name, or the file.
        compile: whether to load the optimizer and the loss of a .keras file, too.

    Raises:
        ValueError: it is damaged, or not a network of this package.
        OSError, ImportError: it cannot be downloaded.
    """
    if is_on_hub(path) or pathlib.Path(path).is_dir():
        return VideoPredictor.from_preset(path)
    check_keras_file(path, _CLASSES)
    try:
        return keras.saving.load_model(path, compile=compile)
    # Damaged files raise errors of many kinds in zipfile, h5py and Keras.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path} is not a network that Keras loads: {lines[0]}") from error
