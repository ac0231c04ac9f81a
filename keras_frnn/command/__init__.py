"""The command `keras-frnn`, one file per verb; its command line is keras_frnn_command.py, beside the package.

A verb is a function with the name of its file, which connects files to the functions of this package. The command line
checks its arguments with before_keras.py first. Errors have messages for the user.
"""
