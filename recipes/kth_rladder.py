"""The ladder network with bridge connections on the KTH videos: the paper's baseline, in the same topology.

    keras-frnn prepare --dataset=kth videos/kth --output=data/kth
    python recipes/kth_rladder.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/kth_rladder.py --preset=small    a quarter of the paper's width
    python recipes/kth_rladder.py --preset=paper    as published; for a GPU

Published: mean MSE 0.00139, PSNR 31.268 dB, DSSIM 0.05945 over the ten predicted frames.

Protocol: as in kth_frnn.py, with batches of 6. Runs of both that stand side by side are scored and drawn together, each
when it is evaluated, if they had the same data. The paper's pre-trained RLadder on Moving MNIST starts from this run:
mmnist_rladder.py.

Cost of `paper`: 3,000,000 training sequences of 675 GMAC forward, about 6.1e18 multiply-accumulates with the
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
    python recipes/kth_rladder.py"""

if __name__ == "__main__":
    stages.main(__file__, first_steps=FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
