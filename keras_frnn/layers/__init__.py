"""The folded layers, their base, the cell that recurrent ones iterate, and the published models' initializer."""

from keras_frnn.layers.bridge_ladder import BridgeLadder
from keras_frnn.layers.conv_gru_cell import ConvGRUCell
from keras_frnn.layers.folded_conv2d import FoldedConv2D
from keras_frnn.layers.folded_conv_gru import FoldedConvGRU
from keras_frnn.layers.folded_layer import FoldedLayer
from keras_frnn.layers.folded_max_pooling2d import FoldedMaxPooling2D
from keras_frnn.layers.folded_min_conv_gru import FoldedMinConvGRU
from keras_frnn.layers.folded_motion2d import FoldedMotion2D
from keras_frnn.layers.folded_patch2d import FoldedPatch2D
from keras_frnn.layers.folded_residual2d import FoldedResidual2D
from keras_frnn.layers.scaled_orthogonal import ScaledOrthogonal

__all__ = [
    "BridgeLadder",
    "ConvGRUCell",
    "FoldedConv2D",
    "FoldedConvGRU",
    "FoldedLayer",
    "FoldedMaxPooling2D",
    "FoldedMinConvGRU",
    "FoldedMotion2D",
    "FoldedPatch2D",
    "FoldedResidual2D",
    "ScaledOrthogonal",
]
