"""A folded recurrent network on Moving MNIST.

    python recipes/mmnist_frnn.py                   the preset quick: digits in the package, minutes on two CPU cores
    python recipes/mmnist_frnn.py --preset=small    MNIST (downloaded), a quarter of the paper's width
    python recipes/mmnist_frnn.py --preset=paper    as published; for a GPU, with data/mnist_test_seq.npy
    python recipes/mmnist_frnn.py predict           predictions of the trained network, one by one

Published: mean MSE 0.00947, PSNR 21.386 dB, DSSIM 0.04376 over the ten predicted frames.

Protocol: two digits of MNIST's training set move over 64x64 pixels, 0.1 of their free range per frame; ten frames are
given and ten predicted; L1 loss; TensorFlow 1's RMSProp, rate 1e-4; 500,000 iterations of batch 12. Tested on the
public 10,000 sequences, http://www.cs.toronto.edu/~nitish/unsupervised_video/mnist_test_seq.npy. `small` and `quick`
learn more from less: cross-entropy, Adam with a falling rate, update gates that begin nearly closed; `small` also keeps
a running average of its weights.

Cost of `paper`: 6,000,000 training sequences of 194 GMAC forward, about 3.5e18 multiply-accumulates with the gradient;
105.7 M parameters; a step fits into 24 GB on a CPU (a slow test checks this). Neither its time on a GPU nor its scores
were measured. An interrupted run goes on with the same command.
"""

import keras_frnn_command  # noqa: F401  First: it lets the flags be read before Keras is loaded.
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import Experiment, MovingDigits, Network, Testing, Training, Windows, replace
from keras_frnn.topology import PAPER_TOPOLOGY, scale_topology

PAPER = Experiment(
    title="fRNN",
    device="gpu:0",
    network=Network(topology=PAPER_TOPOLOGY, kernel_initializer="ScaledOrthogonal", update_bias=0.0),
    training=Training(loss="mae", optimizer="TF1RMSprop", learning_rate=1e-4, iterations=500_000, batch_size=12),
    source=MovingDigits(digits="mnist", num_digits=2, size=64, speed=0.1, test_array="data/mnist_test_seq.npy"),
    windows=Windows(context=10, horizon=10),
    testing=Testing(published="moving_mnist"),
)

# fmt: off
SMALL = replace(
    PAPER, device=None, topology=tuple(scale_topology(PAPER_TOPOLOGY, 1 / 4)),
    kernel_initializer="GlorotUniform", update_bias=-2.0, loss="FrameCrossentropy",
    optimizer="Adam", learning_rate=1e-3, decay="cosine", clipnorm=1.0, ema=0.999,
    iterations=60_000, batch_size=4, checkpoint_every=500, test_sequences=1_000,
    test_array=None,  # As many like the public ones, generated from MNIST's test digits.
)
QUICK = replace(
    SMALL, topology=(("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)),
    learning_rate=2e-3, ema=None, iterations=1_400, batch_size=2, checkpoint_every=100, test_sequences=200,
    digits="mnist-5k", size=32, speed=0.05,  # Slow motion is learned in minutes.
)
# fmt: on

if __name__ == "__main__":
    main(__file__, paper=PAPER, small=SMALL, quick=QUICK)
