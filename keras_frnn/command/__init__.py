"""The command `keras-frnn`, one file per verb; its command line is keras_frnn_command.py, beside the package.

A verb is a function with the name of its file. It is thin: from files to the functions of this package and back. What
is wrong raises an error whose message is for the user.
"""
