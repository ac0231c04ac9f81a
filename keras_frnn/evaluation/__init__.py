"""Scores of models on test sequences, their cost, and pictures of their predictions."""

from keras_frnn.evaluation.animation import save_animation
from keras_frnn.evaluation.cost import Cost, cost
from keras_frnn.evaluation.figures import plot_curves, plot_strip
from keras_frnn.evaluation.layer_removal import layer_removal
from keras_frnn.evaluation.published import published_results
from keras_frnn.evaluation.samples import save_samples
from keras_frnn.evaluation.scores import METRICS, Scores, evaluate

__all__ = [
    "METRICS",
    "Cost",
    "Scores",
    "cost",
    "evaluate",
    "layer_removal",
    "plot_curves",
    "plot_strip",
    "published_results",
    "save_animation",
    "save_samples",
]
