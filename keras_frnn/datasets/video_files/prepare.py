"""Decodes video files in worker processes into one HDF5 file per split."""

import collections
import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator

import h5py
import keras
from absl import logging

from keras_frnn.checks import check_positive_integer
from keras_frnn.datasets.video_files.clips import Clip, Format, left_out, shown
from keras_frnn.datasets.video_files.decoder_pool import decoded
from keras_frnn.datasets.video_files.partial_video import PartialVideo
from keras_frnn.datasets.video_files.store_checks import damage_explained
from keras_frnn.datasets.video_files.store_writer import stored_videos, write_store
from keras_frnn.datasets.windows import SPLITS
from keras_frnn.files import clear, held

_WINDOW = 20  # Frames: 10 given and 10 to predict, the default of the datasets.


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

    Every video is decoded into its own file in a hidden folder of the output, where a resumed run finds it. The HDF5
    files are assembled in that folder, too, and moved to their final place only when they are complete, so a run needs
    twice the disk space of its result. Videos that are already in the HDF5 files and have not changed are copied; a
    file with no changes is left alone.

    Args:
        source: folder of the videos; their names are stored relative to it.
        output: folder to write to; it is created if necessary.
        clips: the videos to store.
        format: see `Format`.
        bad: the reason for each file of the source that was rejected before decoding, by name.
        accept_bad_videos: store the readable part of bad videos instead of raising an error.
        workers: number of decoding processes; by default one per core.
        progress: draw a progress bar.

    Returns:
        The reason for each bad video, by name.

    Raises:
        ValueError: some videos are bad and not accepted (the others are stored nevertheless), none can be read, another
            run writes to the output folder, or it holds videos that were prepared with other settings.
        OSError: the output cannot be written.
    """
    source, output = pathlib.Path(source), pathlib.Path(output)
    workers = _cores() if workers is None else workers
    workers = check_positive_integer(workers, "workers")
    bad = dict(bad or {})
    total = len(clips) + len(bad)
    partial = output / ".partial"
    busy = ValueError(f"Another run is writing to {output}. Wait until it ends, or stop it.")
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
            _warn_of_mixed_rates(list(paths.values()))
    except OSError as error:
        raise type(error)(
            f"Cannot write the videos to {output}: {error.strerror or error}. The videos decoded so far are kept: once "
            "this is fixed, the same command continues from there."
        ) from error
    if bad and not accept_bad_videos:
        raise ValueError(
            f"{len(bad)} of {total} videos {_are(len(bad))} bad; {_others(len(usable))} stored in "
            f"{output}.{_listed(bad)}\n"
            "Replace these files and run the same again, or accept them with `accept_bad_videos` to store their "
            "readable part."
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
    interval = 0.1 if sys.stdout.isatty() else 10  # Seconds. In a log, every update is a line.
    bar = keras.utils.Progbar(total, unit_name="video", interval=interval) if draw and total else None
    for answer in answers:
        yield answer
        if bar:
            bar.add(1)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _others(count: int) -> str:
    return "the other one is" if count == 1 else f"the other {count} are"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _listed(bad: dict[str, str], limit: int = 20) -> str:
    lines = [f"\n  {shown(name)}: {reason}" for name, reason in sorted(bad.items())]
    return "".join(lines[:limit]) + (f"\n  and {len(lines) - limit} more" if len(lines) > limit else "")


def _warn_of_mixed_rates(paths: list[pathlib.Path]):
    rates = [rate for path in paths for _, rate in _lengths_and_rates(path) if rate > 0]
    if rates and max(rates) > 1.01 * min(rates):
        logging.warning(
            f"The videos have {_rates(rates)} frames per second. A network learns motion per frame: store them at one "
            "rate, with `rate=10` or --rate=10 for example."
        )


def summary(bad: dict[str, str], source: str | os.PathLike, output: str | os.PathLike) -> str:
    """The text that a command prints when it has finished.

    Args:
        bad: the reason for each accepted bad video, by name.
        source: folder of the videos.
        output: folder with the HDF5 files.

    Returns:
        One line per bad video, one for the skipped files, one per HDF5 file, and one with the names of these.
    """
    lines = [f"accepted: {shown(name)}: {reason}" for name, reason in sorted(bad.items())]
    if others := left_out(source):
        counts = ", ".join(f"{count} {shown(suffix)}" for suffix, count in others.most_common(10))
        lines.append(f"skipped, no video suffix: {counts}")
    paths = sorted(pathlib.Path(output).glob("*.hdf5"))
    for path in paths:
        videos = _lengths_and_rates(path)
        windows = sum(max(length - _WINDOW + 1, 0) for length, _ in videos)
        counts = f"{_counted(len(videos), 'video')}, {_counted(windows, 'window')}"
        line = f"{path.name}: {counts} of {_WINDOW} frames"
        if rates := [rate for _, rate in videos if rate > 0]:
            line += f", {_rates(rates)} frames per second"
        lines.append(line)
    return "\n".join([*lines, f"Written to {output}: {', '.join(path.name for path in paths)}"])


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def _lengths_and_rates(path: pathlib.Path) -> list[tuple[int, float]]:
    with damage_explained(f"{path} is damaged ({{error}}). Delete that file."), h5py.File(path) as file:
        return [(len(video), float(video.attrs.get("frame_rate", 0))) for video in file.values()]


def _rates(rates: list[float], limit: int = 4) -> str:
    """`25`, or `25 (12 videos), 30 (2 videos)`; the most frequent first."""
    counts = collections.Counter(f"{rate:.4g}" for rate in rates)
    if len(counts) == 1:
        return next(iter(counts))
    parts = [f"{rate} ({_counted(count, 'video')})" for rate, count in counts.most_common(limit)]
    return ", ".join(parts) + (f" and {len(counts) - limit} other" if len(counts) > limit else "")
