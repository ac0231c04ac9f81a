"""Folders of pictures: which are for training and which for testing, and their pixels at several sizes."""

import hashlib
import math
import pathlib

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from keras_frnn.datasets.windows import SPLITS

INCLUDED = pathlib.Path(__file__).with_name("pictures")
_SUFFIXES = {".jpeg", ".jpg", ".png", ".webp"}
_TEST_SHARE = 0.2  # Of the pictures in a folder without a split of its own.
# Shorter sides of the pictures, as multiples of the frames'. At the smallest, a frame shows a good part of a picture.
_SIDES = (2.5, 5, 10)
_LARGEST_ENLARGEMENT = 1.3


def picture_files(split: str, pictures: str | pathlib.Path | None = None) -> list[pathlib.Path]:
    """The pictures of a split, in the order in which sequences number them.

    Args:
        split: `"train"` or `"test"`.
        pictures: as in `moving_pictures`.

    Raises:
        ValueError: there are too few pictures.
        FileNotFoundError: there is no such folder.
    """
    folder = INCLUDED if pictures is None else pathlib.Path(pictures)
    if not folder.is_dir():
        raise FileNotFoundError(f"`pictures` must be a folder of pictures. Received: pictures={str(folder)!r}")
    is_split = all((folder / name).is_dir() for name in SPLITS)
    root = folder / split if is_split else folder
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file())
    needed = 1 if is_split else 2
    if len(found) < needed:
        raise ValueError(
            f"{root} must hold at least {needed} picture{'s' * (needed > 1)} ({', '.join(sorted(_SUFFIXES))}). "
            f"Received: {len(found)}"
        )
    if is_split:
        return found
    drawn = sorted(found, key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
    test = set(drawn[: max(1, round(_TEST_SHARE * len(found)))])
    return [path for path in found if (path in test) == (split == "test")]


def load_pictures(files: list[pathlib.Path], size: int, color: bool) -> list[list[np.ndarray]]:
    """Each picture at several sizes, uint8 `(height, width, channels)`."""
    return [_resized(_read(path, color), size, path) for path in files]


def _read(path: pathlib.Path, color: bool) -> np.ndarray:
    try:
        with PIL.Image.open(path) as file:
            picture = np.array(PIL.ImageOps.exif_transpose(file).convert("RGB" if color else "L"))
    # The exceptions of Pillow for damage.
    except (OSError, SyntaxError, ValueError, EOFError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a readable picture ({error}). Replace or remove it.") from error
    return picture.reshape(*picture.shape[:2], -1)


def _resized(picture: np.ndarray, size: int, path: pathlib.Path) -> list[np.ndarray]:
    shorter = min(picture.shape[:2])
    scales = [size * side / shorter for side in _SIDES]
    if scales[0] > _LARGEST_ENLARGEMENT:
        least = math.ceil(size * _SIDES[0] / _LARGEST_ENLARGEMENT)
        raise ValueError(
            f"{path} is too small: frames of {size} pixels need pictures of at least {least}x{least}. Received: "
            f"{picture.shape[0]}x{picture.shape[1]} (height x width). Remove it, or pass a smaller `size`."
        )
    return [_scaled_by(picture, scale) for scale in scales if scale <= _LARGEST_ENLARGEMENT]


def _scaled_by(picture: np.ndarray, scale: float) -> np.ndarray:
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=interpolation)
    return resized.reshape(*resized.shape[:2], -1)
