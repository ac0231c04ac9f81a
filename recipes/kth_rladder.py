"""The ladder network with bridge connections on the KTH videos: the paper's baseline, in the same topology.

    keras-frnn prepare --dataset=kth videos/kth --output=data/kth
    python recipes/kth_rladder.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/kth_rladder.py --preset=small    a quarter of the paper's width
    python recipes/kth_rladder.py --preset=paper    as published; for a GPU

Published: mean MSE 0.00139, PSNR 31.268 dB, DSSIM 0.05945 over the ten predicted frames.

Protocol: as in kth_frnn.py, with batches of 6. If runs of both lie side by side and have the same data, evaluating one
scores and draws both. The paper's pre-trained RLadder on Moving MNIST starts from this run: mmnist_rladder.py.

Cost of `paper`: 3,000,000 training sequences of 675 GMAC forward, about 6.1e18 multiply-accumulates with the
gradient; 156.0 M parameters. Neither its time on a GPU nor its scores were measured. An interrupted run goes on with
the same command.
"""

import kth_frnn

from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import replace

_LADDER = dict(title="RLadder", model="LadderRNN", update_bias=None)
PAPER = replace(kth_frnn.PAPER, **_LADDER, batch_size=6)
SMALL = replace(kth_frnn.SMALL, **_LADDER)
QUICK = replace(kth_frnn.QUICK, **_LADDER)

if __name__ == "__main__":
    main(__file__, first_steps=kth_frnn.FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
