"""A folded recurrent network on UCF101, clips of human actions from the web.

    keras-frnn prepare --dataset=ucf101 videos/ucf101 --output=data/ucf101
    python recipes/ucf101_frnn.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/ucf101_frnn.py --preset=small    a quarter of the paper's width
    python recipes/ucf101_frnn.py --preset=paper    as published; for a GPU
    python recipes/ucf101_frnn.py predict           predictions of the trained network, one by one

Published: mean MSE 0.00908, PSNR 23.872 dB, DSSIM 0.13055 over the ten predicted frames.

Protocol: three quarters of the clips of each action are for training; every window of 10 + 10 frames, every second
frame of the video, 64x80 in color, cut out of 64x85 (at random in training, at the center in testing; the authors:
always at random), mirrored at random in training. Networks and training are those of kth_frnn.py. The official splits:
--data=data/ucf101-official-1 --protocol=official-1.

Cost of `paper`: 6,000,000 training sequences of 243 GMAC forward, about 4.4e18 multiply-accumulates with the gradient;
105.7 M parameters. Neither its time on a GPU nor its scores were measured. An interrupted run goes on with the same
command.
"""

import kth_frnn

from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import replace

_VIDEOS = dict(dataset="ucf101", data="data/ucf101", frame_step=2, crop=(64, 80), published="ucf101")
PAPER = replace(kth_frnn.PAPER, **_VIDEOS)
SMALL = replace(kth_frnn.SMALL, **_VIDEOS)
QUICK = replace(kth_frnn.QUICK, **_VIDEOS)

FIRST_STEPS = """\
UCF101 is at https://www.crcv.ucf.edu/data/UCF101.php: download UCF101.rar and unpack it into a folder, such as
videos/ucf101. Then prepare it and try again:

    keras-frnn prepare --dataset=ucf101 videos/ucf101 --output=data/ucf101"""

if __name__ == "__main__":
    main(__file__, first_steps=FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
