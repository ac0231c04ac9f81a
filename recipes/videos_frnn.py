"""A folded recurrent network on videos of one's own.

    keras-frnn prepare my_videos --output=data/video_folder
    python recipes/videos_frnn.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/videos_frnn.py --preset=small    a quarter of the paper's width
    python recipes/videos_frnn.py --preset=paper    the paper's network and training; for a GPU
    python recipes/videos_frnn.py predict           predictions of the trained network, one by one

One video in five is for testing. Height and width of the prepared frames must be divisible by 16, or by 4 for `quick`.
With --mirror, half of the training sequences are mirrored left to right: not for text, maps or traffic. Slow motion:
--frame_step=2. `small` and `quick` use what learns more from less: Adam with a falling rate, and update gates
that begin nearly closed; `small` also keeps a running average of its weights.

Cost of `paper`, on frames of 64x64: 6,000,000 training sequences of 194 GMAC forward, about 3.5e18 multiply-accumulates
with the gradient; 105.7 M weights. Its time on a GPU was not measured. Nothing is published for videos of your own.

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
    dataset="video_folder",
    source=dict(data="data/video_folder"),
    windows=dict(context=10, horizon=10, frame_step=1, crop=None),
    augmentation=dict(mirror=False),
    test_sequences=None,
    published=None,
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
Prepare your videos and try again:

    keras-frnn prepare my_videos --output=data/video_folder
    python recipes/videos_frnn.py"""

if __name__ == "__main__":
    stages.main(__file__, first_steps=FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
