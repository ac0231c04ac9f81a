"""Scores of models on test sequences, and pictures of what they predict."""

from keras_frnn.evaluation.figures import plot_curves, plot_strip, save_animation
from keras_frnn.evaluation.scores import METRICS, Scores, evaluate

__all__ = ["METRICS", "Scores", "evaluate", "plot_curves", "plot_strip", "save_animation"]
