"""`keras-frnn predict`: draws the truth of a clip beside its prediction."""

import pathlib

from keras_frnn import evaluation
from keras_frnn.command.before_keras import find_model, forecast_windows, trained_on
from keras_frnn.command.networks import FRAME_RATE, forecast, frame_shape, load_model, print_misfit, score
from keras_frnn.command.video_source import Video


def predict(
    clip: str,
    model: str,
    output: str,
    steps: int | None,
    context: int | None,
    start: int,
    frame_step: int | None,
    size: tuple[int, int] | None,
    rate: float | None,
):
    """Draws truth and prediction side by side, and the prediction alone beyond the clip's end."""
    trained = trained_on(find_model(model))
    windows = forecast_windows([trained], context=context, frame_step=frame_step)
    context, frame_step = windows["context"], windows["frame_step"]
    network, video = load_model(model), Video(clip)
    print_misfit(model, trained, network, clip, next(video.frames()), frame_step)
    steps = steps or network.horizon
    frames = video.read(frame_shape(network, video.size, size), start, context + steps, frame_step)
    given, future, predicted = forecast(network, frames, context, steps)
    pictures = given[None], future[None] if len(future) else None, {"prediction": predicted[None]}
    if pathlib.Path(output).suffix.lower() == ".png":
        evaluation.plot_strip(*pictures, output, data_format="channels_last")
    else:
        rate = rate or (video.rate or FRAME_RATE) / frame_step
        evaluation.save_animation(*pictures, output, frame_rate=rate, data_format="channels_last")
    height, width, _ = frames.shape[1:]
    print(
        f"{output}: frames of {height}x{width}, {len(given)} given, {len(predicted)} predicted, {len(future)} of these "
        "beside the truth."
    )
    if len(future):
        print(score(future, predicted[: len(future)], given[-1]))
