"""Models that predict future frames."""

from keras_frnn.models.conv_lstm_forecaster import ConvLSTMForecaster
from keras_frnn.models.copy_last_frame import CopyLastFrame
from keras_frnn.models.folded_rnn import FoldedRNN
from keras_frnn.models.ladder_rnn import LadderRNN
from keras_frnn.models.optical_flow import OpticalFlow
from keras_frnn.models.start import start_from
from keras_frnn.models.stream import Stream
from keras_frnn.topology import MINIMAL_TOPOLOGY, PAPER_TOPOLOGY, scale_topology

__all__ = [
    "MINIMAL_TOPOLOGY",
    "PAPER_TOPOLOGY",
    "ConvLSTMForecaster",
    "CopyLastFrame",
    "FoldedRNN",
    "LadderRNN",
    "OpticalFlow",
    "Stream",
    "scale_topology",
    "start_from",
]
