"""The ladder network with bridge connections on UCF101: the paper's baseline, in the same topology.

    keras-frnn prepare --dataset=ucf101 videos/ucf101 --output=data/ucf101
    python recipes/ucf101_rladder.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/ucf101_rladder.py --preset=small    a quarter of the paper's width
    python recipes/ucf101_rladder.py --preset=paper    as published; for a GPU

Published: mean MSE 0.00918, PSNR 23.558 dB, DSSIM 0.13395 over the ten predicted frames.

Protocol: as in ucf101_frnn.py, with batches of 6. Runs of both that stand side by side are scored and drawn together,
each when it is evaluated, if they had the same data.

Cost of `paper`: 3,000,000 training sequences of 676 GMAC forward, about 6.1e18 multiply-accumulates with the
gradient; 156.0 M weights. Its time on a GPU was not measured, and its scores were not reached here: there was none.

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
    dataset="ucf101",
    source=dict(data="data/ucf101", protocol="paper"),
    windows=dict(context=10, horizon=10, frame_step=2, crop=(64, 80)),
    augmentation=dict(mirror=True),
    test_sequences=None,
    published="ucf101",
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
    optimizer="Adam",
    learning_rate=1e-3,
    decay="cosine",
    clipnorm=1.0,
    ema=0.999,
    iterations=60_000,
    batch_size=4,
    checkpoint_every=500,
    test_sequences=1_000,
)

QUICK = stages.replace(
    SMALL,
    topology=(("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)),
    learning_rate=2e-3,
    ema=None,
    iterations=600,
    batch_size=2,
    checkpoint_every=100,
    test_sequences=100,
)

FIRST_STEPS = """\
UCF101 is at https://www.crcv.ucf.edu/data/UCF101.php: download UCF101.rar and unpack it into a folder, videos/ucf101
say. Then prepare it and try again:

    keras-frnn prepare --dataset=ucf101 videos/ucf101 --output=data/ucf101
    python recipes/ucf101_rladder.py"""

if __name__ == "__main__":
    stages.main(__file__, first_steps=FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
