"""The handwritten digits included in this package."""

import pathlib

import numpy as np

from keras_frnn.datasets.windows import check_split

_TRAINING_DIGITS = 400  # Per class.


def mnist_5k(split: str) -> tuple[np.ndarray, np.ndarray]:
    """5,000 digits of MNIST without a download: 400 per class for training and 100 for testing.

    Args:
        split: `"train"` or `"test"`.

    Returns:
        uint8 images `(count, 28, 28)`, 0 black and 255 white, and their labels `(count,)`, 0 to 9.

    Raises:
        ValueError: the split is unknown.
    """
    check_split(split)
    with np.load(pathlib.Path(__file__).with_name("mnist_5k.npz")) as file:
        images, labels = file["images"], file["labels"]
    # The file is sorted by class.
    of_class = slice(None, _TRAINING_DIGITS) if split == "train" else slice(_TRAINING_DIGITS, None)
    images, labels = images.reshape(10, -1, 28, 28)[:, of_class], labels.reshape(10, -1)[:, of_class]
    return images.reshape(-1, 28, 28), labels.reshape(-1)
