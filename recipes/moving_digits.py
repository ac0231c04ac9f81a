"""The network moving-digits of the package: two digits move over 32x32 pixels, ten frames are given and ten predicted.

    python recipes/moving_digits.py                     the preset quick: a small network, minutes on two CPU cores
    python recipes/moving_digits.py --preset=shipped    as the network of the package: 20 hours on two CPU cores
    python recipes/moving_digits.py digits              how readable its digits are, and how good they could be

Each trains, scores and draws a network, and exports runs/moving_digits-PRESET/preset for `FoldedRNN.from_preset`. An
interrupted run goes on with the same command. `shipped` has the phases of the network of the package, which was trained
before this recipe: MSE 0.199 of copying the last frame, DSSIM 0.334, after 2,050 TMAC of forward passes.
docs/learning.md has the reasons for each phase. `quick` reached 0.367 and 0.662 after 1.85 TMAC.
"""

import keras_frnn_command  # noqa: F401  First: it lets the flags be read before Keras is loaded.
from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import Experiment, MovingDigits, Network, Testing, Training, Windows, replace

DEEP = (("pool", 2), ("recurrent", 48, 3), ("pool", 2), ("recurrent", 64, 3))
NARROW = (("conv", 16, 3), ("recurrent", 32, 3), ("recurrent", 32, 3), *DEEP)
WIDE = (("conv", 32, 3), ("recurrent", 64, 3), ("recurrent", 64, 3), *DEEP)
SMALL = (("conv", 8, 3), ("recurrent", 16, 3), ("pool", 2), ("recurrent", 24, 3), ("pool", 2), ("recurrent", 32, 3))
HALF, THIRD = (dict(num_digits=1), {}), (dict(num_digits=1), {}, {})  # The share of batches with a single digit.
LOG, FLOAT, BFLOAT = "FrameCrossentropy", "float32", "mixed_bfloat16"
# fmt: off
FLAGS = ("topology", "precision", "horizon", "batch_size", "iterations", "learning_rate", "cooldown", "loss", "dssim",
         "turns", "ema", "seed", "average")
PHASES = (
    (NARROW, FLOAT,  1,  2, 2_018,  3e-3,   0.3, LOG,   0.0,  THIRD, 0.98,  0,   1),
    (NARROW, FLOAT,  4,  2, 2_175,  2e-3,   0.3, LOG,   0.0,  THIRD, 0.98,  10,  1),
    (NARROW, FLOAT,  10, 2, 6_254,  2e-3,   0.7, LOG,   0.0,  THIRD, 0.998, 20,  1),
    (NARROW, FLOAT,  10, 4, 4_465,  2e-3,   1.0, LOG,   0.0,  THIRD, 0.998, 30,  1),
    (NARROW, FLOAT,  10, 4, 5_898,  2e-3,   1.0, LOG,   0.0,  THIRD, 0.998, 40,  1),
    (NARROW, FLOAT,  10, 4, 3_146,  2e-3,   1.0, LOG,   0.5,  THIRD, 0.998, 50,  1),
    (NARROW, BFLOAT, 10, 4, 13_785, 2e-3,   1.0, LOG,   0.3,  THIRD, 0.998, 70,  1),
    (NARROW, BFLOAT, 10, 4, 4_864,  1e-3,   1.0, LOG,   1.0,  HALF,  0.998, 80,  1),
    (NARROW, BFLOAT, 10, 8, 5_789,  2e-3,   1.0, LOG,   0.6,  HALF,  0.998, 90,  1),
    (WIDE,   BFLOAT, 10, 8, 5_620,  2e-3,   1.0, LOG,   0.3,  HALF,  0.998, 100, 1),
    (WIDE,   BFLOAT, 10, 8, 5_072,  1.5e-3, 1.0, "mse", 0.05, THIRD, 0.998, 120, 1),
    (WIDE,   BFLOAT, 10, 8, 3_680,  1.2e-3, 1.0, "mse", 0.05, THIRD, 0.998, 130, 1),
    (WIDE,   BFLOAT, 10, 8, 4_018,  1.5e-3, 1.0, "mse", 0.05, THIRD, 0.998, 140, 1),
    (WIDE,   BFLOAT, 10, 8, 847,    3e-4,   1.0, "mse", 0.05, THIRD, 0.998, 150, 2),
    (WIDE,   BFLOAT, 10, 8, 2_822,  6e-4,   1.0, "mse", 0.05, THIRD, 0.998, 160, 1),
    (WIDE,   BFLOAT, 10, 8, 1_478,  3e-4,   1.0, "mse", 0.05, THIRD, 0.998, 170, 2),
)
SHIPPED = Experiment(
    title="moving-digits",
    network=Network(topology=WIDE, kernel_initializer="GlorotUniform", update_bias=-2.0),
    training=Training(loss=LOG, optimizer="ConvMuon", learning_rate=2e-3, decay="cosine", warm_up=100,
                      global_clipnorm=1.0, iterations=600, batch_size=2, checkpoint_every=200),
    source=MovingDigits(digits="mnist-5k", num_digits=2, size=32, speed=0.05, test_array=None),
    windows=Windows(context=10, horizon=10),
    testing=Testing(test_sequences=1_000),
    phases=tuple(dict(zip(FLAGS, row, strict=True)) for row in PHASES),
)
# fmt: on
LAST = dict(seed=30, loss="mse", dssim=0.05, batch_size=4, learning_rate=1e-3, ema=0.98)
QUICK = replace(
    SHIPPED, topology=SMALL, test_sequences=200, phases=(dict(horizon=1), dict(horizon=4, seed=10), dict(seed=20), LAST)
)

if __name__ == "__main__":
    own = {"digits": ("digit_scores", "readability.csv and limits.csv: digits read by a classifier, and a lower bound")}
    main(__file__, by_default=("train", "evaluate", "analyse", "export"), own=own, shipped=SHIPPED, quick=QUICK)
