"""The optimizer of the paper's authors."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_frnn")
class TF1RMSprop(keras.optimizers.Optimizer):
    """RMSProp as in TensorFlow 1, with which the published networks were trained.

        m <- rho * m + (1 - rho) * g^2              m = 1 before the first step
        w <- w - learning_rate * g / sqrt(m + epsilon)

    `keras.optimizers.RMSprop` starts at m = 0, and its epsilon of 1e-7 is large compared to the squared gradients of
    these networks, so its steps are many times smaller.

    Args:
        learning_rate: a number, or a `keras.optimizers.schedules.LearningRateSchedule`.
        rho: fraction of the mean square that is kept in each step.
        epsilon: added to the mean square, inside the root.
        name: name of the optimizer.
        kwargs: as in `keras.optimizers.Optimizer`: `clipnorm`, `use_ema` and so on.

    Example:

    >>> TF1RMSprop(1e-4).rho
    0.9

    Reference: `tf.compat.v1.train.RMSPropOptimizer`.
    """

    def __init__(self, learning_rate=1e-4, rho=0.9, epsilon=1e-10, name="tf1_rmsprop", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.rho = rho
        self.epsilon = epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._mean_squares = [
            self.add_variable_from_reference(variable, name="mean_square", initializer="ones") for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        mean_square = self._mean_squares[self._get_variable_index(variable)]
        rate, gradient = (ops.cast(value, variable.dtype) for value in (learning_rate, gradient))
        self.assign(mean_square, self.rho * mean_square + (1 - self.rho) * ops.square(gradient))
        self.assign_sub(variable, rate * gradient * ops.rsqrt(mean_square + self.epsilon))

    def get_config(self) -> dict:
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}
