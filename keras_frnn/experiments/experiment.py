"""What an experiment is: numbers and words, of which each is a flag of the command line. Nothing here imports Keras."""

import dataclasses
from typing import Annotated, Any, TypeVar

Part = TypeVar("Part")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """The network, before training."""

    model: Annotated[str, "class in keras_frnn.models", ("FoldedRNN", "LadderRNN")] = "FoldedRNN"
    topology: Annotated[tuple, "layers, from the frame up"]
    kernel_initializer: Annotated[str, "of all kernels, from keras_frnn.layers or keras.initializers"]
    update_bias: Annotated[float | None, "initial bias of the update gates of a FoldedRNN; none is 0"] = None
    decoder_update_bias: Annotated[
        float | None,
        "of a FoldedRNN's update gates in decoding; far below 0, a network starts as a copy of the last frame",
    ] = None
    remat: Annotated[bool, "compute the gates of a FoldedRNN again for the gradient: less memory, more time"] = False
    precision: Annotated[
        str, "of the layers; pixels stay float32 with mixed_bfloat16", ("float32", "mixed_bfloat16", "mixed_float16")
    ] = "float32"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """How the network is trained."""

    loss: Annotated[str, "on the predicted frames, values in [-1, 1]", ("mae", "mse", "FrameCrossentropy")]
    dssim: Annotated[float, "weight of the structural dissimilarity that is added to the loss"] = 0.0
    optimizer: Annotated[
        str, "from keras_frnn.optimizers or keras.optimizers", ("TF1RMSprop", "RMSprop", "Adam", "ConvMuon")
    ]
    learning_rate: Annotated[float, "of the optimizer; with --decay or --warm_up, the highest one"]
    decay: Annotated[str | None, "of the learning rate, to 2%", ("cosine",)] = None
    cooldown: Annotated[float, "last fraction of the iterations, in which the rate decays"] = 1.0
    warm_up: Annotated[int | None, "iterations in which the rate rises to its highest value"] = None
    clipnorm: Annotated[float | None, "largest norm of a weight's gradient"] = None
    global_clipnorm: Annotated[float | None, "largest norm of the gradient of all weights together"] = None
    ema: Annotated[float | None, "momentum of a running average of the weights, which replaces them at the end"] = None
    iterations: Annotated[int, "optimizer steps"]
    batch_size: Annotated[int, "training sequences per step"]
    seed: Annotated[int, "of the initial weights and of the training sequences"] = 0
    initial_weights: Annotated[
        str | None, "network to start from: a preset of the package, the folder of a run or preset, a .keras file"
    ] = None
    freeze: Annotated[int | None, "lowest layers that keep their initial weights"] = None
    validation: Annotated[
        int | None, "sequences of held-out training videos, by which the best checkpoint is kept; none keeps the last"
    ] = None
    workers: Annotated[
        int | None, "processes that make the training batches, as a GPU needs; none makes them in this one"
    ] = None
    checkpoint_every: Annotated[int, "iterations between checkpoints, of which the newest five are kept"] = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class MovingDigits:
    """The videos: moving handwritten digits."""

    dataset: Annotated[str, "function in keras_frnn.datasets", ("moving_mnist",)] = "moving_mnist"
    digits: Annotated[str, "mnist is downloaded, mnist-5k comes with the package"]
    num_digits: Annotated[int, "digits per sequence"]
    turns: Annotated[
        tuple, "kinds of training batches that take turns: ({'num_digits':1},{}) has one digit in every second batch"
    ] = ()
    size: Annotated[int, "side of the frames in pixels"]
    speed: Annotated[float, "distance that a digit moves per frame, as a fraction of its free range"]
    test_array: Annotated[str | None, "path of mnist_test_seq.npy, the public test sequences; none generates others"]

    def __post_init__(self):
        flags = ("digits", "num_digits", "speed")
        if not all(isinstance(kind, dict) and kind.keys() <= set(flags) for kind in self.turns):
            raise ValueError(
                f"`turns` must be dictionaries of the flags {', '.join(flags)}. Received: turns={self.turns!r}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class MovingPictures:
    """The videos: parts of photographs that move."""

    dataset: Annotated[str, "function in keras_frnn.datasets", ("moving_pictures",)] = "moving_pictures"
    pictures: Annotated[str | None, "folder of pictures; none takes those in the package"] = None
    size: Annotated[int, "side of the frames in pixels"]
    color: Annotated[bool, "RGB frames; otherwise gray ones"] = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Videos:
    """The videos, as `keras-frnn prepare` stored them."""

    dataset: Annotated[str, "function in keras_frnn.datasets", ("video_folder",)] = "video_folder"
    data: Annotated[str, "folder of the prepared videos"]
    mirror: Annotated[bool, "mirror half of the training sequences left to right"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublishedVideos(Videos):
    """The videos of a published dataset, as `keras-frnn prepare` stored them."""

    dataset: Annotated[str, "function in keras_frnn.datasets", ("kth", "ucf101")]
    protocol: Annotated[str, "named split and windows that the videos were prepared for"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Windows:
    """The frames of a sequence."""

    context: Annotated[int, "frames that are given"] = 10
    horizon: Annotated[int, "frames to predict"] = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoWindows(Windows):
    """The frames of a sequence, and where they are in the video."""

    frame_step: Annotated[int, "distance between frames in the video: 2 takes every second frame"] = 1
    crop: Annotated[
        tuple | None, "(height, width) to cut from frames: anywhere in training, at the center in testing"
    ] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Testing:
    """How the network is tested."""

    test_sequences: Annotated[int | None, "test sequences, drawn with seed 0; none takes all"] = None
    samples: Annotated[int, "test sequences to keep: for layer removal, and the first ten for pictures"] = 10
    published: Annotated[str | None, "dataset whose published scores to print, where the data are the same"] = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """The experiment: everything that defines a run.

    No two fields of its parts have the same name, so each is a flag by its own name.
    """

    title: Annotated[str, "name of the network in scores and pictures"]
    device: Annotated[str | None, "such as cpu:0 and gpu:0; none is what Keras takes by itself"] = None
    devices: Annotated[int, "devices of this host that share each batch in training"] = 1
    network: Network
    training: Training
    source: MovingDigits | MovingPictures | Videos
    windows: Windows
    testing: Testing = Testing()
    phases: Annotated[
        tuple, "trainings one after another, each with other values of some flags, see docs/training.md"
    ] = ()


def flat(part) -> dict[str, Any]:
    """The values of all flags of an experiment, or of a part of it, by name."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        values |= flat(value) if dataclasses.is_dataclass(value) else {field.name: value}
    return values


def replace(part: Part, **values) -> Part:
    """The experiment, or part of one, with other values of some flags, or with whole other parts.

    Example:

    >>> replace(Windows(), horizon=5)
    Windows(context=10, horizon=5)

    Raises:
        TypeError: there is no such flag.
    """
    known = flat(part).keys() | {field.name for field in dataclasses.fields(part)}  # type: ignore[arg-type]
    if unknown := values.keys() - known:
        raise TypeError(f"An experiment has the values {', '.join(flat(part))}. Received: {', '.join(sorted(unknown))}")
    new = {}
    for field in dataclasses.fields(part):  # type: ignore[arg-type]
        old = getattr(part, field.name)
        if field.name in values:
            new[field.name] = values[field.name]
        elif dataclasses.is_dataclass(old):
            new[field.name] = replace(old, **{name: values[name] for name in flat(old).keys() & values.keys()})
    return dataclasses.replace(part, **new)  # type: ignore[type-var]


def phases(experiment: Experiment) -> list[tuple[Experiment, int]]:
    """The trainings of an experiment one after another, and how many of the networks before each one starts from.

    A phase is a dictionary of flags whose values differ from the experiment's. Its network starts with the weights of
    the one before it; with `average=k` among the flags, with the mean of the last k.

    Raises:
        TypeError, ValueError: a phase is not such a dictionary.
    """
    found = []
    for number, phase in enumerate(experiment.phases, start=1):
        if not isinstance(phase, dict):
            raise TypeError(f"A phase is a dictionary of flags, such as dict(horizon=5). Received: {phase!r}")
        values: dict[str, Any] = {"phases": (), **({"initial_weights": None} if number > 1 else {}), **phase}
        average = values.pop("average", 1)
        if type(average) is not int or not 1 <= average <= max(1, number - 1):
            raise ValueError(f"Phase {number} can average up to {max(1, number - 1)} networks. Received: {average!r}")
        found.append((replace(experiment, **values), average))
    return found
