"""A folded recurrent network on Moving MNIST.

    python recipes/mmnist_frnn.py                   the preset quick: digits in the package, minutes on two CPU cores
    python recipes/mmnist_frnn.py --preset=small    MNIST (downloaded), a quarter of the paper's width
    python recipes/mmnist_frnn.py --preset=paper    as published; for a GPU, with data/mnist_test_seq.npy
    python recipes/mmnist_frnn.py predict           predictions of the trained network, one by one

Published: mean MSE 0.00947, PSNR 21.386 dB, DSSIM 0.04376 over the ten predicted frames.

Protocol: two digits of MNIST's training set move over 64x64 pixels, 0.1 of their free range a frame; ten frames are
given and ten predicted; L1 loss; TensorFlow 1's RMSProp, rate 1e-4; 500,000 iterations of batch 12. Tested on the
public 10,000 sequences, http://www.cs.toronto.edu/~nitish/unsupervised_video/mnist_test_seq.npy. `small` and `quick`
use what learns more from less: cross-entropy, Adam with a falling rate, update gates that begin nearly closed; `small`
also keeps a running average of its weights.

Cost of `paper`: 6,000,000 training sequences of 194 GMAC forward, about 3.5e18 multiply-accumulates with the gradient;
105.7 M weights; a step fits into 24 GB on a CPU (a slow test holds it to that). Its time on a GPU was not measured, and
its scores were not reached here.

An interrupted run goes on with the same command.
"""

import stages

PAPER = stages.Experiment(
    title="fRNN",
    model="FoldedRNN",
    topology=(
        ("conv", 32, 5),
        ("conv", 64, 5),
        ("pool", 2),
        ("recurrent", 128, 5),
        ("recurrent", 128, 5),
        ("pool", 2),
        ("recurrent", 256, 5),
        ("recurrent", 256, 5),
        ("pool", 2),
        ("recurrent", 512, 3),
        ("recurrent", 512, 3),
        ("pool", 2),
        ("recurrent", 256, 3),
        ("recurrent", 256, 3),
    ),
    kernel_initializer="ScaledOrthogonal",
    options=dict(update_bias=0.0, remat=False),
    precision="float32",
    device="gpu:0",
    loss="mae",
    optimizer="TF1RMSprop",
    learning_rate=1e-4,
    iterations=500_000,
    batch_size=12,
    checkpoint_every=100,
    dataset="moving_mnist",
    source=dict(digits="mnist", num_digits=2, size=64, speed=0.1, test_array="data/mnist_test_seq.npy"),
    windows=dict(context=10, horizon=10),
    augmentation=dict(),
    test_sequences=None,
    published="moving_mnist",
)

SMALL = stages.replace(
    PAPER,
    topology=(
        ("conv", 8, 5),
        ("conv", 16, 5),
        ("pool", 2),
        ("recurrent", 32, 5),
        ("recurrent", 32, 5),
        ("pool", 2),
        ("recurrent", 64, 5),
        ("recurrent", 64, 5),
        ("pool", 2),
        ("recurrent", 128, 3),
        ("recurrent", 128, 3),
        ("pool", 2),
        ("recurrent", 64, 3),
        ("recurrent", 64, 3),
    ),
    kernel_initializer="GlorotUniform",
    update_bias=-2.0,
    device=None,
    loss="FrameCrossentropy",
    optimizer="Adam",
    learning_rate=1e-3,
    decay="cosine",
    clipnorm=1.0,
    ema=0.999,
    iterations=60_000,
    batch_size=4,
    checkpoint_every=500,
    test_array=None,  # As many like the public ones, generated from MNIST's test digits.
    test_sequences=1_000,
)

QUICK = stages.replace(
    SMALL,
    topology=(("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)),
    learning_rate=2e-3,
    ema=None,
    iterations=1_400,
    batch_size=2,
    checkpoint_every=100,
    digits="mnist-5k",
    size=32,
    speed=0.05,  # Slow motion is learnt in minutes.
    test_sequences=200,
)

if __name__ == "__main__":
    stages.main(__file__, paper=PAPER, small=SMALL, quick=QUICK)
