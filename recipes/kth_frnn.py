"""A folded recurrent network on the KTH human action videos.

    keras-frnn prepare --dataset=kth videos/kth --output=data/kth
    python recipes/kth_frnn.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/kth_frnn.py --preset=small    a quarter of the paper's width
    python recipes/kth_frnn.py --preset=paper    as published; for a GPU
    python recipes/kth_frnn.py predict           predictions of the trained network, one by one

Published: mean MSE 0.00175, PSNR 29.299 dB, DSSIM 0.07251 over the ten predicted frames.

Protocol: persons 1 to 16 are for training, 17 to 25 for testing; every window of 10 + 10 frames, 64x80, grey, mirrored
at random in training; L1 loss; TensorFlow 1's RMSProp, rate 1e-4; 500,000 iterations of batch 12. `small` and `quick`
use what learns more from less: Adam with a falling rate, and update gates that begin nearly closed; `small` also keeps
a running average of its weights.

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
    dataset="kth",
    source=dict(data="data/kth", protocol="paper"),
    windows=dict(context=10, horizon=10, frame_step=1, crop=None),
    augmentation=dict(mirror=True),
    test_sequences=None,
    published="kth",
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
The KTH videos are at https://www.csc.kth.se/cvap/actions/: download walking.zip, jogging.zip, running.zip, boxing.zip,
handwaving.zip and handclapping.zip, and unpack them into one folder, videos/kth say. Then prepare them and try again:

    keras-frnn prepare --dataset=kth videos/kth --output=data/kth
    python recipes/kth_frnn.py"""

if __name__ == "__main__":
    stages.main(__file__, first_steps=FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
