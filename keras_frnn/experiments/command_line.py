"""The command line of an experiment's file, such as those in recipes/.

    python FILE.py [train] [evaluate] [analyse] [predict] [export] [--preset=...] [--output=...] [--FLAG=VALUE ...]

The file makes one `Experiment` per preset and calls `main`. Every field of an experiment is a flag. Keras is loaded
after the flags are read, with running.py.
"""

import argparse
import ast
import dataclasses
import math
import os
import pathlib
import sys
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from keras_frnn.experiments.experiment import Experiment, flat, phases, replace

STAGES = {
    "train": "settings.json, checkpoints/ and, at the end, model.keras",
    "evaluate": "scores of this run, and of others beside it on the same data: scores.csv, scores.md, results.json",
    "analyse": "curves, comparisons, layer removal and samples, drawn from what evaluate kept",
    "predict": "predictions/: frames and a picture of each test sequence, one by one, without scores",
    "export": "preset/: the network in float16 for `from_preset`, with its scores and a model card",
}


def main(
    file: str,
    *,
    first_steps: str = "",
    by_default: Sequence[str] = ("train", "evaluate", "analyse"),
    own: Mapping[str, tuple[str, str]] | None = None,
    argv: list[str] | None = None,
    **presets: Experiment,
):
    """Runs an experiment as its command line says.

    Args:
        file: `__file__` of the experiment's file.
        first_steps: what to do if there are no data.
        by_default: the stages that run if none is named.
        own: stages of the file's own by name: a module with a function `run(experiment, folder)`, and a help text. The
            module may import Keras.
        argv: the command line, without the command.
        **presets: experiments by name; without --preset, the last one is run. Published scores are printed beside those
            of runs on the data of `paper`.
    """
    known = STAGES | {name: text for name, (_, text) in (own or {}).items()}
    parser = _parser(file, presets, known, by_default)
    given = vars(parser.parse_intermixed_args(_with_underscores(sys.argv[1:] if argv is None else argv)))
    stages = given.pop("stages", None) or by_default
    if unknown := [stage for stage in stages if stage not in known]:
        parser.error(f"there is no stage {' '.join(unknown)}; the stages are {', '.join(known)}")
    if "predict" not in stages and (ignored := [name for name in ("count", "show") if name in given]):
        parser.error(f"--{ignored[0]} is for the stage predict, which is not among {', '.join(stages)}")
    explicit = {"preset": given["preset"]} if "preset" in given else {}
    preset = given.pop("preset", list(presets)[-1])
    options = {name: given.pop(name) for name in ("output", "count", "show") if name in given}
    try:
        experiment = replace(presets[preset], **given)
    except ValueError as error:
        parser.error(f"argument --turns: {error}")
    try:
        phases(experiment)
    except (TypeError, ValueError) as error:
        parser.error(f"argument --phases: {error}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        from keras_frnn.experiments import running
    except (ImportError, ValueError) as error:  # KERAS_BACKEND names none, or one that is not installed.
        sys.exit(f"Keras does not start: {error}. KERAS_BACKEND is {os.environ.get('KERAS_BACKEND', 'not set')}.")
    running.run(
        recipe=pathlib.Path(file).stem,
        preset=preset,
        stages=[stage for stage in known if stage in stages],
        experiment=experiment,
        given=given | explicit,
        paper=presets.get("paper", experiment),
        first_steps=first_steps,
        own={name: module for name, (module, _) in (own or {}).items()},
        **options,
    )


def _with_underscores(argv: list[str]) -> list[str]:
    """`--batch-size=2` means `--batch_size=2`."""
    split = [argument.partition("=") for argument in argv]
    return [
        "--" + name[2:].replace("-", "_") + equals + value if name.startswith("--") else name + equals + value
        for name, equals, value in split
    ]


# tyro makes flags of nested dataclasses, too. But it does not tell which were given, while a run that goes on takes all
# others from its folder; it accepts a flag twice; and its help shows the defaults of one preset.
class _Once(argparse.Action):
    """Stores a value; a second, different one is an error."""

    def __call__(self, parser, namespace, value, option_string=None):
        if getattr(namespace, self.dest, value) != value:
            parser.error(f"{option_string} is given twice, as {getattr(namespace, self.dest)} and as {value}")
        setattr(namespace, self.dest, value)


def _parser(
    file: str, presets: dict[str, Experiment], stages: dict[str, str], by_default: Sequence[str]
) -> argparse.ArgumentParser:
    command = f"python {os.path.relpath(file)}"
    parser = argparse.ArgumentParser(
        prog=command,
        usage=f"{command} [{'] ['.join(stages)}] [--FLAG=VALUE ...]",
        description=sys.modules["__main__"].__doc__,
        epilog="KERAS_BACKEND is tensorflow, jax or torch.",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=120),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    texts = "; ".join(f"{stage}: {text}" for stage, text in stages.items())
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"by default {', '.join(by_default)}. {texts}")
    add = parser.add_argument_group("The run").add_argument
    default = list(presets)[-1]
    add("--preset", action=_Once, choices=list(presets), metavar="NAME", help=f"{', '.join(presets)} [{default}]")
    folder = f"[runs/{pathlib.Path(file).stem}-PRESET]"
    add("--output", action=_Once, metavar="FOLDER", help=f"everything that the run writes {folder}")
    add("--count", action=_Once, type=_converter((int,), "INT"), metavar="INT", help="for predict: sequences [10]")
    add("--show", action="store_true", help="for predict: show the pictures in a window, too")
    _add_flags(parser, presets[default], {name: flat(experiment) for name, experiment in presets.items()})
    return parser


def _add_flags(parser: argparse.ArgumentParser, part, values: dict[str, dict]):
    """A group with a flag for each field of an experiment, or of a part of one, and the groups of its own parts.

    Args:
        parser: to add them to.
        part: whose fields they are.
        values: of all flags, by preset.
    """
    group = parser.add_argument_group((type(part).__doc__ or "").split("\n")[0].rstrip("."))
    hints = typing.get_type_hints(type(part), include_extras=True)
    for name in (field.name for field in dataclasses.fields(part)):
        if dataclasses.is_dataclass(getattr(part, name)):
            _add_flags(parser, getattr(part, name), values)
            continue
        kind, text, *rest = typing.get_args(hints[name])
        choices = rest[0] if rest else ()
        shown = {preset: _shown(of_preset[name]) for preset, of_preset in values.items()}
        by_preset = ", ".join(f"{preset} {value}" for preset, value in shown.items())
        default = next(iter(shown.values())) if len(set(shown.values())) == 1 else by_preset
        text = f"{text}{': ' * bool(choices)}{', '.join(choices)} [{default}]".replace("%", "%%")
        kinds = typing.get_args(kind) or (kind,)
        words = "/".join({types.NoneType: "none"}.get(k, k.__name__).upper() for k in kinds)
        optional: dict[str, Any] = dict(nargs="?", const=True) if kind is bool else {}
        convert = _converter(kinds, words, choices, any_integer=name == "seed")
        group.add_argument(f"--{name}", action=_Once, type=convert, metavar=words, help=text, **optional)


def _shown(value) -> str:
    if isinstance(value, tuple):
        is_long = bool(value) and isinstance(value[0], dict)
        return f"{len(value)} of them" if is_long else str(value).replace(" ", "")
    return f"{value:,}" if type(value) is int else "none" if value is None else str(value)


def _converter(kinds: tuple[type, ...], words: str, choices: tuple[str, ...] = (), any_integer: bool = False):
    """A function that makes a value of one of some types from a flag's text."""

    def convert(text: str):
        if types.NoneType in kinds and text.lower() == "none":
            return None
        try:
            value = _value(kinds[0], text)
        except (ValueError, KeyError, SyntaxError):
            raise argparse.ArgumentTypeError(f"must be {words}. Received: {text!r}") from None
        if choices and value not in choices:
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(choices)}. Received: {value!r}")
        if kinds[0] is int and not any_integer and value < 1:
            raise argparse.ArgumentTypeError(f"must be a positive integer. Received: {value}")
        return value

    return convert


def _value(kind: type, text: str):
    """Raises ValueError, KeyError or SyntaxError if the text is no such value."""
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if kind is tuple:
        value = ast.literal_eval(text)
        if not isinstance(value, (tuple, list)):
            raise ValueError
        return tuple(value)
    value = kind(text.replace(",", "") if kind is int else text)
    if kind is float and not math.isfinite(value):
        raise ValueError
    return value
