"""What an experiment is, and the command line of all recipes.

    python recipes/RECIPE.py [train] [evaluate] [analyse] [predict] [--preset=...] [--output=...] [--FLAG=VALUE ...]

A recipe makes one `Experiment` a preset and calls `main`. Every field of an experiment is a flag. Keras is loaded after
the flags are read, in running.py. The four stages are in training.py and testing.py.
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
from typing import Annotated

STAGES = {
    "train": "settings.json, checkpoints/ and, at the end, model.keras",
    "evaluate": "scores of this run and of those beside it with the same data: scores.csv, scores.md, results.json",
    "analyse": "curves, comparisons, layer removal and samples, drawn from what evaluate left",
    "predict": "predictions/: frames and a picture of each test sequence, as they come; without scores",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """Everything that defines a run, as numbers and words. Each field is a flag; of a dictionary, each key is."""

    title: Annotated[str, "name of the network in scores and pictures"]
    model: Annotated[str, "class of the network, of keras_frnn.models", ("FoldedRNN", "LadderRNN")]
    topology: Annotated[tuple, "layers of the network, from the frame up"]
    kernel_initializer: Annotated[str, "of all kernels, from keras_frnn.layers or keras.initializers"]
    options: Annotated[dict, "other arguments of the network"]
    precision: Annotated[str, "of the layers", ("float32", "mixed_bfloat16", "mixed_float16")] = "float32"
    device: Annotated[str | None, "such as cpu:0 and gpu:0; none is what Keras takes by itself"]
    devices: Annotated[int, "devices of this host that share each batch in training"] = 1

    loss: Annotated[str, "on the predicted frames, values in [-1, 1]", ("mae", "mse", "FrameCrossentropy")]
    optimizer: Annotated[str, "of keras_frnn.optimizers or keras.optimizers", ("TF1RMSprop", "RMSprop", "Adam")]
    learning_rate: Annotated[float, "of the optimizer; with --decay, the first one"]
    decay: Annotated[str | None, "of the learning rate, to 2% over all iterations", ("cosine",)] = None
    clipnorm: Annotated[float | None, "largest norm of a weight's gradient"] = None
    ema: Annotated[float | None, "momentum of a running average of the weights, which replaces them in the end"] = None
    iterations: Annotated[int, "optimizer steps"]
    batch_size: Annotated[int, "training sequences a step"]
    seed: Annotated[int, "of the initial weights and of the training sequences"] = 0
    initial_weights: Annotated[str | None, "folder of a run whose network to start from, or a .keras file"] = None
    checkpoint_every: Annotated[int, "iterations between checkpoints, of which the newest five are kept"]

    dataset: Annotated[str, "of keras_frnn.datasets", ("moving_mnist", "kth", "ucf101", "video_folder")]
    source: Annotated[dict, "which videos"]
    windows: Annotated[dict, "which frames of them"]
    augmentation: Annotated[dict, "what is done to training sequences at random"]
    test_sequences: Annotated[int | None, "test sequences, drawn with seed 0; none is all"]
    samples: Annotated[int, "test sequences to keep: for layer removal, and the first ten for pictures"] = 10
    published: Annotated[str | None, "published rows to print where the data are theirs"] = None


_KEYS: dict[str, tuple] = {  # Of the dictionaries.
    "update_bias": (float, "initial bias of the update gates"),
    "remat": (bool, "compute gates again for the gradient, which takes less memory and more time"),
    "data": (str, "folder of the prepared videos"),
    "protocol": (str, "named split and windows that the videos were prepared for"),
    "digits": (str, "mnist is downloaded, mnist-5k comes with the package"),
    "num_digits": (int, "digits in a sequence"),
    "size": (int, "side of the frames in pixels"),
    "speed": (float, "way of a digit in one frame, as a part of its free range"),
    "test_array": (str | None, "path of mnist_test_seq.npy, the public test sequences; none generates others"),
    "context": (int, "frames that are given"),
    "horizon": (int, "frames to be predicted"),
    "frame_step": (int, "distance of the frames in the video: 2 is every second"),
    "crop": (tuple | None, "(height, width) to cut from frames: anywhere in training, at the centre in testing"),
    "mirror": (bool, "mirror half of the training sequences left to right"),
}
_DICTIONARIES = ("options", "source", "windows", "augmentation")


def flat(experiment: Experiment) -> dict:
    """The values of all flags of an experiment, by name."""
    values = dataclasses.asdict(experiment)
    for name in _DICTIONARIES:
        values |= values.pop(name)
    return values


def replace(experiment: Experiment, **values) -> Experiment:
    """The experiment with other values of some flags.

    Raises:
        TypeError: the experiment has no such flag.
    """
    if unknown := values.keys() - flat(experiment).keys():
        raise TypeError(f"An experiment has the values {', '.join(flat(experiment))}. Received: {', '.join(unknown)}")
    new = {name: value for name, value in values.items() if hasattr(experiment, name)}
    for name in _DICTIONARIES:
        of = getattr(experiment, name)
        new[name] = {key: values.get(key, value) for key, value in of.items()}
    return dataclasses.replace(experiment, **new)


def main(recipe: str, *, first_steps: str = "", argv: list[str] | None = None, **presets: Experiment):
    """Runs a recipe as its command line says.

    Args:
        recipe: its file.
        first_steps: what to do where there are no data.
        argv: the command line, without the command.
        **presets: experiments by name, "paper" among them; the last one is what runs without --preset.
    """
    parser, names = _parser(recipe, presets)
    given = vars(parser.parse_intermixed_args(argv))
    stages = given.pop("stages", None) or ["train", "evaluate", "analyse"]
    if unknown := [stage for stage in stages if stage not in STAGES]:
        parser.error(f"there is no stage {' '.join(unknown)}; the stages are {', '.join(STAGES)}")
    if "predict" not in stages and (ignored := [name for name in ("count", "show") if name in given]):
        parser.error(f"--{ignored[0]} is for the stage predict, which is not among {', '.join(stages)}")
    explicit = {"preset": given["preset"]} if "preset" in given else {}
    preset = given.pop("preset", list(presets)[-1])
    options = {name: given.pop(name) for name in ("output", "count", "show") if name in given}
    if wrong := _wrong(given, names):
        parser.error(wrong)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import running
    except (ImportError, ValueError) as error:  # KERAS_BACKEND names none, or one that is not installed.
        sys.exit(f"Keras does not start: {error}. KERAS_BACKEND is {os.environ.get('KERAS_BACKEND', 'not set')}.")
    running.run(
        recipe=pathlib.Path(recipe).stem,
        preset=preset,
        stages=[stage for stage in STAGES if stage in stages],
        experiment=replace(presets[preset], **given),
        given=given | explicit,
        paper=presets["paper"],
        first_steps=first_steps,
        **options,
    )


class _Once(argparse.Action):
    """Stores a value; a second, other one would contradict it."""

    def __call__(self, parser, namespace, value, option_string=None):
        if getattr(namespace, self.dest, value) != value:
            parser.error(f"{option_string} is given twice, as {getattr(namespace, self.dest)} and as {value}")
        setattr(namespace, self.dest, value)


def _parser(recipe: str, presets: dict[str, Experiment]) -> tuple[argparse.ArgumentParser, dict]:
    name = pathlib.Path(recipe).name
    parser = argparse.ArgumentParser(
        prog=f"python recipes/{name}",
        usage=f"python recipes/{name} [train] [evaluate] [analyse] [predict] [--FLAG=VALUE ...]",
        description=sys.modules["__main__"].__doc__,
        epilog="KERAS_BACKEND is tensorflow, jax or torch.",
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=26, width=120),
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    stages = "; ".join(f"{stage}: {text}" for stage, text in STAGES.items())
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"the first three by default. {stages}")
    general, rest = parser.add_argument_group("flags"), parser.add_argument_group("flags of the experiment")
    add = general.add_argument
    default = list(presets)[-1]
    add("--preset", action=_Once, choices=list(presets), metavar="NAME", help=f"{', '.join(presets)} [{default}]")
    folder = f"[runs/{pathlib.Path(recipe).stem}-PRESET]"
    add("--output", action=_Once, metavar="FOLDER", help=f"everything that the run writes {folder}")
    add("--count", action=_Once, type=_positive, metavar="INT", help="for predict: how many sequences [10]")
    add("--show", action="store_true", help="for predict: show the pictures in a window, too")
    hints = typing.get_type_hints(Experiment, include_extras=True)
    names = {}
    for flag in flat(presets[default]):
        kind, text, *rest_of_hint = _KEYS[flag] if flag in _KEYS else typing.get_args(hints[flag])
        choices = rest_of_hint[0] if rest_of_hint else ()
        if flag == "dataset":  # It has the flags that this recipe has.
            choices = tuple({experiment.dataset for experiment in presets.values()})
        values = {preset: _shown(flat(experiment)[flag]) for preset, experiment in presets.items()}
        by_preset = ", ".join(f"{preset} {value}" for preset, value in values.items())
        shown = next(iter(values.values())) if len(set(values.values())) == 1 else by_preset
        text = f"{text}{': ' * bool(choices)}{', '.join(choices)} [{shown}]".replace("%", "%%")
        kinds = typing.get_args(kind) or (kind,)
        words = "/".join({types.NoneType: "none"}.get(k, k.__name__).upper() for k in kinds)
        optional = dict(nargs="?", const=True) if kind is bool else {}
        convert = _converter(kinds, words)
        rest.add_argument(f"--{flag}", action=_Once, type=convert, metavar=words, help=text, **optional)
        names[flag] = (kind, choices)
    return parser, names


def _shown(value) -> str:
    if isinstance(value, tuple):
        return str(value).replace(" ", "")
    return f"{value:,}" if type(value) is int else "none" if value is None else str(value)


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive integer. Received: {text!r}")
    return int(text)


def _converter(kinds: tuple[type, ...], words: str):
    """What makes a value of one of some types out of a flag's text."""

    def convert(text: str):
        if types.NoneType in kinds and text.lower() == "none":
            return None
        kind = kinds[0]
        try:
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
        except (ValueError, KeyError, SyntaxError):
            raise argparse.ArgumentTypeError(f"must be {words}. Received: {text!r}") from None

    return convert


def _wrong(given: dict, flags: dict) -> str | None:
    """What is wrong with the values of flags, if anything."""
    for name, value in given.items():
        kind, choices = flags[name]
        if value is None:
            continue
        if choices and value not in choices:
            return f"--{name} must be one of {', '.join(choices)}. Received: {value!r}"
        if int in (typing.get_args(kind) or (kind,)) and name != "seed" and value < 1:
            return f"--{name} must be a positive integer. Received: {value}"
    return None
