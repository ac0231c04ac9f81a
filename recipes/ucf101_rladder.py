"""The ladder network with bridge connections on UCF101: the paper's baseline, in the same topology.

    keras-frnn prepare --dataset=ucf101 videos/ucf101 --output=data/ucf101
    python recipes/ucf101_rladder.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/ucf101_rladder.py --preset=small    a quarter of the paper's width
    python recipes/ucf101_rladder.py --preset=paper    as published; for a GPU

Published: mean MSE 0.00918, PSNR 23.558 dB, DSSIM 0.13395 over the ten predicted frames.

Protocol: as in ucf101_frnn.py, with batches of 6. If runs of both lie side by side and have the same data, evaluating
one scores and draws both.

Cost of `paper`: 3,000,000 training sequences of 676 GMAC forward, about 6.1e18 multiply-accumulates with the
gradient; 156.0 M parameters. Neither its time on a GPU nor its scores were measured. An interrupted run goes on with
the same command.
"""

import ucf101_frnn

from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import replace

_LADDER = dict(title="RLadder", model="LadderRNN", update_bias=None)
PAPER = replace(ucf101_frnn.PAPER, **_LADDER, batch_size=6)
SMALL = replace(ucf101_frnn.SMALL, **_LADDER)
QUICK = replace(ucf101_frnn.QUICK, **_LADDER)

if __name__ == "__main__":
    main(__file__, first_steps=ucf101_frnn.FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
