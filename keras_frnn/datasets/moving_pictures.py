"""Moving pictures: parts of photographs under a moving camera, and cut-out pieces of others that pass over them."""

import pathlib

import cv2
import numpy as np

from keras_frnn.checks import check_finite, check_positive_integer
from keras_frnn.datasets.formats import Dataset, Order, Pair, scaled
from keras_frnn.datasets.picture_folder import load_pictures, picture_files
from keras_frnn.datasets.planes import Plane, background, piece
from keras_frnn.datasets.stateless import motion_key
from keras_frnn.datasets.windows import check_split

_TEST_SEQUENCES = 10_000
_PIECES = np.cumsum([0.3, 0.35, 0.25, 0.1])  # Probabilities of 0 to 3 pieces.
_GRAY_SHARE = 0.15  # Of the sequences in color.
_NOISY_SHARE = 0.6
_MOMENTS = 20  # Frames among which a piece has the one in which it is at its place.
# The numbers of the motion are pixels of frames of this side; other frames show the same motion, enlarged.
_SIDE = 64


def moving_pictures(
    split: str,
    pictures: str | pathlib.Path | None = None,
    *,
    batch_size: int = 12,
    context: int = 10,
    horizon: int = 10,
    size: int = 64,
    color: bool = True,
    noise: float = 5.0,
    flow: bool = False,
    seed: int = 0,
    sequences: int | None = None,
    start: int = 0,
    num_shards: int = 1,
    shard_index: int = 0,
    format: str | None = None,
) -> Dataset:
    """Sequences of moving parts of photographs, generated on the fly: endless training data for natural video.

    A sequence shows a part of a photograph under a camera that rests, pans, sways, shakes, turns or zooms, and up to
    three pieces of other photographs that pass over it and over one another. Some sequences have noise, some in color
    are gray. Sequence n is a pure function of the seed, the split and n, for every batch size and any number of
    workers; another version of OpenCV or NumPy may round differently. Frames of another size show the same motion,
    enlarged.

    Args:
        split: `"train"` or `"test"`. Their pictures and their motion differ.
        pictures: a folder of pictures (jpg, png, webp), with its subfolders. If it has the subfolders `train` and
            `test`, these are the splits; otherwise one picture in five is for testing, chosen by name. Pictures need
            shorter sides of about twice `size`. By default, the 13 photographs that come with the package, see
            `moving_pictures.md` beside this file.
        batch_size: sequences per batch.
        context: number of given frames.
        horizon: number of frames to predict.
        size: side of the square frames in pixels; up to 156 with the included pictures.
        color: RGB frames; otherwise gray ones with one channel.
        noise: largest standard deviation of the noise in gray levels, of 255; 0 for none.
        flow: return all frames of a sequence and the true optical flow between them, instead of context and future.
        seed: any integer.
        sequences: number of sequences; by default endless for training, 10,000 for testing.
        start: number of the first sequence; `start=k * batch_size` continues after k batches. With `num_shards`, the
            number of sequences that each worker skips.
        num_shards: number of workers that share the sequences. Together they see the same sequences as one worker with
            a batch of `num_shards * batch_size`.
        shard_index: number of this worker, 0 to `num_shards - 1`.
        format: as in `video_folder`.

    Returns:
        Dataset of `(context, future)` in the requested format: float32 `(batch, context, size, size, channels)` and
        `(batch, horizon, size, size, channels)` in [-1, 1].

        With `flow=True`, dataset of `(frames, flow)`: float32 `(batch, time, size, size, channels)` in [-1, 1], where
        `time = context + horizon`, and float32 `(batch, time - 1, size, size, 2)`. `flow[:, t, y, x]` is how far what
        pixel (x, y) of frame t shows moves until frame t + 1, in pixels: first to the right, then down, as in OpenCV.
        It is also given where that place is hidden in frame t + 1 or outside of it.

    Raises:
        ValueError: an argument is out of range, or the folder has too few pictures, or one that is too small or
            unreadable.
        FileNotFoundError: there is no such folder.
        ImportError: `format="tf"` and TensorFlow is not installed.

    Example:

    >>> context, future = moving_pictures("train", size=64, batch_size=2, format="keras")[0]
    >>> context.shape, future.shape
    ((2, 10, 64, 64, 3), (2, 10, 64, 64, 3))

    Reference: Dosovitskiy et al., "FlowNet: Learning Optical Flow with Convolutional Networks", ICCV 2015, for training
    on moving cut-out pieces of photographs.
    """
    check_split(split)
    order = Order(
        batch_size=batch_size,
        context=context,
        horizon=horizon,
        seed=seed,
        sequences=sequences,
        start=start,
        num_shards=num_shards,
        shard_index=shard_index,
        format=format,
    )
    size, noise = check_positive_integer(size, "size"), check_finite(noise, "noise")
    if noise < 0:
        raise ValueError(f"`noise` must be 0 or more. Received: noise={noise!r}")
    make = MovingPictures(
        load_pictures(picture_files(split, pictures), size, color),
        motion_key(split, order.seed),
        order.context,
        order.horizon,
        size,
        noise,
        flow,
    )
    stop = None if order.sequences is None else order.first + order.sequences
    if stop is None and split == "test":
        stop = order.first + _TEST_SEQUENCES
    frame_shape, steps = (size, size, 3 if color else 1), order.context + order.horizon
    shapes = ((steps, *frame_shape), (steps - 1, size, size, 2)) if flow else None
    return order.dataset(make, frame_shape, stop, shapes)


class MovingPictures:
    """Sequences by number.

    Args:
        pictures: each picture at several sizes, uint8 `(height, width, channels)`.
        key: key of the random numbers.
        others: as in `moving_pictures`.
    """

    def __init__(
        self,
        pictures: list[list[np.ndarray]],
        key: int,
        context: int,
        horizon: int,
        size: int,
        noise: float,
        flow: bool = False,
    ):
        self.pictures, self.key, self.context, self.size = pictures, key, context, size
        self.steps, self.noise, self.flow = context + horizon, noise, flow
        self.channels = pictures[0][0].shape[-1]

    def __call__(self, number: np.ndarray) -> Pair:
        frames = np.empty((len(number), self.steps, self.size, self.size, self.channels), "uint8")
        flows = []
        for sequence, n in zip(frames, number.tolist(), strict=True):
            planes = self.planes(n)
            front = self.draw(planes, sequence)
            if self.flow:
                flow = planes[0].flow(self.size)
                for index, plane in enumerate(planes[1:], start=1):
                    np.copyto(flow, plane.flow(self.size), where=(front[:-1] == index)[..., None])
                flows.append(flow.astype("float32"))
            self._record(sequence, self._random(n, 2))
        if self.flow:
            return scaled(frames, self.steps)[0], np.stack(flows)
        return scaled(frames, self.context)

    def _random(self, number: int, stream: int) -> np.random.Generator:
        """Random numbers of a sequence; those for each frame have streams of their own, so it can be continued."""
        return np.random.Generator(np.random.SFC64([self.key, number, stream]))  # Of NumPy's, the fastest for noise.

    def planes(self, number: int) -> list[Plane]:
        """The planes of a sequence, from back to front."""
        random, unit, time = self._random(number, 0), self.size / _SIDE, np.arange(self.steps)
        count = 1 + int(np.searchsorted(_PIECES, random.random()))
        shaking = self._random(number, 1).normal(0, 0.12, (max(self.steps, _MOMENTS), 1 + count, 2))
        shaking = shaking.swapaxes(0, 1).cumsum(axis=1)
        camera, own = _motion(random, shaking[:1], 0.45, 2.5), _motion(random, shaking[1:], 0.1, 4.0)
        # At one of its moments, a piece is at a place drawn from the frame.
        own -= own[np.arange(count), random.integers(_MOMENTS, size=count)][:, None]
        middle = random.uniform(0.1, 0.9, (count, 1, 2))
        own[0], middle[0] = 0, 0.5
        places = (middle * self.size + (own + camera - camera[:, :1]) * unit - 0.5)[:, : self.steps]
        turning, zooming = random.normal(0, [[0.012], [0.006]], (2, count)) * (random.random((2, count)) < 0.35)
        angle = random.uniform(-0.4, 0.4, (count, 1)) + turning[:, None] * time
        zoom = random.uniform(0.8, 1.25, (count, 1)) * np.exp(zooming[:, None] * time)
        cos, sin = np.cos(angle), np.sin(angle)
        turns = np.stack([cos, sin, -sin, cos], axis=-1).reshape(count, -1, 2, 2) / zoom[..., None, None]
        turns[random.random(count) < 0.5, :, 0] *= -1  # Mirrored.
        radii = np.exp(random.uniform(np.log(4 * unit), np.log(0.4 * self.size), (count, 2)))
        power, gain, bias = random.uniform((1.5, 0.6, -30), (6, 1.2, 30), (count, 3)).T
        drawn = random.random((count, 4))
        planes = []
        for k in range(count):
            picture = _pick(_pick(self.pictures, drawn[k, 0]), drawn[k, 1])
            anchor = np.floor(drawn[k, 2:] * picture.shape[1::-1])
            if k:
                plane = piece(picture, anchor, places[k], turns[k], radii[k], power[k])
            else:
                plane = background(picture, anchor, places[k], turns[k], self.size)
            colors = plane.image[..., : self.channels]
            colors[...] = np.clip(np.arange(256) * gain[k] + bias[k], 0, 255).astype("uint8")[colors]
            planes.append(plane)
        return planes

    def draw(self, planes: list[Plane], frames: np.ndarray) -> np.ndarray:
        """Draws planes into uint8 frames `(time, size, size, channels)`; returns which is in front at each pixel."""
        front = np.zeros(frames.shape[:-1], "uint8")
        planes[0].draw(frames)
        for index, plane in enumerate(planes[1:], start=1):
            plane.draw_piece(frames, front, index)
        return front

    def _record(self, frames: np.ndarray, random: np.random.Generator):
        """What the camera does to uint8 frames."""
        is_gray, is_noisy = random.random(2) < (_GRAY_SHARE, _NOISY_SHARE)
        if is_gray and self.channels == 3:
            gray = cv2.cvtColor(frames.reshape(-1, self.size, 3), cv2.COLOR_RGB2GRAY)
            frames[...] = gray.reshape(*frames.shape[:3], 1)
        deviation = random.uniform(0, self.noise)
        if is_noisy and deviation:
            noise = random.standard_normal(frames.shape, "float32")
            noise *= deviation
            noise += frames
            np.clip(np.rint(noise, out=noise), 0, 255, out=noise)
            frames[...] = noise


def _motion(random: np.random.Generator, shaking: np.ndarray, still: float, fastest: float) -> np.ndarray:
    """Positions like those of `shaking`, `(count, time, 2)`, mostly slow and straight; some accelerate, sway or shake.

    Args:
        random: random numbers.
        shaking: positions of a shaking hand.
        still: probability of no motion.
        fastest: highest speed, in pixels per frame.
    """
    count, time = len(shaking), np.arange(shaking.shape[1])[:, None]
    speed = np.exp(random.uniform(np.log(0.03), np.log(fastest), (count, 1, 1)))
    turn = random.uniform(0, 2 * np.pi, (count, 1))
    straight = speed * np.stack([np.cos(turn), np.sin(turn)], axis=-1) * time
    straight *= 1 + random.normal(0, 0.015, (count, 1, 1)) * time
    phase = random.uniform(0, 2 * np.pi, (count, 1, 2)) + random.uniform(0.2, 1, (count, 1, 1)) * time
    swaying = random.uniform(0, 3, (count, 1, 2)) * np.sin(phase)
    moves, sways, shakes = (random.random((count, 1, 1)) < share for share in (1 - still, 0.3, 0.3))
    return moves * (straight + sways * swaying + shakes * shaking)


def _pick(items: list, share: float):
    """The item at a share in [0, 1) of a list."""
    return items[int(share * len(items))]
