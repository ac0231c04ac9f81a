"""The optimizer of the paper's authors, and the one that trained the presets, with its learning rate."""

import math

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


@keras.saving.register_keras_serializable(package="keras_frnn")
class ConvMuon(keras.optimizers.Optimizer):
    """Muon for the kernels of convolutions, and Adam for all other weights.

    `keras.optimizers.Muon` leaves the kernels of convolutions to Adam. This optimizer takes a kernel and its gradient G
    as matrices (height * width * channels, filters), and steps along an approximately orthogonal matrix:

        M <- momentum * M + G
        O = (G + momentum * M), with its singular values moved towards 1 by Newton-Schulz iterations
        W <- W - learning_rate * rms * sqrt(max(rows, columns)) * O

    A kernel on a single channel is Adam's, because its rows are pixels alone. The presets were trained with
    `ConvMuon(3e-3, global_clipnorm=1.0, use_ema=True, ema_momentum=0.998)` or smaller rates.

    Args:
        learning_rate: a number, or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: of Muon.
        newton_schulz_steps: number of Newton-Schulz iterations.
        rms: about the root mean square of an update at learning rate 1. With 0.2 it is that of Adam, so that both need
            the same rate.
        beta_1: of Adam, the momentum of the gradient.
        beta_2: of Adam, the momentum of the squared gradient.
        epsilon: of Adam, added to the root of the mean squared gradient.
        name: name of the optimizer.
        kwargs: as of `keras.optimizers.Optimizer`: `weight_decay`, `global_clipnorm`, `use_ema` and so on.

    Example:

    >>> from keras_frnn import models
    >>> model = models.FoldedRNN.from_topology([("conv", 2, 3), ("recurrent", 4, 3)], horizon=2)
    >>> model.compile(ConvMuon(3e-3, global_clipnorm=1.0), "mse")

    Reference: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
    https://kellerjordan.github.io/posts/muon/; Liu et al., "Muon is Scalable for LLM Training", 2025,
    https://arxiv.org/abs/2502.16982, for `rms`.
    """

    def __init__(
        self,
        learning_rate=1e-3,
        momentum=0.95,
        newton_schulz_steps=5,
        rms=0.2,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        name="conv_muon",
        **kwargs,
    ):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.newton_schulz_steps = newton_schulz_steps
        self.rms = rms
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._momentums = [self.add_variable_from_reference(variable, name="momentum") for variable in variables]
        self._velocities = [
            None if _is_muons(variable) else self.add_variable_from_reference(variable, name="velocity")
            for variable in variables
        ]

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        momentum, velocity = self._momentums[index], self._velocities[index]
        rate, gradient = (ops.cast(value, variable.dtype) for value in (learning_rate, gradient))
        if velocity is None:
            self.assign(momentum, self.momentum * momentum + gradient)
            shape = math.prod(variable.shape[:-1]), variable.shape[-1]
            matrix = ops.reshape(gradient + self.momentum * momentum, shape)
            update = self.rms * math.sqrt(max(shape)) * _orthogonalized(matrix, self.newton_schulz_steps)
            self.assign_sub(variable, rate * ops.reshape(update, variable.shape))
            return
        self.assign(momentum, self.beta_1 * momentum + (1 - self.beta_1) * gradient)
        self.assign(velocity, self.beta_2 * velocity + (1 - self.beta_2) * ops.square(gradient))
        step = ops.cast(self.iterations + 1, variable.dtype)
        correction = ops.sqrt(1 - self.beta_2**step) / (1 - self.beta_1**step)
        self.assign_sub(variable, rate * correction * momentum / (ops.sqrt(velocity) + self.epsilon))

    def get_config(self) -> dict:
        names = ("momentum", "newton_schulz_steps", "rms", "beta_1", "beta_2", "epsilon")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="keras_frnn")
class WarmUpAndCosine(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly, stays, and falls as a cosine.

        rate = highest * min(1, (step + 1) / warm_up) * (last + (1 - last) * (1 + cos(pi * f)) / 2)
        f = how much of the last `cooldown * steps` steps is over, between 0 and 1

    Args:
        highest: the rate between rise and fall.
        steps: length of the training in optimizer steps.
        warm_up: number of steps in which the rate rises.
        cooldown: fraction of `steps` in which the rate falls; with 0 it stays.
        last: the rate at the end, as a fraction of the highest.

    Raises:
        ValueError: `cooldown` is not between 0 and 1.

    Example:

    >>> rate = WarmUpAndCosine(1e-3, steps=100, warm_up=10, cooldown=0.4)
    >>> [f"{float(rate(step)):.1e}" for step in (0, 9, 60, 80, 100)]
    ['1.0e-04', '1.0e-03', '1.0e-03', '5.1e-04', '2.0e-05']
    """

    def __init__(self, highest: float, steps: int, warm_up: int = 0, cooldown: float = 1.0, last: float = 0.02):
        if not 0 <= cooldown <= 1:
            raise ValueError(f"`cooldown` is a fraction of the training, from 0 to 1. Received: cooldown={cooldown!r}")
        self.highest, self.steps, self.warm_up, self.cooldown, self.last = highest, steps, warm_up, cooldown, last

    def __call__(self, step):
        step = ops.cast(step, "float32")
        falling = max(1.0, self.cooldown * self.steps)
        over = ops.clip(1 - (self.steps - step) / falling, 0, 1) if self.cooldown else 0.0
        left = self.last + (1 - self.last) * (1 + ops.cos(math.pi * over)) / 2
        return self.highest * ops.minimum(1.0, (step + 1) / max(1, self.warm_up)) * left

    def get_config(self) -> dict:
        return {name: getattr(self, name) for name in ("highest", "steps", "warm_up", "cooldown", "last")}


def _is_muons(variable) -> bool:
    return len(variable.shape) == 4 and variable.shape[2] > 1


def _orthogonalized(matrix, iterations: int):
    """Moves the singular values of a matrix to about 0.7 to 1.2, by the quintic polynomial of Jordan et al."""
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if is_tall else matrix  # The smaller of both products with its transpose.
    x = x / (ops.sqrt(ops.sum(ops.square(x))) + 1e-7)
    for _ in range(iterations):
        gram = ops.matmul(x, ops.transpose(x))
        x = 3.4445 * x + ops.matmul(-4.7750 * gram + 2.0315 * ops.matmul(gram, gram), x)
    return ops.transpose(x) if is_tall else x
