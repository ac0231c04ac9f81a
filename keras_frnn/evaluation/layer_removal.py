import os
from collections.abc import Iterable

import keras

from keras_frnn.checks import check_suffix
from keras_frnn.evaluation.figures import plot_strip
from keras_frnn.evaluation.scores import Scores, check_data_ends, evaluate
from keras_frnn.models.folded_rnn import FoldedRNN


def layer_removal(
    model: FoldedRNN, data: Iterable, figure: str | os.PathLike | None = None, sequence: int = 0
) -> Scores:
    """Scores a trained network at every depth to which it can be cut, without training it again.

    The networks of all depths share their weights.

    Args:
        model: the complete network.
        data: test batches of `(context, future)`, see `evaluate`. It is read twice if there is a figure.
        figure: PNG for a test sequence: the truth at the top, one row per depth below, time steps as columns.
        sequence: number of the sequence in the first batch to draw.

    Returns:
        `Scores` of `"14 layers"`, `"13 layers"`, and so on, and of `"copy_last_frame"`.

    Raises:
        ValueError: the model is not a `FoldedRNN`, the first batch has no such sequence, or as in `evaluate`.

    Reference: figure 7 of https://arxiv.org/abs/1712.00311
    """
    if not isinstance(model, FoldedRNN):
        raise ValueError(f"Only the layers of a FoldedRNN can be removed. Received: model={model!r}")
    check_data_ends(data)
    first = None
    if figure is not None:
        check_suffix(figure, ".png")
        if iter(data) is data:
            raise ValueError(f"With a figure, the data is read twice. Received: an iterator, {data!r}. Pass a list.")
        first = next(iter(data), None)  # `evaluate` raises an error if there is none.
        if first is not None and not 0 <= sequence < len(first[0]):
            raise ValueError(f"The first batch has {len(first[0])} sequences. Received: sequence={sequence}")
    depths = {f"{depth} layers": model.truncate(depth) for depth in reversed(model.depths)}
    scores = evaluate(depths, data)
    if figure is not None and first is not None:
        context, future = (keras.ops.convert_to_numpy(frames) for frames in first)
        drawn = slice(sequence, sequence + 1)
        # The whole batch, since the models are already compiled for it.
        predictions = {
            name: cut.forecast(context, future.shape[1], batch_size=len(context))[drawn] for name, cut in depths.items()
        }
        plot_strip(context[drawn], future[drawn], predictions, figure, data_format=model.data_format)
    return scores
