"""`keras-frnn evaluate`: scores networks on the test videos of a prepared folder."""

from typing import Any

from keras_frnn import datasets, evaluation, models
from keras_frnn.command.before_keras import NETWORK, TrainedOn, find_model, flag, forecast_windows, trained_on
from keras_frnn.command.networks import load_model, verdict_by_step
from keras_frnn.datasets.video_files.video_store import open_store
from keras_frnn.evaluation.scores import COPY_LAST_FRAME, OPTICAL_FLOW


def evaluate(
    folder: str,
    model: list[str] | None,
    context: int | None,
    horizon: int | None,
    frame_step: int | None,
    sequences: int | None,
    output: str | None,
):
    """Scores networks on the test videos, and copying the last given frame for comparison."""
    names = model or [NETWORK]
    compared: dict[str, Any] = {name: load_model(name) for name in names}
    trained = {name: trained_on(find_model(name)) for name in names}
    given = dict(context=context, horizon=horizon, frame_step=frame_step)
    windows: dict[str, Any] = forecast_windows(trained.values(), **given)
    test = datasets.video_folder(folder, "test", batch_size=10, **windows, sequences=sequences, format="keras")
    for name in names:
        _print_other_data(name, trained[name], folder, windows)
    if min(open_store(folder, "test", "h5py").frame_shape[:2]) >= models.OpticalFlow.smallest:
        compared[OPTICAL_FLOW] = models.OpticalFlow(1, compared[names[0]].data_format)
    scores = evaluation.evaluate(compared, test)
    print(scores.table())
    print()
    for name in names:
        compared_with = {one: scores[one]["mse"] for one in (OPTICAL_FLOW, COPY_LAST_FRAME) if one in scores.values}
        print(f"{name}: {verdict_by_step({'network': scores[name]['mse']} | compared_with)}")
    if output is not None:
        scores.save_csv(output)
        print(f"\nWritten to {output}.")


def _print_other_data(name: str, trained: TrainedOn, folder: str, windows: dict[str, int]):
    """Prints a line if a network was trained on other videos, and one if it was trained with other windows."""
    if trained.data and _is_prepared_elsewhere(trained, folder):
        print(f"{name} was trained on other data than {folder}: {trained.data}.")
    other = {key: value for key, value in trained.windows.items() if value != windows[key]}
    if other:
        print(f"{name} was trained with {', '.join(flag(*one) for one in other.items())}.")


def _is_prepared_elsewhere(trained: TrainedOn, folder: str) -> bool:
    """Whether a network was trained on other videos than a folder's. It was, if the folder has none for training."""
    try:
        return trained.videos != open_store(folder, "train", "h5py").identity()
    except (OSError, ValueError):
        return True
