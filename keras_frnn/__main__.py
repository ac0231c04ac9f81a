"""`python -m keras_frnn`: the command `keras-frnn`."""

import sys

from keras_frnn_command import main

sys.exit(main())
