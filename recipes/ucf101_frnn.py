"""A folded recurrent network on UCF101, clips of human actions from the web.

    keras-frnn prepare --dataset=ucf101 videos/ucf101 --output=data/ucf101
    python recipes/ucf101_frnn.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/ucf101_frnn.py --preset=small    a quarter of the paper's width
    python recipes/ucf101_frnn.py --preset=paper    as published; for a GPU
    python recipes/ucf101_frnn.py predict           predictions of the trained network, one by one

Published: mean MSE 0.00908, PSNR 23.872 dB, DSSIM 0.13055 over the ten predicted frames.

Protocol: three quarters of the clips of each action are for training; every window of 10 + 10 frames, every second
frame of the video, 64x80 in colour, cut out of 64x85 (at random in training, in the middle in testing; the authors:
always at random), mirrored at random in training; L1 loss; TensorFlow 1's RMSProp, rate 1e-4; 500,000 iterations of
batch 12. The official splits: --data=data/ucf101-official-1 --protocol=official-1. `small` and `quick` use what learns
more from less: Adam with a falling rate, and update gates that begin nearly closed; `small` also averages its weights.

Cost of `paper`: 6,000,000 training sequences of 243 GMAC forward, about 4.4e18 multiply-accumulates with the gradient;
105.7 M weights. Its time on a GPU was not measured, and its scores were not reached here: there was none.

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
    update_bias=-2.0,
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
    python recipes/ucf101_frnn.py"""

if __name__ == "__main__":
    stages.main(__file__, first_steps=FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
