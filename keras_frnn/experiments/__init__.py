"""Experiments: what defines one, and the engine that trains, scores and draws it, safe against being killed.

    experiment <- run_folder <- data <- training, evaluating <- running <- command_line <- recipes

Each of these files imports only what stands to its left, and devices.py. The first and the last are read before Keras
is loaded, so this file imports none of them.
"""
