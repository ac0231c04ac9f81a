"""Models that predict future frames."""

from keras_frnn.models.conv_lstm_forecaster import ConvLSTMForecaster
from keras_frnn.models.copy_last_frame import CopyLastFrame
from keras_frnn.models.folded_rnn import FoldedRNN
from keras_frnn.models.ladder_rnn import LadderRNN
from keras_frnn.models.optical_flow import OpticalFlow
from keras_frnn.models.pred_rnn import PredRNN
from keras_frnn.models.presets import upload_preset
from keras_frnn.models.sim_vp import SimVP
from keras_frnn.models.stacked_conv_lstm import StackedConvLSTM
from keras_frnn.models.start import start_from
from keras_frnn.models.stream import Stream
from keras_frnn.models.video_predictor import VideoPredictor
from keras_frnn.topology import MINIMAL_TOPOLOGY, PAPER_TOPOLOGY, scale_topology

__all__ = [
    "MINIMAL_TOPOLOGY",
    "PAPER_TOPOLOGY",
    "ConvLSTMForecaster",
    "CopyLastFrame",
    "FoldedRNN",
    "LadderRNN",
    "OpticalFlow",
    "PredRNN",
    "SimVP",
    "StackedConvLSTM",
    "Stream",
    "VideoPredictor",
    "scale_topology",
    "start_from",
    "upload_preset",
]
