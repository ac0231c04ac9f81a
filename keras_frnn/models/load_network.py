"""Loading a trained network from wherever it is."""

import json
import pathlib

import keras

from keras_frnn.models.conv_lstm_forecaster import ConvLSTMForecaster
from keras_frnn.models.copy_last_frame import CopyLastFrame
from keras_frnn.models.folded_rnn import FoldedRNN
from keras_frnn.models.ladder_rnn import LadderRNN
from keras_frnn.models.strangers import check_keras_file

_STACKS = (FoldedRNN, LadderRNN)


def load_network(path: pathlib.Path, compile: bool = False) -> keras.Model:
    """A network of this package from a folder that `save_to_preset` wrote, or from a .keras file.

    Args:
        path: the folder, or the file.
        compile: whether to load the optimizer and the loss of a .keras file, too.

    Raises:
        ValueError: it is damaged, or not a network of this package.
    """
    if path.is_dir():
        try:
            class_name = json.loads((path / "metadata.json").read_text())["class_name"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path / 'metadata.json'} is damaged ({error}).") from error
        return next((family for family in _STACKS if family.__name__ == class_name), FoldedRNN).from_preset(path)
    check_keras_file(path, (*_STACKS, ConvLSTMForecaster, CopyLastFrame))
    try:
        return keras.saving.load_model(path, compile=compile)
    # Damaged files raise errors of many kinds in zipfile, h5py and Keras.
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(f"{path} is not a network that Keras loads: {lines[0]}") from error
