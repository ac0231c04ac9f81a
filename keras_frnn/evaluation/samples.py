import os
import pathlib
from collections.abc import Iterable, Mapping

import numpy as np

from keras_frnn.checks import check_positive_integer
from keras_frnn.evaluation.animation import save_animation
from keras_frnn.evaluation.figures import plot_strip
from keras_frnn.evaluation.scores import checked_batches
from keras_frnn.models.video_predictor import VideoPredictor


def save_samples(
    models: Mapping[str, VideoPredictor],
    data: Iterable,
    folder: str | os.PathLike,
    count: int = 10,
    seed: int = 0,
) -> list[int]:
    """Draws random test sequences, each as a strip (PNG) and an animation (GIF) of the truth and all models.

    Args:
        models: models by name.
        data: test batches of `(context, future)`, see `evaluate`.
        folder: output folder, for example for `sequence-00042.png` and `sequence-00042.gif` of test sequence 42.
        count: number of sequences; fewer if the test set has fewer.
        seed: seed of the selection, which is the same for all models.

    Returns:
        The numbers of the selected sequences in ascending order.

    Raises:
        ValueError: `count` is not a positive integer, there are no sequences, the dataset is endless, or frames are not
            floating point in [-1, 1].
    """
    count = check_positive_integer(count, "count")
    chosen: dict[int, tuple] = {}
    seen, generator = 0, np.random.default_rng(seed)
    slots: list[int] = []
    # Reservoir sampling: all sequences are equally likely, and at most `count` are in memory.
    for context, future in checked_batches(data):
        for pair in zip(context, future, strict=True):
            slot = seen if seen < count else int(generator.integers(seen + 1))
            if slot < count:
                if slot < len(slots):
                    del chosen[slots[slot]]
                    slots[slot] = seen
                else:
                    slots.append(seen)
                chosen[seen] = pair
            seen += 1
    data_format = next((model.data_format for model in models.values() if hasattr(model, "data_format")), None)
    numbers = sorted(chosen)
    for number in numbers:
        context, future = (frames[None] for frames in chosen[number])
        predictions = {name: model.forecast(context, future.shape[1]) for name, model in models.items()}
        path = pathlib.Path(folder) / f"sequence-{number:05d}"
        plot_strip(context, future, predictions, path.with_suffix(".png"), data_format=data_format)
        save_animation(context, future, predictions, path.with_suffix(".gif"), data_format=data_format)
    return numbers
