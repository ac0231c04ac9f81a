"""The command line of `keras-frnn`. What it does is in keras_frnn/command.py.

It lies beside the package, whose import loads Keras: `--help`, and what can be refused without Keras, come at once.
"""

import argparse
import codecs
import contextlib
import importlib.util
import os
import pathlib
import re
import sys
from collections.abc import Iterator
from types import ModuleType

_SIZE = re.compile(r"([1-9]\d*)x([1-9]\d*)")


def main(argv: list[str] | None = None) -> int:
    """Runs a command line, that of the process by default; returns the exit code: 0, or 1 with a sentence why.

    Raises:
        SystemExit: with 2, where the command line itself is wrong; with 0 after `--help` and `--version`.
    """
    # A file's name may have letters that the terminal has not, and bytes that are none.
    codecs.register_error("keras-frnn", _spelled_out)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="keras-frnn")
    before_keras = _before_keras()
    parsed, unknown = _parser(before_keras.version()).parse_known_args(argv)
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
            from keras_frnn import command
        getattr(command, name)(**arguments)
    except KeyboardInterrupt:
        print(f"\nkeras-frnn {name}: interrupted.", file=sys.stderr)
        return 1
    # Also what a backend says: a user of the command has no use for its stack trace.
    except Exception as error:
        text = _with_flags(str(error).strip(), arguments) or "no reason is given"
        known = isinstance(error, (ValueError, OSError, FloatingPointError, ImportError))
        print(f"\nkeras-frnn {name}: {text if known else f'{type(error).__name__}: {text}'}", file=sys.stderr)
        return 1
    return 0


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    """Escapes for letters that cannot be printed; `-` for the line of Keras' progress bar."""
    text, end = codecs.backslashreplace_errors(error)
    return text.replace("\\u2501", "-"), end


def _before_keras() -> ModuleType:
    """The module of that name, without its package."""
    (folder,) = importlib.util.find_spec("keras_frnn").submodule_search_locations
    spec = importlib.util.spec_from_file_location("before_keras", pathlib.Path(folder) / "before_keras.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _with_flags(text: str, arguments: dict) -> str:
    """A message of the package in the command's terms: `frame_step` and frame_step=2 become flags."""
    for name in arguments:
        flag = "--" + name.replace("_", "-")
        text = re.sub(rf"`{name}(=[^`]*)?`", rf"{flag}\1", text)
        text = re.sub(rf"(?<![\w./-]){name}=(?=\S)", f"{flag}=", text)
    return text


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    """For importing TensorFlow, which tells of processors and GPUs meanwhile, whatever its log level."""
    with open(os.devnull, "wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _parser(version: str = "") -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="keras-frnn",
        usage="keras-frnn COMMAND ...; keras-frnn COMMAND --help",
        description="Predicts the future frames of videos with folded recurrent networks.",
        epilog="The environment variable KERAS_BACKEND is tensorflow, jax or torch.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"keras-frnn {version}")
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
        return added.add_argument

    def model(default: str) -> dict:
        known = "moving-pictures or moving-digits, which come with the package, a .keras file or a folder"
        return dict(default=default, metavar="MODEL", help=f"{known} [{default}]")

    size = dict(
        type=_size, metavar="HEIGHTxWIDTH", help="of the frames that the model sees [as it was built, or the video's]"
    )
    # Without a default: what is not given is as the network was trained.
    windows = {
        "--context": dict(type=_positive, metavar="N", help="frames that are given [as trained, or 10]"),
        "--horizon": dict(type=_positive, metavar="N", help="frames to be predicted [as trained, or 10]"),
        "--frame-step": dict(type=_positive, metavar="N", help="2 takes every second frame [as trained, or 1]"),
    }

    add = command(
        "predict", "CLIP [--FLAG=VALUE ...]", "Draw a clip's truth beside its prediction, and what follows its end."
    )
    add("clip", metavar="CLIP", help="a video file")
    add("--model", **model("moving-pictures"))
    add("--output", default="out.mp4", metavar="FILE", help=".mp4 or .gif, or .png for a strip [out.mp4]")
    add("--steps", type=_positive, metavar="N", help="frames to predict [as the model was trained for]")
    add("--context", **windows["--context"])
    add("--start", type=_integer, default=0, metavar="N", help="first given frame; -10: the tenth from the end [0]")
    add("--frame-step", **windows["--frame-step"])
    add("--size", **size)
    add("--rate", type=_rate, metavar="FPS", help="frames a second to write [the clip's]")
    add = command("live", "[--FLAG=VALUE ...]", "Predict while frames come from a camera or a file; Ctrl-C ends it.")
    add("--camera", default="0", metavar="SOURCE", help="a camera's number, or a video file [0]")
    add("--model", **model("moving-pictures"))
    add("--steps", type=_positive, metavar="N", help="frames to look ahead [as the model was trained for]")
    add("--every", type=_positive, default=1, metavar="N", help="predict after every n-th frame [1]")
    add("--frames", type=_positive, metavar="N", help="end after so many frames")
    add("--follow", type=_rate, metavar="SECONDS", help="of a file that grows: wait so long for more")
    add("--headless", action="store_true", help="open no window")
    add("--output", metavar="FILE", help="write what is shown, .mp4")
    add("--size", **size)
    add = command("prepare", "FOLDER [--FLAG=VALUE ...]", "Decode a folder of videos, once, for train and evaluate.")
    add("folder", metavar="FOLDER", help="of video files, also in its subfolders")
    add("--output", default="prepared", metavar="FOLDER", help="to write to [prepared]")
    add("--size", type=_size, default=(64, 64), metavar="HEIGHTxWIDTH", help="of the stored frames [64x64]")
    add("--grey", action="store_true", help="store grey frames, not colour")
    one_of = commands.choices["prepare"].add_mutually_exclusive_group().add_argument
    one_of("--test-fraction", type=_part, default=0.2, metavar="PART", help="of the videos that are for testing [0.2]")
    one_of("--test", action="append", metavar="PATTERN", help="these are for testing: 'tuesday/*'; repeatable")
    add(
        "--group",
        type=_expression,
        metavar="REGEX",
        help="videos with the same match stay on one side: '.*/' keeps folders together",
    )
    add("--rate", type=_rate, metavar="FPS", help="frames per second to store [each video's own]")
    add("--accept-bad-videos", action="store_true", help="store what can be read of bad videos")
    add("--workers", type=_positive, metavar="N", help="decoding processes [one a core]")

    add = command("train", "FOLDER [--FLAG=VALUE ...]", "Train a network on prepared videos; the same command goes on.")
    add("folder", metavar="FOLDER", help="that `keras-frnn prepare` wrote")
    add("--output", default="model.keras", metavar="FILE", help="the network, .keras [model.keras]")
    add(
        "--network",
        choices=("quick", "small", "paper"),
        help="how large; minutes, hours, a GPU [quick]",
    )
    add("--steps", type=_positive, default=600, metavar="N", help="training steps in all [600]")
    add("--batch", type=_positive, metavar="N", help="sequences a step [2]")
    for name, options in windows.items():
        add(name, **options)
    add("--learning-rate", type=_rate, metavar="RATE", help="of Adam [0.002]")
    add("--mirror", action="store_true", default=None, help="mirror half of the sequences: not for text, maps, traffic")
    add("--save-every", type=_positive, default=100, metavar="N", help="steps between saves, with pictures [100]")

    add = command("evaluate", "FOLDER [--FLAG=VALUE ...]", "Score networks on the test videos of a prepared folder.")
    add("folder", metavar="FOLDER", help="that `keras-frnn prepare` wrote")
    add("--model", action="append", metavar="MODEL", help="again for each network [model.keras]")
    for name, options in windows.items():
        add(name, **options)
    add("--sequences", type=_positive, metavar="N", help="a choice of so many test sequences [all]")
    add("--output", metavar="FILE", help="also write the scores, .csv")

    add = command(
        "app", "[--FLAG=VALUE ...]", "Open a page on this machine to play with a network; needs keras-frnn[app]."
    )
    add("--model", **model("moving-digits"))
    add("--port", type=_positive, default=7860, metavar="N", help="the page is http://127.0.0.1:N [7860]")
    return parser


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
