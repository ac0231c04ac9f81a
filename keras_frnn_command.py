"""The command line of `keras-frnn`. What the commands do is in keras_frnn/command/.

It lies beside the package, whose import loads Keras unless this module is loaded first, so that `--help` and many
errors are printed at once.
"""

import argparse
import codecs
import contextlib
import functools
import importlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

# The package looks for this name, which `python -m keras_frnn_command` does not set.
sys.modules.setdefault("keras_frnn_command", sys.modules[__name__])

import keras_frnn  # noqa: E402
from keras_frnn.command import before_keras  # noqa: E402

_SIZE = re.compile(r"([1-9]\d*)x([1-9]\d*)")
_RECIPES = {"--iterations": "--steps", "--batch-size": "--batch", "--checkpoint-every": "--save-every"}


def main(argv: list[str] | None = None) -> int:
    """Runs a command line, by default that of the process.

    Returns:
        The exit code: 0, or 1 after an error, which is printed as a sentence.

    Raises:
        SystemExit: with 2 if the command line itself is wrong; with 0 after `--help` and `--version`.
    """
    # The name of a file may have letters that the terminal cannot print, and bytes that are not text.
    codecs.register_error("keras-frnn", _spelled_out)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="keras-frnn")
    parsed, unknown = _parser().parse_known_args([_spelled(one) for one in (sys.argv[1:] if argv is None else argv)])
    arguments = vars(parsed)
    name, parser = arguments.pop("command"), arguments.pop("parser")
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    for variable, value in (
        ("TF_CPP_MIN_LOG_LEVEL", "3"),
        ("OPENCV_LOG_LEVEL", "OFF"),
        ("OPENCV_FFMPEG_LOGLEVEL", "-8"),
    ):
        os.environ.setdefault(variable, value)
    try:
        before_keras.check(name, arguments)
        with _without_stderr():
            command = importlib.import_module(f"keras_frnn.command.{name}")
        getattr(command, name)(**arguments)
    except KeyboardInterrupt:
        hint = " The same command continues." if name in ("prepare", "train") else ""
        print(f"\nkeras-frnn {name}: interrupted.{hint}", file=sys.stderr)
        return 1
    # All errors, also those of a backend: its stack trace is of no use to a user of the command.
    except Exception as error:
        text = _with_flags(str(error).strip(), arguments) or "no reason is given"
        known = isinstance(error, (ValueError, OSError, FloatingPointError, ImportError))
        print(f"\nkeras-frnn {name}: {text if known else f'{type(error).__name__}: {text}'}", file=sys.stderr)
        return 1
    return 0


def _spelled(argument: str) -> str:
    """`--frame_step=2` as `--frame-step=2`, and the flags of a recipe as those of `train`."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    name = name.replace("_", "-")
    return _RECIPES.get(name, name) + equals + value


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    """Replaces letters that cannot be printed by escapes, and the line of Keras' progress bar by `-`."""
    text, end = codecs.backslashreplace_errors(error)
    return text.replace("\\u2501", "-"), end


def _with_flags(text: str, arguments: dict) -> str:
    """A message of the package in the terms of the command: `frame_step` and frame_step=2 become flags."""
    for name in arguments:
        flag = "--" + name.replace("_", "-")
        text = re.sub(rf"`{name}(=[^`]*)?`", rf"{flag}\1", text)
        text = re.sub(rf"(?<![\w./-]){name}=(?=\S)", f"{flag}=", text)
    return text


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """Hides what TensorFlow prints about processors and GPUs while it is imported, whatever its log level."""
    with open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-frnn",
        usage="keras-frnn COMMAND ...; keras-frnn COMMAND --help",
        description="Predicts the future frames of videos with folded recurrent networks.",
        epilog="The environment variable KERAS_BACKEND is tensorflow, jax or torch.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"keras-frnn {keras_frnn.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, prog="keras-frnn")

    def command(name: str, usage: str, help: str):
        added = commands.add_parser(
            name,
            usage=f"keras-frnn {name} {usage}",
            help=help,
            description=help,
            allow_abbrev=False,
            formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=26, width=100),
        )
        added.set_defaults(parser=added)
        return functools.partial(_add, added)

    def model(default: str) -> dict:
        known = "moving-pictures or moving-digits, which come with the package, a .keras file or a folder"
        return dict(default=default, metavar="MODEL", help=known)

    size = dict(type=_size, metavar="HEIGHTxWIDTH", help="size of the frames that the model is given")
    # Flags of the windows have no default: one that is not given is as the network was trained.
    windows = {
        f"--{name.replace('_', '-')}": dict(
            type=_positive, metavar="N", help=help, otherwise=f"as trained, or {before_keras.WINDOWS[name]}"
        )
        for name, help in {
            "context": "given frames",
            "horizon": "frames to predict",
            "frame_step": "2 takes every second frame",
        }.items()
    }

    add = command("predict", "CLIP [--FLAG=VALUE ...]", "Draw truth and prediction of a clip, also beyond its end.")
    add("clip", metavar="CLIP", help="a video file")
    add("--model", **model("moving-pictures"))
    add("--output", default="out.mp4", metavar="FILE", help=".mp4 or .gif, or .png for a strip")
    add("--steps", type=_positive, metavar="N", help="frames to predict", otherwise="as trained")
    add("--context", **windows["--context"])
    add("--start", type=_integer, default=0, metavar="N", help="first given frame; -10: the tenth from the end")
    add("--frame-step", **windows["--frame-step"])
    add("--size", **size, otherwise="as it was built, or the clip's")
    add("--rate", type=_rate, metavar="FPS", help="frames per second to write", otherwise="the clip's")

    add = command("live", "[--FLAG=VALUE ...]", "Predict while frames come from a camera or a file, until Ctrl-C.")
    add("--camera", default="0", metavar="SOURCE", help="the number of a camera, or a video file")
    add("--model", **model("moving-pictures"))
    add("--steps", type=_positive, metavar="N", help="frames to predict", otherwise="as trained")
    add("--every", type=_positive, default=1, metavar="N", help="predict after every Nth frame")
    add("--frames", type=_positive, metavar="N", help="stop after so many frames")
    add("--follow", type=_rate, metavar="SECONDS", help="wait so long for more at the end of a file that grows")
    add("--headless", action="store_true", help="open no window")
    add("--output", metavar="FILE", help="write the pictures to an .mp4, too")
    add("--size", **size, otherwise="as it was built, or the video's")

    add = command("prepare", "FOLDER [--FLAG=VALUE ...]", "Decode videos, once, for `train`, `evaluate` and recipes.")
    videos, ucf101 = (before_keras.PREPARING[name] for name in ("videos", "ucf101"))
    part, protocols = videos["test_fraction"], ("paper", "official-1", "official-2", "official-3")
    add("folder", metavar="FOLDER", help="folder of the videos, also in its subfolders")
    add("--output", default="prepared", metavar="FOLDER", help="folder to write to")
    kinds = dict(choices=tuple(before_keras.PREPARING), default="videos", metavar="NAME")
    add("--dataset", **kinds, help="kth, ucf101: in the paper's sizes and splits; videos: any")
    add("--size", type=_size, metavar="HEIGHTxWIDTH", help="size of the stored frames", otherwise=videos["size"])
    add("--gray", action="store_true", default=None, help="store gray frames, not color")
    add("--grey", action="store_true", default=None, dest="gray", help=argparse.SUPPRESS)
    one_of = functools.partial(_add, commands.choices["prepare"].add_mutually_exclusive_group())
    one_of("--test-fraction", type=_part, metavar="PART", help="part of the videos for testing", otherwise=part)
    one_of("--test", action="append", metavar="PATTERN", help="these are for testing: 'tuesday/*'; repeatable")
    same = "videos with the same match stay on one side: '.*/' keeps folders together"
    add("--group", type=_expression, metavar="REGEX", help=same)
    add("--rate", type=_rate, metavar="FPS", help="frames per second to store", otherwise="each video's own")
    ways = dict(choices=protocols, metavar="NAME", otherwise=ucf101["protocol"])
    add("--protocol", **ways, help="of ucf101: the split, paper or official-1 to official-3")
    add("--lists", metavar="FOLDER", help="of ucf101: the official lists", otherwise="in or beside the videos")
    add("--seed", type=_integer, metavar="N", help="of ucf101: draws the split of the paper", otherwise=ucf101["seed"])
    add("--accept-bad-videos", action="store_true", help="store what can be read of bad videos")
    add("--workers", type=_positive, metavar="N", help="decoding processes", otherwise="one per core")

    training = before_keras.TRAINING
    add = command("train", "FOLDER [--FLAG=VALUE ...]", "Train a network on prepared videos; run again to continue.")
    add("folder", metavar="FOLDER", help="the output of `keras-frnn prepare`")
    add("--output", default=before_keras.NETWORK, metavar="FILE", help="the network, .keras")
    add(
        "--initial",
        metavar="MODEL",
        help="a network to start from: a preset of the package, a .keras file or a folder; or none",
        otherwise=f"{training['initial']}, if it takes such frames and there is no --network",
    )
    add(
        "--network",
        choices=("initial", "quick", "small", "paper"),
        metavar="NAME",
        help="its layers: those of --initial; or quick, small, paper: takes minutes, hours, a GPU",
        otherwise="initial, or quick without one",
    )
    add("--freeze", type=_positive, metavar="N", help="keep the weights of the N lowest layers", otherwise="none")
    add("--steps", type=_positive, default=600, metavar="N", help="training steps in total")
    add("--batch", type=_positive, metavar="N", help="sequences per step", otherwise=training["batch"])
    for name, options in windows.items():
        add(name, **options)
    losses = dict(choices=("mae", "mse", "FrameCrossentropy"), metavar="NAME", otherwise=training["loss"])
    add("--loss", **losses, help="mae, mse, or FrameCrossentropy for frames that are black and white")
    add("--learning-rate", type=_rate, metavar="RATE", help="highest one, of Adam", otherwise=training["learning_rate"])
    add("--seed", type=_integer, metavar="N", help="of the weights and the sequences", otherwise=training["seed"])
    add("--mirror", action="store_true", default=None, help="mirror half of the sequences: not for text, maps, traffic")
    add("--save-every", type=_positive, default=100, metavar="N", help="steps between saves, with pictures")

    add = command("evaluate", "FOLDER [--FLAG=VALUE ...]", "Score networks on the test videos of a prepared folder.")
    add("folder", metavar="FOLDER", help="the output of `keras-frnn prepare`")
    add("--model", action="append", metavar="MODEL", help="a network; repeatable", otherwise=before_keras.NETWORK)
    for name, options in windows.items():
        add(name, **options)
    add("--sequences", type=_positive, metavar="N", help="test sequences, chosen by a seed", otherwise="all")
    add("--output", metavar="FILE", help="write the scores to a .csv, too")

    add = command(
        "app", "[--FLAG=VALUE ...]", "Open a page on this machine to play with a network; needs keras-frnn[app]."
    )
    add("--model", **model("moving-digits"))
    add("--port", type=_positive, default=7860, metavar="N", help="the page is http://127.0.0.1:N")
    return parser


def _add(parser, name: str, *, help: str, default: Any = None, otherwise: Any = None, **options):
    """Adds an argument; its help ends with the default, or with what holds otherwise, in brackets."""
    if otherwise is None and "action" not in options:
        otherwise = default
    if otherwise is not None:
        help += f" [{'x'.join(map(str, otherwise)) if isinstance(otherwise, tuple) else otherwise}]"
    parser.add_argument(name, help=help, default=default, **options)


def _size(text: str) -> tuple[int, int]:
    if not (match := _SIZE.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, such as 64x80, not {text!r}")
    return int(match[1]), int(match[2])


def _positive(text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d{0,14}", text):
        raise argparse.ArgumentTypeError(f"expected a positive integer, not {text!r}")
    return int(text)


def _integer(text: str) -> int:
    if not re.fullmatch(r"-?\d{1,15}", text):
        raise argparse.ArgumentTypeError(f"expected an integer, not {text!r}")
    return int(text)


def _rate(text: str) -> float:
    if not 0 < (value := _number(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a positive number, not {text!r}")
    return value


def _part(text: str) -> float:
    if not 0 <= (value := _number(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, not {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _expression(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"expected a regular expression, not {text!r} ({error})") from None
    return text


if __name__ == "__main__":
    sys.exit(main())
