"""`keras-frnn app`: a web page on this machine to play with a network. It needs Gradio, the extra `app`."""

import base64
import math
import os
import pathlib
import reprlib
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_frnn import datasets, evaluation
from keras_frnn.command.networks import forecast, frame_shape, load_model
from keras_frnn.command.video_source import Video, resize
from keras_frnn.models.frames import from_uint8, to_uint8

CONTEXT, LONGEST = 10, 40
_SAMPLES = 3


def app(model: str | None, port: int):
    """Serves the page on 127.0.0.1, which other machines cannot reach, until the process is interrupted.

    Args:
        model: name or path of a network, as `load_model` takes it; None takes the package's networks, each for its
            kind of video.
        port: port of the page.

    Raises:
        ValueError: there is no such model.
        OSError: the port is taken.
    """
    network = load_model(model or "moving-pictures")
    page = build(network, network if model else load_model("moving-digits"))
    address = dict(server_name="127.0.0.1", server_port=port, share=False)
    page.launch(**address, quiet=True, prevent_thread_lock=True, max_file_size="500mb", show_error=True)
    print(f"http://127.0.0.1:{port}, until Ctrl-C", flush=True)
    page.block_thread()


def build(network, digits_network):
    """The page, a `gradio.Blocks`, for a network, and for another or the same one that predicts the sample digits."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    import gradio  # Only the extra `app` installs it.

    samples = {
        f"{kind} {number}": video
        for kind, videos in (("pictures", sample_pictures()), ("digits", sample_digits()))
        for number, video in enumerate(videos, start=1)
    }
    names = list(samples)
    cuts = {id(whole): _cuts(whole) for whole in (network, digits_network)}
    most = max(map(len, cuts.values()))

    def expected(*received) -> str:
        return (
            f"Expected a clip from the list or a video, 1 to {LONGEST} frames to predict, and 1 to {most} layers. "
            f"Received: {reprlib.repr(received)}"
        )

    class Page(gradio.Blocks):
        """Answers malformed requests with a sentence. The page itself sends them only when a field is empty."""

        async def preprocess_data(self, block_fn, inputs, *args, **kwargs):
            try:
                return await super().preprocess_data(block_fn, inputs, *args, **kwargs)
            except Exception as error:
                text = str(error) if isinstance(error, OSError) else expected(*inputs)
                raise gradio.Error(text, print_exception=False) from error

    def predict(sample: str | None, upload: str | None, horizon: float, layers: float) -> tuple[str, str]:
        try:
            # Gradio has checked types and ranges, but lets NaN pass.
            if not (sample or upload) or math.isnan(horizon + layers):
                raise ValueError(expected(sample, upload, horizon, layers))
            all_cuts = cuts[id(digits_network if sample and sample.startswith("digits") else network)]
            used = all_cuts[min(int(layers), len(all_cuts)) - 1]
            if upload:
                video = Video(upload)
                frames = video.read(frame_shape(used, video.size), 0, CONTEXT + int(horizon))
            else:
                clip = samples[sample]
                shape = frame_shape(used, clip.shape[1:3])
                frames = from_uint8(np.stack([resize(frame, shape) for frame in clip]))
            return picture_and_scores(used, frames, int(horizon))
        except (ValueError, OSError, FloatingPointError) as error:
            raise gradio.Error(str(error), print_exception=False) from error

    with Page(title="keras-frnn") as page:
        gradio.Markdown(f"# keras-frnn\nThe network sees {CONTEXT} frames and predicts those that follow.")
        with gradio.Row():
            with gradio.Column():
                sample = gradio.Radio(names, value=names[0], label="Clip")
                # The name does not matter: FFmpeg looks at the content.
                upload = gradio.File(label="or a video of your own", type="filepath")
                horizon = gradio.Slider(1, LONGEST, value=network.horizon, step=1, label="Frames to predict")
                layers = gradio.Slider(1, most, value=most, step=1, label="Recurrent layers kept", interactive=most > 1)
                button = gradio.Button("Predict", variant="primary")
            with gradio.Column():
                picture = gradio.HTML(label="Truth and prediction")
        scores = gradio.Markdown()
        # Only one is chosen at a time: the sample or the upload.
        upload.upload(lambda: None, None, sample)
        upload.clear(lambda: names[0], None, sample)
        sample.input(lambda: None, None, upload)
        button.click(predict, [sample, upload, horizon, layers], [picture, scores])
    return page


def _cuts(network) -> list:
    """The network with its lowest recurrent layer alone, then with two of them, and so on."""
    return [network.truncate(depth) for depth in getattr(network, "depths", [])[:-1]] + [network]


def sample_digits() -> np.ndarray:
    """Moving test digits, which no network of the package was trained on, in a camera's format.

    Returns:
        BGR uint8 `(3, 50, 32, 32, 3)`.
    """
    return _samples(datasets.moving_mnist, digits="mnist-5k", size=32, speed=0.05)


def sample_pictures() -> np.ndarray:
    """Moving test pictures in a camera's format.

    Returns:
        BGR uint8 `(3, 50, 64, 64, 3)`.
    """
    return _samples(datasets.moving_pictures)


def _samples(dataset: Callable, **arguments) -> np.ndarray:
    order = dict(batch_size=_SAMPLES, sequences=_SAMPLES, horizon=LONGEST, format="keras")
    frames = np.concatenate([np.asarray(part) for part in next(iter(dataset("test", **arguments, **order)))], axis=1)
    return np.broadcast_to(to_uint8(frames), (*frames.shape[:-1], 3))[..., ::-1]


def picture_and_scores(network, frames: np.ndarray, horizon: int) -> tuple[str, str]:
    """An animation as HTML, and as Markdown the scores of those frames whose truth is known.

    Args:
        network: any model of this package.
        frames: float32 `(time, height, width, channels)` in [-1, 1]; the first ten are given.
        horizon: how many frames to predict.
    """
    given, future, predicted = forecast(network, frames, CONTEXT, horizon)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "forecast.gif"
        known = future[None] if len(future) else None
        evaluation.save_animation(
            given[None], known, {"prediction": predicted[None]}, path, height=192, data_format="channels_last"
        )
        data = base64.b64encode(path.read_bytes()).decode()
    picture = f'<img id="forecast" alt="truth and prediction" src="data:image/gif;base64,{data}">'
    if known is None:
        return picture, "The clip ends with the given frames: there is no truth to score."
    models: dict[str, Any] = {"prediction": _Known(predicted)}
    return picture, evaluation.evaluate(models, [(given[None], known)]).markdown()


class _Known:
    """A network whose forecast has been computed already."""

    data_format = "channels_last"

    def __init__(self, frames: np.ndarray):
        self.frames = frames

    def forecast(self, context, steps: int, batch_size: int) -> np.ndarray:
        return self.frames[None, :steps]
