"""A folded recurrent network on the KTH human action videos.

    keras-frnn prepare --dataset=kth videos/kth --output=data/kth
    python recipes/kth_frnn.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/kth_frnn.py --preset=small    a quarter of the paper's width
    python recipes/kth_frnn.py --preset=paper    as published; for a GPU
    python recipes/kth_frnn.py predict           predictions of the trained network, one by one

Published: mean MSE 0.00175, PSNR 29.299 dB, DSSIM 0.07251 over the ten predicted frames.
Protocol: persons 1 to 16 are for training, 17 to 25 for testing; every window of 10 + 10 frames, 64x80, gray, mirrored
at random in training; L1 loss; TensorFlow 1's RMSProp, rate 1e-4; 500,000 iterations of batch 12. `small` and `quick`
learn more from less: Adam with a falling rate, update gates that begin nearly closed; `small` also averages weights.

Cost of `paper`: 6,000,000 training sequences of 243 GMAC forward, about 4.4e18 multiply-accumulates with the gradient;
105.7 M parameters. Its time on a GPU and its scores were not measured. The same command resumes an interrupted run.
"""

import keras_frnn_command  # noqa: F401  First: it lets the flags be read before Keras is loaded.
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import (
    Experiment,
    Network,
    PublishedVideos,
    Testing,
    Training,
    VideoWindows,
    replace,
)
from keras_frnn.topology import PAPER_TOPOLOGY, scale_topology

PAPER = Experiment(
    title="fRNN",
    device="gpu:0",
    network=Network(topology=PAPER_TOPOLOGY, kernel_initializer="ScaledOrthogonal", update_bias=0.0),
    training=Training(loss="mae", optimizer="TF1RMSprop", learning_rate=1e-4, iterations=500_000, batch_size=12),
    source=PublishedVideos(dataset="kth", data="data/kth", protocol="paper", mirror=True),
    windows=VideoWindows(context=10, horizon=10, frame_step=1, crop=None),
    testing=Testing(published="kth"),
)
# fmt: off
SMALL = replace(
    PAPER, device=None, topology=tuple(scale_topology(PAPER_TOPOLOGY, 1 / 4)),
    kernel_initializer="GlorotUniform", update_bias=-2.0,
    optimizer="Adam", learning_rate=1e-3, decay="cosine", clipnorm=1.0, ema=0.999,
    iterations=60_000, batch_size=4, checkpoint_every=500, test_sequences=1_000,
)
QUICK = replace(
    SMALL, topology=(("conv", 16, 5), ("pool", 2), ("recurrent", 24, 5), ("pool", 2), ("recurrent", 48, 5)),
    learning_rate=2e-3, ema=None, iterations=600, batch_size=2, checkpoint_every=100, test_sequences=100,
)
# fmt: on

FIRST_STEPS = """\
The KTH videos are at https://www.csc.kth.se/cvap/actions/: download walking.zip, jogging.zip, running.zip, boxing.zip,
handwaving.zip and handclapping.zip, and unpack them into one folder, such as videos/kth. Prepare them and try again:

    keras-frnn prepare --dataset=kth videos/kth --output=data/kth"""

if __name__ == "__main__":
    main(__file__, first_steps=FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
