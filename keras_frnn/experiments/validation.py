"""Validation during training: how a network compares with copying on training videos that are held out."""

import numpy as np

from keras_frnn.evaluation.scores import COPY_LAST_FRAME, checked_batches
from keras_frnn.experiments.data import validation_data
from keras_frnn.experiments.experiment import Experiment
from keras_frnn.experiments.run_folder import RunError
from keras_frnn.models.video_predictor import VideoPredictor

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
        errors = {name: parts.mean(0) + _LEAST for name, parts in squared_errors({"network": model}, self.data).items()}
        return float((errors["network"] / errors[COPY_LAST_FRAME]).mean())


def squared_errors(networks: dict[str, VideoPredictor], batches) -> dict[str, np.ndarray]:
    """Mean squared errors of each predicted frame, in [0, 1]: of networks, and of copying the last given frame.

    Returns:
        Arrays `(sequences, steps)` by name.
    """
    errors: dict[str, list[np.ndarray]] = {name: [] for name in (*networks, COPY_LAST_FRAME)}
    for context, future in checked_batches(batches):
        forecasts = {name: model.forecast(context, future.shape[1], batch_size=4) for name, model in networks.items()}
        for name, frames in (forecasts | {COPY_LAST_FRAME: context[:, -1:]}).items():
            errors[name].append(np.square((future - frames) / 2).mean((2, 3, 4)))
    return {name: np.concatenate(parts) for name, parts in errors.items()}


def shown(score: float) -> str:
    return f"validation {score:.3f} of copying"
