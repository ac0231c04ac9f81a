"""The ladder network with bridge connections on Moving MNIST: the paper's baseline, in the same topology.

    python recipes/mmnist_rladder.py                   the preset quick: digits in the package, minutes on two CPU cores
    python recipes/mmnist_rladder.py --preset=small    MNIST (downloaded), a quarter of the paper's width
    python recipes/mmnist_rladder.py --preset=paper    as published; for a GPU, with data/mnist_test_seq.npy
    python recipes/mmnist_rladder.py --preset=paper --initial_weights=runs/kth_rladder-paper    the pre-trained one

Published: mean MSE 0.04254, PSNR 13.857 dB, DSSIM 0.13788 over the ten predicted frames: from scratch, it learnt to
predict black. The paper's pre-trained RLadder was trained on KTH before: --initial_weights takes the weights of a run,
and nothing else of it. Give such a run a --title and an --output of its own.

Protocol: as in mmnist_frnn.py, with batches of 6. Runs of both that stand side by side are scored and drawn together,
each when it is evaluated, if they had the same data.

Cost of `paper`: 3,000,000 training sequences of 540 GMAC forward, about 4.9e18 multiply-accumulates with the gradient;
156.0 M weights. Its time on a GPU was not measured, and its scores were not reached here.

An interrupted run goes on with the same command.
"""

import stages

PAPER = stages.Experiment(
    title="RLadder",
    model="LadderRNN",
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
    options=dict(),
    precision="float32",
    device="gpu:0",
    loss="mae",
    optimizer="TF1RMSprop",
    learning_rate=1e-4,
    iterations=500_000,
    batch_size=6,
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
