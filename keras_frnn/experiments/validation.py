"""Validation during training: how a network compares with copying on training videos that are held out."""

from collections.abc import Iterator

import numpy as np

from keras_frnn.evaluation.scores import checked_batches
from keras_frnn.experiments.data import validation_data
from keras_frnn.experiments.experiment import Experiment
from keras_frnn.experiments.run_folder import RunError

_LEAST = 1e-6  # Added to errors of frames in [0, 1]: in a still video, copying has none.


class Validation:
    """The held-out sequences of an experiment.

    Raises:
        RunError: the experiment cannot have any.
    """

    def __init__(self, experiment: Experiment):
        if experiment.training.ema is not None:
            raise RunError("Validation is of the weights, not of their running average. Omit --validation or --ema.")
        self.data = validation_data(experiment)

    def score(self, model) -> float:
        """The squared error of each step, divided by that of copying the last given frame; the mean over the steps."""
        error, copied = (errors + _LEAST for errors in errors_by_step(model, self.data))
        return float((error / copied).mean())


def errors_by_step(model, batches) -> Iterator[np.ndarray]:
    """Mean squared errors of each predicted frame, in [0, 1]: of a network, and of copying the last given frame."""
    errors = []
    for context, future in checked_batches(batches):
        forecast = model.forecast(context, future.shape[1], batch_size=4)
        errors.append([np.square((frames - future) / 2).mean((2, 3, 4)) for frames in (forecast, context[:, -1:])])
    return (np.concatenate(parts).mean(0) for parts in zip(*errors, strict=True))


def shown(score: float) -> str:
    return f"validation {score:.3f} of copying"
