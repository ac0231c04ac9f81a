"""The command line of `keras-frnn`. What it does is in keras_frnn/command.py.

It lies beside the package, whose import loads Keras: `--help` answers at once.
"""

import argparse
import math
import os
import sys

PRESET = "moving-digits"


def main(argv: list[str] | None = None):
    """Runs one of the commands. What a user can mend ends in a sentence and exit status 1, or 2 for the usage."""
    options = vars(_parser().parse_args(argv))
    name = options.pop("command")
    # Before TensorFlow and OpenCV are loaded: what their insides say is not for users.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        from keras_frnn import command

        getattr(command, name)(**options)
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")
    except (ValueError, OSError, ImportError, FloatingPointError) as error:
        sys.exit(f"keras-frnn: {error}")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text!r}")
    return int(text)


def _size(text: str) -> tuple[int, int]:
    height, found, width = text.partition("x")
    if not found or not height.isdecimal() or not width.isdecimal() or not int(height) * int(width):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH in pixels, such as 64x80, got {text!r}")
    return int(height), int(width)


def _positive_float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text!r}")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "keras-frnn", description="Folded recurrent networks that predict the future frames of a video."
    )
    commands = parser.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")

    def command(name: str, help: str):
        description = help[0].upper() + help[1:] + "."
        return commands.add_parser(name, help=help, description=description, allow_abbrev=False)

    def model(part, default=PRESET):
        part.add_argument(
            "--model", default=default, help=f"{PRESET}, a .keras file, or a preset's folder (%(default)s)"
        )

    def size(part):
        part.add_argument(
            "--size", type=_size, help="HEIGHTxWIDTH of the frames (as the network was built, or the clip's)"
        )

    part = command("predict", "what comes after the first frames of a clip")
    part.add_argument("clip", help="any file that FFmpeg reads")
    model(part)
    part.add_argument("--output", default="out.mp4", help="out.mp4, out.gif or out.png (%(default)s)")
    part.add_argument("--steps", type=_positive, default=30, help="frames to predict (%(default)s)")
    part.add_argument("--given", type=_positive, default=10, help="frames that the network sees (%(default)s)")
    part.add_argument("--start", type=_count, default=0, help="number of the first given frame (%(default)s)")
    part.add_argument("--frame-step", type=_positive, default=1, help="2 takes every second frame (%(default)s)")
    size(part)

    part = command("live", "a camera or a file, frame by frame, with the forecast beside")
    part.add_argument("clip", nargs="?", help="a file, which may still grow; without one, the camera")
    part.add_argument("--camera", type=_count, default=0, help="its number (%(default)s)")
    model(part)
    part.add_argument("--steps", type=_positive, default=10, help="frames to predict each time (%(default)s)")
    part.add_argument("--frames", type=_positive, help="end after as many frames")
    part.add_argument("--follow", type=_positive_float, default=0.0, help="seconds to wait for a file to grow (0)")
    part.add_argument("--headless", action="store_true", help="open no window")
    part.add_argument("--output", help="keep what is shown, out.mp4")
    size(part)

    part = command("prepare", "decode a folder of your own videos")
    part.add_argument("folder", help="videos, in subfolders or not")
    part.add_argument("--output", default="prepared", help="folder for train.hdf5 and test.hdf5 (%(default)s)")
    part.add_argument("--size", type=_size, default=(64, 64), help="HEIGHTxWIDTH of the stored frames (64x64)")
    part.add_argument("--grey", action="store_true", help="store grey frames; else colour")
    part.add_argument("--test-fraction", type=float, default=0.2, help="share of the videos for testing (%(default)s)")
    part.add_argument("--accept-bad-videos", action="store_true", help="store what can be read of bad videos")

    part = command("train", "train a network on them")
    part.add_argument("folder", nargs="?", default="prepared", help="what prepare wrote (%(default)s)")
    part.add_argument("--output", default="model.keras", help="the network; training goes on from it (%(default)s)")
    part.add_argument("--steps", type=_positive, default=2000, help="optimizer steps (%(default)s)")
    part.add_argument("--batch-size", type=_positive, default=4, help="sequences a step (%(default)s)")
    part.add_argument("--context", type=_positive, default=10, help="given frames (%(default)s)")
    part.add_argument("--horizon", type=_positive, default=10, help="predicted frames (%(default)s)")
    part.add_argument("--width", type=_positive_float, default=1.0, help="factor on the channels (%(default)s)")
    part.add_argument("--rate", type=_positive_float, default=2e-3, help="first learning rate (%(default)s)")

    part = command("evaluate", "score it on the test videos")
    part.add_argument("folder", nargs="?", default="prepared", help="what prepare wrote (%(default)s)")
    model(part, "model.keras")
    part.add_argument("--sequences", type=_positive, default=200, help="test sequences (%(default)s)")
    part.add_argument("--horizon", type=_positive, help="frames to predict (the network's)")
    part.add_argument("--output", help="scores.csv")
    return parser


if __name__ == "__main__":
    main()
