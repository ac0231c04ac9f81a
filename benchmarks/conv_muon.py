"""Muon for convolutions, with which the shipped network was trained."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="keras_frnn")
class ConvMuon(keras.optimizers.Muon):
    """`keras.optimizers.Muon`, which orthogonalises the updates of matrices, for kernels of convolutions, too.

    A kernel is taken as the matrix (height * width * channels, filters). Biases, and kernels on a single channel, which
    is pixels and no space of features, are Adam's, as is everything that Muon leaves to it.

    Reference: Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024,
    https://kellerjordan.github.io/posts/muon/
    """

    def _should_use_adamw(self, variable):
        return len(variable.shape) != 4 or variable.shape[2] == 1

    def _muon_update_step(self, gradient, variable, lr, m):
        self.assign_add(m, gradient + m * (self.momentum - 1))
        gradient = gradient + self.momentum * m if self.nesterov else m
        matrix = ops.reshape(gradient, (-1, gradient.shape[-1]))
        update = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(update, variable.shape))
