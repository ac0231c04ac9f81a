"""A folded recurrent network on your own videos.

    keras-frnn prepare my_videos --output=data/video_folder
    python recipes/videos_frnn.py                   the preset quick: a small network, minutes on two CPU cores
    python recipes/videos_frnn.py --preset=small    a quarter of the paper's width
    python recipes/videos_frnn.py --preset=paper    the paper's network and training; for a GPU
    python recipes/videos_frnn.py predict           predictions of the trained network, one by one

One video in five is for testing. Height and width of the prepared frames must be divisible by 16, or by 8 for `quick`.
With --mirror, half of the training sequences are mirrored left to right: not for text, maps or traffic. Slow motion:
--frame_step=2. Training is that of kth_frnn.py. In `small` and `quick`, an untrained network goes on with the motion
it has seen, and the checkpoint is kept that is best on 40 sequences of training videos that are held out. To start from
a trained network, see docs/fine_tuning.md.

Cost of `paper`, on frames of 64x64: 6,000,000 training sequences of 194 GMAC forward, about 3.5e18 multiply-accumulates
with the gradient; 105.7 M parameters. Its time on a GPU was not measured. An interrupted run goes on with the same
command.
"""

import kth_frnn

from keras_frnn.experiments.command_line import main
from keras_frnn.experiments.experiment import Videos, replace
from keras_frnn.topology import PAPER_TOPOLOGY, scale_topology

_VIDEOS = dict(source=Videos(data="data/video_folder", mirror=False), published=None)
PAPER = replace(kth_frnn.PAPER, **_VIDEOS)
# With update gates that are nearly closed, an untrained network keeps the motion that it has seen.
_STARTS_WITH_MOTION = dict(decoder_update_bias=-5.0, validation=40, ema=None)
SMALL = replace(
    kth_frnn.SMALL,
    **_VIDEOS,
    **_STARTS_WITH_MOTION,
    topology=(("motion",), ("patch", 2), *scale_topology(PAPER_TOPOLOGY, 1 / 4)[3:]),
)
QUICK = replace(
    kth_frnn.QUICK,
    **_VIDEOS,
    **_STARTS_WITH_MOTION,
    topology=(("motion",), ("patch", 4), ("minimal", 64, 5), ("pool", 2), ("recurrent", 64, 3)),
)

FIRST_STEPS = """\
Prepare your videos and try again:

    keras-frnn prepare my_videos --output=data/video_folder"""

if __name__ == "__main__":
    main(__file__, first_steps=FIRST_STEPS, paper=PAPER, small=SMALL, quick=QUICK)
