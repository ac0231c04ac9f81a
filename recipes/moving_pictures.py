"""A folded recurrent network for natural video, trained on moving photographs.

    python recipes/moving_pictures.py                      the preset quick: a small network, minutes on two CPU cores
    python recipes/moving_pictures.py --preset=shipped     the network of the preset moving-pictures; for a GPU
    python recipes/moving_pictures.py --pictures=FOLDER    your own pictures; one in five is for testing
    python recipes/moving_pictures.py predict              predictions of the trained network, one by one

Protocol: sequences of `datasets.moving_pictures`, 64x64 in color, 10 given and 10 predicted frames, from 9 photographs;
tested on sequences from 4 others. Squared error. The decoder's update gates begin nearly closed, so training starts
close to going on with the motion that was seen.

The preset moving-pictures had its first phase before there was a motion layer, in another recipe: see its card.
"""

import keras_frnn_command  # noqa: F401  First: it lets the flags be read before Keras is loaded.
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import Experiment, MovingPictures, Network, Testing, Training, Windows, replace

LAYERS = (
    *(("patch", 2), ("recurrent", 64, 3), ("recurrent", 64, 3), ("pool", 2)),
    *(("recurrent", 80, 3), ("pool", 2), ("recurrent", 80, 3)),
)
LATER = dict(batch_size=2, ema=0.99, precision="float32")
SHIPPED = Experiment(
    title="fRNN",
    device="gpu:0",
    network=Network(
        topology=(("motion",), *LAYERS),
        kernel_initializer="GlorotUniform",
        update_bias=-2.0,
        decoder_update_bias=-4.0,
        precision="mixed_bfloat16",
    ),
    training=Training(
        loss="mse",
        optimizer="ConvMuon",
        learning_rate=3e-3,
        decay="cosine",
        warm_up=200,
        global_clipnorm=1.0,
        ema=0.998,
        iterations=7_730,
        batch_size=48,
    ),
    source=MovingPictures(size=64),
    windows=Windows(context=10, horizon=10),
    testing=Testing(test_sequences=256),
    # The layers above motion; with motion; and a few steps from the mean of both, which is better on videos than
    # either: see docs/motion.md.
    phases=(
        dict(topology=LAYERS),
        dict(iterations=1_500, learning_rate=4e-4, warm_up=50, **LATER),
        dict(iterations=100, learning_rate=5e-5, warm_up=10, average=2, **LATER),
    ),
)

QUICK = replace(
    SHIPPED,
    device=None,
    topology=(("motion",), ("patch", 4), ("recurrent", 48, 3), ("pool", 2), ("recurrent", 48, 3)),
    phases=(),
    precision="float32",
    learning_rate=2e-3,
    iterations=1_000,
    batch_size=4,
    test_sequences=100,
)

if __name__ == "__main__":
    main(__file__, shipped=SHIPPED, quick=QUICK)
