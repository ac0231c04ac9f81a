"""`keras-frnn predict`: draws the truth of clips beside their prediction."""

import itertools
import os
import pathlib
import sys

import numpy as np

from keras_frnn import evaluation
from keras_frnn.command.before_keras import find_model, forecast_windows, results_folder, trained_on
from keras_frnn.command.networks import (
    FRAME_RATE,
    forecast,
    frame_shape,
    load_model,
    mean_squared_error,
    misfits,
    verdict,
)
from keras_frnn.command.video_source import Video, enlarge
from keras_frnn.datasets.video_files.clips import find_videos, shown
from keras_frnn.evaluation.animation import mp4_writer
from keras_frnn.models.frames import to_uint8


def predict(clips: list[str], output: str, **settings):
    """Draws truth and prediction side by side, and the prediction alone beyond a clip's end.

    Args:
        clips: video files, and folders of videos.
        output: the file to write; of several clips, the folder and the suffix, see `results_folder`.
        settings: the arguments of `_Predictor`.

    Raises:
        OSError: some of several clips cannot be predicted. The others are, and the reasons have been printed.
    """
    predictor = _Predictor(**settings)
    folder, suffix = results_folder(clips, output)
    if len(clips) == 1 and not os.path.isdir(clips[0]):
        path = pathlib.Path(output) if folder is None else _unused(folder / pathlib.Path(clips[0]).stem, suffix)
        print(*predictor.write(clips[0], path), sep="\n")
        return
    assert folder is not None
    written, failed = 0, 0
    for found in clips:
        try:
            results = _results(found, folder) if os.path.isdir(found) else {found: folder / pathlib.Path(found).stem}
        except OSError as error:
            results, failed = {}, failed + 1
            _complain(found, error)
        for clip, stem in results.items():
            if (content := os.path.realpath(clip)) in predictor.seen:
                continue
            predictor.seen.add(content)
            try:
                path = _unused(stem, suffix)
                print(f"{shown(clip)} ->", *predictor.write(clip, path), flush=True)
                written += 1
            # All errors, also those of a backend: the other clips are predicted nevertheless.
            except Exception as error:
                failed += 1
                _complain(clip, error)
    print(f"{written} results in {folder}.{predictor.summary()}")
    if failed:
        raise OSError(f"{failed} of {written + failed} clips could not be predicted; the reasons are above.")


def _results(source: str, folder: pathlib.Path) -> dict[str, pathlib.Path]:
    """The videos in a folder and where their results go, without suffix. Results of earlier calls are no videos."""
    paths, results = find_videos(source), folder.resolve()
    if pathlib.Path(source).resolve() in results.parents:
        paths = [path for path in paths if results not in path.resolve().parents]
    return {str(path): folder / path.relative_to(source).with_suffix("") for path in paths}


def _unused(stem: pathlib.Path, suffix: str) -> pathlib.Path:
    """The path of a new file: with a number where there is one of this name already."""
    names = itertools.chain([stem.name], (f"{stem.name}-{number}" for number in itertools.count(2)))
    return next(path for name in names if not os.path.lexists(path := stem.with_name(name + suffix)))


def _complain(clip: str, error: Exception):
    text = str(error).strip() or type(error).__name__
    about = "" if clip in text else f"{shown(clip)}: "
    print(f"keras-frnn predict: {about}{text}", file=sys.stderr, flush=True)


class _Predictor:
    """A network and how it is used on each clip.

    Args:
        model: name or path of the network.
        steps: frames to predict; as trained by default, as are `context` and `frame_step`.
        context: given frames.
        start: number of the first given frame; -3 is the third from the end.
        frame_step: 2 takes every second frame.
        size: (height, width) of the network's frames; by default as it was built, or the clip's.
        rate: frames per second to write; by default the clip's.
        scale: `"source"` enlarges the frames to the size of the clip's.
        only_prediction: write the predicted frames alone.
    """

    def __init__(
        self,
        model: str,
        steps: int | None,
        context: int | None,
        start: int,
        frame_step: int | None,
        size: tuple[int, int] | None,
        rate: float | None,
        scale: str | None,
        only_prediction: bool,
    ):
        self.model, self.trained = model, trained_on(find_model(model))
        self.windows = forecast_windows([self.trained], context=context, frame_step=frame_step)
        self.network = load_model(model)
        self.steps = steps or self.network.horizon
        self.start, self.size, self.rate = start, size, rate
        self.is_enlarged, self.only_prediction = scale == "source", only_prediction
        self.seen: set[str] = set()
        self.errors: list[tuple[float, float]] = []

    def write(self, clip: str, path: pathlib.Path) -> list[str]:
        """Predicts a clip and writes the result; returns sentences for the user, the last with the verdict.

        What is amiss with the clip's frames is printed before, once if the same holds of several clips.
        """
        video, (context, step) = Video(clip), self.windows.values()
        for line in misfits(self.model, self.trained, self.network, clip, next(video.frames()), step):
            if (about := line.replace(clip, "")) not in self.seen:
                self.seen.add(about)
                print(line)
        shape = frame_shape(self.network, video.size, self.size)
        frames = video.read(shape, self.start, context + self.steps, step)
        given, future, predicted = forecast(self.network, frames, context, self.steps)
        size = video.size if self.is_enlarged else shape[:2]
        rate = self.rate or (video.rate or FRAME_RATE) / step
        drawn = [to_uint8(frames) for frames in (given, future, predicted)]
        if self.is_enlarged:
            drawn = [enlarge(frames, size) for frames in drawn]
        self._draw(path, drawn, rate)
        of = f"{shape[0]}x{shape[1]}" + f", enlarged to {size[0]}x{size[1]}" * self.is_enlarged
        if self.only_prediction:
            lines = [f"{path}: {len(predicted)} predicted frames of {of}."]
        else:
            beside = f"{len(predicted)} predicted, {len(future)} of these beside the truth"
            lines = [f"{path}: frames of {of}, {len(given)} given, {beside}."]
        if not len(future):
            return lines
        errors = [mean_squared_error(future, frames) for frames in (predicted[: len(future)], given[-1:])]
        self.errors.append((errors[0], errors[1]))
        return [*lines, verdict(*errors)]

    def _draw(self, path: pathlib.Path, frames: list[np.ndarray], rate: float):
        given, future, predicted = frames
        if self.only_prediction:
            with mp4_writer(path, rate) as write:
                for frame in predicted:
                    write(np.broadcast_to(frame, (*frame.shape[:2], 3)))
            return
        pictures = given[None], future[None] if len(future) else None, {"prediction": predicted[None]}
        if path.suffix.lower() == ".png":
            evaluation.plot_strip(*pictures, path, data_format="channels_last")
        else:
            height = given.shape[1] if self.is_enlarged else 128
            evaluation.save_animation(*pictures, path, frame_rate=rate, height=height, data_format="channels_last")

    def summary(self) -> str:
        """What holds of all clips whose future is known."""
        if not self.errors:
            return ""
        better = sum(error < copied for error, copied in self.errors)
        error, copied = np.mean(self.errors, axis=0)
        return (
            f" The forecast is better than copying on {better} of {len(self.errors)} clips; mean MSE {error:.4f}, "
            f"copying the last given frame: {copied:.4f}."
        )
