"""Video files to one HDF5 file a split, decoded in worker processes."""

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator

import keras

from keras_frnn.checks import check_positive_integer
from keras_frnn.datasets.video_files.clips import Clip, Format, shown
from keras_frnn.datasets.video_files.decoder_pool import decoded
from keras_frnn.datasets.video_files.partial_video import PartialVideo
from keras_frnn.datasets.video_files.store_writer import stored_videos, write_store
from keras_frnn.datasets.windows import SPLITS
from keras_frnn.files import clear, held


def prepare(
    source: str | os.PathLike,
    output: str | os.PathLike,
    *,
    clips: list[Clip],
    format: Format,
    bad: dict[str, str] | None = None,
    accept_bad_videos: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, str]:
    """Decodes clips and writes `train.hdf5` and `test.hdf5`.

    Every video is decoded into a file of its own in a hidden folder of the output, where an interrupted run finds it
    again. Then the HDF5 files are put together there, too, and take their places whole, at the end. So until then the
    output folder needs twice the space. Videos that are in the HDF5 files already, and did not change since, are
    copied; a file that would not change at all stays as it is.

    Args:
        source: folder of the videos; their names are stored relative to it.
        output: folder to write to; made if there is none.
        clips: what to store.
        format: see `Format`.
        bad: files of the source that are bad for another reason than their frames: name to reason.
        accept_bad_videos: store what can be read of bad videos, and do not end with an error.
        workers: decoding processes; by default one a core.
        progress: draw a progress bar.

    Returns:
        The bad videos, name to reason.

    Raises:
        ValueError: some videos are bad and not accepted (the others are stored all the same), none can be read,
            another run writes to the output folder, or it holds videos that were prepared otherwise.
        OSError: the output cannot be written.
    """
    source, output = pathlib.Path(source), pathlib.Path(output)
    workers = _cores() if workers is None else workers
    workers = check_positive_integer(workers, "workers")
    bad = dict(bad or {})
    total = len(clips) + len(bad)
    partial = output / ".partial"
    busy = ValueError(f"Another run is writing to {output}. Wait for its end, or stop it.")
    try:
        with held(partial, busy):
            paths = {split: output / f"{split}.hdf5" for split in SPLITS}
            stored = {split: stored_videos(path, format) for split, path in paths.items()}
            videos = [PartialVideo(clip, source, partial, format) for clip in clips]
            for video in videos:
                video.answer = stored[video.split].get(video.identity, video.answer)
            _decode([video for video in videos if not video.answer], workers, progress)
            bad.update({video.name: video.answer["reason"] for video in videos if video.answer["reason"]})
            usable = [video for video in videos if video.is_usable(accept_bad_videos)]
            if not usable:
                raise ValueError(f"None of the {total} videos in {source} can be used.{_listed(bad)}")
            changed = {}
            for split, path in paths.items():
                wanted = [video for video in usable if video.split == split]
                if path.exists() and [video.identity for video in wanted] == list(stored[split]):
                    continue
                changed[split] = partial / path.name
                write_store(changed[split], wanted, format, path, stored[split], total)
            for split, path in changed.items():
                os.replace(path, paths[split])
            clear(partial)
    except OSError as error:
        raise type(error)(
            f"Cannot write the videos to {output}: {error.strerror or error}. What is decoded so far is kept: once "
            "that is mended, the same command goes on from there."
        ) from error
    if bad and not accept_bad_videos:
        raise ValueError(
            f"{len(bad)} of {total} videos are bad; the other {len(usable)} are stored in {output}.{_listed(bad)}\n"
            "Replace these files and run the same again, or accept them with `accept_bad_videos`: what can be read of "
            "them is stored then."
        )
    return bad


def _decode(videos: list[PartialVideo], workers: int, progress: bool):
    answers = decoded({video: video.request() for video in videos}, workers)
    with contextlib.closing(answers):
        for video, answer in _progress(answers, len(videos), progress):
            if "error" in answer:
                raise OSError(answer["error"])
            video.keep(answer)


def _progress(answers: Iterator, total: int, draw: bool) -> Iterator:
    interval = 0.1 if sys.stdout.isatty() else 10  # Seconds. In a log, every drawing is a line.
    bar = keras.utils.Progbar(total, unit_name="video", interval=interval) if draw and total else None
    for answer in answers:
        yield answer
        if bar:
            bar.add(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _listed(bad: dict[str, str], limit: int = 20) -> str:
    lines = [f"\n  {shown(name)}: {reason}" for name, reason in sorted(bad.items())]
    return "".join(lines[:limit]) + (f"\n  and {len(lines) - limit} more" if len(lines) > limit else "")


def ending(bad: dict[str, str], output: str | os.PathLike) -> str:
    """What a command says at its end: the bad videos that it accepted, and the files there are."""
    lines = [f"accepted: {shown(name)}: {reason}" for name, reason in sorted(bad.items())]
    files = ", ".join(sorted(path.name for path in pathlib.Path(output).glob("*.hdf5")))
    return "\n".join([*lines, f"Written to {output}: {files}"])
