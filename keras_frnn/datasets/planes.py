"""What moves in `moving_pictures`: flat parts of pictures, drawn one over another. All pairs are (x, y)."""

import dataclasses

import cv2
import numpy as np


@dataclasses.dataclass
class Plane:
    """A picture, or a piece of one, that moves through a sequence.

    Attributes:
        image: uint8 `(height, width, channels)`; that of a piece has one more channel, its opacity.
        anchor: the place in the image that is at `places` in the frames, `(2,)`.
        places: `(time, 2)`, in pixels of the frames.
        turns: matrices `(time, 2, 2)` from distances in the frames to distances in the image.
    """

    image: np.ndarray
    anchor: np.ndarray
    places: np.ndarray
    turns: np.ndarray

    def draw(self, frames: np.ndarray):
        """Fills uint8 frames `(time, size, size, channels)`."""
        for frame, matrix in zip(frames, self._maps(), strict=True):
            frame[...] = _warped(self.image, matrix, frame.shape[1::-1])

    def draw_piece(self, frames: np.ndarray, front: np.ndarray, index: int):
        """Draws a piece over frames; writes `index` where it hides what is below into `front`, `(time, size, size)`."""
        size = frames.shape[1]
        reach = np.abs(np.linalg.inv(self.turns)) @ (np.array(self.image.shape[1::-1]) / 2)
        low = np.clip(np.floor(self.places - reach), 0, size).astype("int64").tolist()
        high = np.clip(np.ceil(self.places + reach) + 1, 0, size).astype("int64").tolist()
        for t, (matrix, (left, top), (right, bottom)) in enumerate(zip(self._maps(), low, high, strict=True)):
            if left >= right or top >= bottom:
                continue
            matrix[:, 2] += matrix[:, :2] @ (left, top)
            piece = _warped(self.image, matrix, (right - left, bottom - top))
            opacity = piece[..., -1:].astype("float32") / 255
            below = frames[t, top:bottom, left:right]
            below[...] = np.rint(below + opacity * (piece[..., :-1] - below.astype("float32")))
            front[t, top:bottom, left:right][opacity[..., 0] > 0.5] = index

    def flow(self, size: int) -> np.ndarray:
        """How far what the plane shows at each pixel moves until the next frame, `(time - 1, size, size, 2)`."""
        columns, rows = np.meshgrid(np.arange(size), np.arange(size))
        pixels = np.stack([columns, rows, np.ones_like(rows)], axis=-1).reshape(-1, 3).astype("float64")
        onward = np.linalg.inv(self.turns[1:]) @ self.turns[:-1]
        shift = self.places[1:] - (onward @ self.places[:-1, :, None])[..., 0]
        moves = np.concatenate([onward - np.eye(2), shift[..., None]], axis=2)
        return (pixels @ moves.swapaxes(1, 2)).reshape(-1, size, size, 2)

    def _maps(self) -> np.ndarray:
        """Affine maps `(time, 2, 3)` from pixels of the frames to pixels of the image."""
        shift = self.anchor - (self.turns @ self.places[..., None])[..., 0]
        return np.concatenate([self.turns, shift[..., None]], axis=2)


def background(picture: np.ndarray, anchor, places: np.ndarray, turns: np.ndarray, size: int) -> Plane:
    """The part of a picture that frames of this size show; the arguments are those of `Plane`."""
    corners = np.array([[0, 0], [0, size], [size, 0], [size, size]])
    seen = anchor + (corners - places[:, None]) @ turns.swapaxes(1, 2)
    low, high = np.floor(seen.min((0, 1))) - 1, np.ceil(seen.max((0, 1))) + 2
    return Plane(_part(picture, low, high), anchor - low, places, turns)


def piece(picture: np.ndarray, anchor, places: np.ndarray, turns: np.ndarray, radii: np.ndarray, power: float) -> Plane:
    """A superellipse cut out of a picture around a whole pixel, with a soft edge.

    Args:
        picture, anchor, places, turns: as in `Plane`.
        radii: half of its width and height, in pixels of the picture.
        power: 2 is an ellipse, more is closer to a rectangle.
    """
    reach = np.ceil(radii) + 2
    x, y = ((np.abs(np.arange(-a, a + 1)) / radius) ** power for a, radius in zip(reach, radii, strict=True))
    norm = (x + y[:, None]) ** (1 / power)
    opacity = np.rint(np.clip((1 - norm) * radii.min() + 0.5, 0, 1) * 255).astype("uint8")
    part = _part(picture, anchor - reach, anchor + reach + 1)
    return Plane(np.concatenate([part, opacity[..., None]], axis=-1), reach, places, turns)


def _part(picture: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The pixels from `low` to before `high`; the picture is mirrored beyond its sides."""

    def places(axis: int, length: int) -> np.ndarray:
        last = length - 1
        return last - np.abs(last - np.arange(low[axis], high[axis]).astype("int64") % (2 * last))

    return picture[places(1, picture.shape[0])[:, None], places(0, picture.shape[1])]


def _warped(image: np.ndarray, matrix: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(image, matrix, size, flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return warped.reshape(*size[::-1], -1)
