"""The ladder network with bridge connections on Moving MNIST: the paper's baseline, in the same topology.

    python recipes/mmnist_rladder.py                   the preset quick: digits in the package, minutes on two CPU cores
    python recipes/mmnist_rladder.py --preset=small    MNIST (downloaded), a quarter of the paper's width
    python recipes/mmnist_rladder.py --preset=paper    as published; for a GPU, with data/mnist_test_seq.npy
    python recipes/mmnist_rladder.py --preset=paper --initial_weights=runs/kth_rladder-paper    the pre-trained one

Published: mean MSE 0.04254, PSNR 13.857 dB, DSSIM 0.13788 over the ten predicted frames: from scratch, it learned to
predict black. The paper's pre-trained RLadder was trained on KTH before: --initial_weights takes the weights of a run,
and nothing else of it. Give such a run a --title and an --output of its own.

Protocol: as in mmnist_frnn.py, with batches of 6. If runs of both lie side by side and have the same data, evaluating
one scores and draws both.

Cost of `paper`: 3,000,000 training sequences of 540 GMAC forward, about 4.9e18 multiply-accumulates with the
gradient; 156.0 M parameters. Neither its time on a GPU nor its scores were measured. An interrupted run goes on with
the same command.
"""

import mmnist_frnn

from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import replace

_LADDER = dict(title="RLadder", model="LadderRNN", update_bias=None)
PAPER = replace(mmnist_frnn.PAPER, **_LADDER, batch_size=6)
SMALL = replace(mmnist_frnn.SMALL, **_LADDER)
QUICK = replace(mmnist_frnn.QUICK, **_LADDER)

if __name__ == "__main__":
    main(__file__, paper=PAPER, small=SMALL, quick=QUICK)
