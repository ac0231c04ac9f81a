"""Torch's compiler goes through a network without falling back to Python on the way."""

import keras
import numpy as np
import pytest

from keras_frnn import models


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="torch.compile is Torch's")
@pytest.mark.filterwarnings("ignore")  # What the compiler meets in Torch and Keras.
def test_one_graph_forwards_and_backwards():
    import torch

    keras.utils.set_random_seed(0)
    topology = [("conv", 3, 5), ("pool", 2), ("recurrent", 4, 3)]
    network = models.FoldedRNN.from_topology(topology, horizon=2)
    context = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 2, 8, 8, 1)).astype("float32"))
    network.build(context.shape)
    weights = [variable.value for variable in network.trainable_variables]

    def loss(context):
        return (network(context, training=True) ** 2).mean()

    # The compiler's first half alone: turning a graph into machine code takes minutes on a CPU.
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True, dynamic=False)
    assert float(compiled(context)) == pytest.approx(float(loss(context)), rel=1e-6)
    gradients = (torch.autograd.grad(function(context), weights) for function in (compiled, loss))
    for found, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
