"""Callbacks that show how a network learns."""

import os
import pathlib

import keras
import numpy as np

from keras_frnn.checks import check_positive_integer
from keras_frnn.evaluation.animation import save_animation
from keras_frnn.evaluation.display import to_display
from keras_frnn.evaluation.figures import plot_strip
from keras_frnn.files import check_writable

_MOST_SEQUENCES = 4


class ForecastPictures(keras.callbacks.Callback):
    """Draws predictions beside the truth at the end of every n-th epoch and at the end of training.

    `folder/epoch-0005.png` shows the first sequence over time, `folder/epoch-0005.gif` all of them as an animation. If
    a picture cannot be written during training, a message says so, and training continues.

    Args:
        context: given frames, floating point in [-1, 1], `(batch, context, height, width, channels)`, or with channels
            before height if the model expects that. The first four sequences are drawn.
        future: the true frames that follow, `(batch, horizon, height, width, channels)`. The same number is predicted.
        folder: folder for the pictures; it is created if necessary. Pictures of the same epoch are replaced.
        every: draw every n-th epoch.
        animation: whether to write the GIF.
        log_dir: log folder of TensorBoard, to which the strip is added as the image `forecast`; None to add nothing.

    Raises:
        ValueError: there are no sequences, frames have unexpected values or shapes that do not fit together (when
            training begins), or `every` is not a positive integer.
        OSError: pictures cannot be written to the folder (when training begins).
        FloatingPointError: the network predicts frames that are not finite.
        ImportError: `log_dir` is given and TensorBoard is not installed.

    Example:

    >>> import tempfile
    >>> from keras_frnn import models
    >>> model = models.FoldedRNN.from_topology([("conv", 2, 3), ("recurrent", 2, 3)], horizon=2)
    >>> model.compile("adam", "mse")
    >>> frames = np.zeros((2, 5, 8, 8, 1), "float32")
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> pictures = ForecastPictures(frames[:, :3], frames[:, 3:], folder, animation=False)
    >>> history = model.fit(frames[:, :3], frames[:, 3:], epochs=2, verbose=0, callbacks=[pictures])
    >>> sorted(path.name for path in folder.iterdir())
    ['epoch-0001.png', 'epoch-0002.png']
    """

    def __init__(
        self,
        context,
        future,
        folder: str | os.PathLike,
        every: int = 1,
        animation: bool = True,
        log_dir: str | os.PathLike | None = None,
    ):
        super().__init__()
        self.context, self.future = (
            np.asarray(keras.ops.convert_to_numpy(frames)[:_MOST_SEQUENCES]) for frames in (context, future)
        )
        if not len(self.context):
            raise ValueError("Expected at least one sequence to draw. Received: none")
        self.folder, self.every = pathlib.Path(folder), check_positive_integer(every, "every")
        self.animation = animation
        self._write_event = None if log_dir is None else _tensorboard_writer(log_dir)
        self._epoch, self._drawn = -1, -1

    def on_train_begin(self, logs=None):
        # Errors in drawing or writing should show before the first epoch.
        to_display(self.context, self.future, {}, getattr(self.model, "data_format", None))
        check_writable(self._path(1))

    def on_epoch_end(self, epoch: int, logs=None):
        self._epoch = epoch
        if (epoch + 1) % self.every == 0:
            self._draw()

    def on_train_end(self, logs=None):
        if self._epoch != self._drawn:
            self._draw()

    def _draw(self):
        self._drawn = self._epoch
        predictions = {self.model.name: self.model.forecast(self.context, self.future.shape[1])}
        arguments = self.context, self.future, predictions
        data_format = getattr(self.model, "data_format", None)
        path = self._path(self._epoch + 1)
        try:
            plot_strip(*arguments, path, data_format=data_format)
            if self.animation:
                save_animation(*arguments, path.with_suffix(".gif"), data_format=data_format)
            if self._write_event:
                self._write_event(path.read_bytes(), self._epoch + 1)
        # A failed picture must not end the training, whatever Matplotlib, Pillow or the disk reports.
        except Exception as error:
            reason = str(error).strip() or type(error).__name__
            print(f"\nNo picture of epoch {self._epoch + 1} in {self.folder}: {reason}. Training continues.")

    def _path(self, epoch: int) -> pathlib.Path:
        return self.folder / f"epoch-{epoch:04d}.png"


def _tensorboard_writer(log_dir: str | os.PathLike):
    """A function that logs a PNG for an epoch without TensorFlow."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise ImportError(
            "`log_dir` requires TensorBoard, which is not installed: `pip install tensorboard`, or omit `log_dir`."
        ) from error
    import time

    writer = EventFileWriter(str(log_dir))

    def write(png: bytes, epoch: int):
        image = Summary.Image(encoded_image_string=png)
        value = Summary.Value(tag="forecast", image=image)
        writer.add_event(Event(wall_time=time.time(), step=epoch, summary=Summary(value=[value])))
        writer.flush()

    return write
