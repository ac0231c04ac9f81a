"""A decoded video that is not in a store yet."""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib

from keras_frnn.datasets.video_files.clips import Clip, Format
from keras_frnn.files import write_text


class PartialVideo:
    """A clip whose frames and worker's answer are kept in files until all videos are decoded.

    Attributes:
        name: path relative to the source.
        identity: name, size in bytes and modification time of the file. A file that was replaced is another video.
        frames_path: file of the raw frames.
        answer: `frames`: their number; `reason`: what is wrong with the video, or None. Empty before decoding.
    """

    def __init__(self, clip: Clip, source: pathlib.Path, partial: pathlib.Path, format: Format):
        self.clip, self.split, self.format = clip, clip.split, format
        self.name = clip.path.relative_to(source).as_posix()
        stat = clip.path.stat()
        self.identity = (self.name, stat.st_size, stat.st_mtime_ns)
        digest = hashlib.sha256(json.dumps([self.identity, format.text]).encode()).hexdigest()[:24]
        self.frames_path = partial / f"{digest}.frames"
        self._answer_path = partial / f"{digest}.json"
        self.answer = self._kept()

    def request(self) -> dict:
        """The request to a decoding process, see `decode_worker.decode`."""
        source = os.path.abspath(self.clip.path)
        return {"source": source, "target": str(self.frames_path), **dataclasses.asdict(self.format)}

    def keep(self, answer: dict):
        """Stores the answer. Its file marks the video as decoded, so it is written after the frames."""
        self.answer = answer
        write_text(self._answer_path, json.dumps(answer))

    def _kept(self) -> dict:
        """The answer of an interrupted run. Bad videos are decoded again, since the cause may have been fixed."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            answer = json.loads(self._answer_path.read_text())
            is_whole = self.frames_path.stat().st_size == answer["frames"] * self.format.frame_bytes
            return answer if is_whole and not answer["reason"] else {}
        return {}

    def is_usable(self, accept_bad_videos: bool) -> bool:
        return not self.answer["reason"] or (accept_bad_videos and self.answer["frames"] > 0)
