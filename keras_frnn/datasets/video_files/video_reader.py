"""Frames of a video file, decoded by FFmpeg through PyAV.

This module does not need Keras: decoding processes load it by its path.
"""

import collections
import os
from collections.abc import Iterator
from fractions import Fraction

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type
from av.video.reformatter import Interpolation, VideoReformatter

# FFmpeg's demuxers for files that list other files.
_LISTS = {"concat", "dash", "hls", "imf", "webm_dash_manifest"}
# Formats that state the duration: a file that ends long before it was cut short.
_STATE_DURATION = ("asf", "flv", "matroska", "mov")
_FRAME_PER_PACKET = ("avi", "mov")  # They also have an index of all packets.
_LARGEST_GAP = 10  # Seconds. A longer gap in a broadcast means that its clock restarted.
_ROUNDING = Fraction(2, 1000)  # Seconds. Matroska and FLV round timestamps to milliseconds.
_COMMON_FORMATS = {"yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "gray", "rgb24", "bgr24"}
_BRIGHTNESS_FORMATS = _COMMON_FORMATS - {"rgb24", "bgr24"}
_BT601 = {2, 5, 6}  # 2 is unknown, which FFmpeg treats as BT.601.
_SMALLEST_FRAME = 32  # Bytes. Smaller packets may stand for a frame that is skipped or already shown.


class VideoReader:
    """A video file's frames as FFmpeg shows them: upright, deinterlaced, without the parts removed by an edit list.

    Args:
        path: the file; its name does not matter.
        threads: number of decoder threads; 0 lets FFmpeg choose.
        gray: yield only the brightness if the file stores it separately, which avoids decoding unused colors.

    Attributes:
        levels: if only the brightness is yielded, the gray level of each of its values, 256 uint8; otherwise None.
        header_rate: frames per second that the file states; 0 if it does not.
        pixel_aspect: width of a pixel divided by its height, known from the first frame on.
        damage: what is wrong with the file, or None; known after the last frame.

    Raises:
        ValueError: FFmpeg finds no video in the file.
    """

    def __init__(self, path: str, threads: int = 0, gray: bool = False):
        unknown = ValueError("no video that FFmpeg knows")
        try:
            # Without a protocol, FFmpeg would interpret the part before a colon as one.
            self._container = av.open("file:" + os.path.abspath(path))
        except av.FFmpegError:
            raise unknown from None
        stream = self._container.streams.best("video")
        if stream is None or stream.codec_context is None or self._container.format.name in _LISTS:
            self._container.close()
            raise unknown
        stream.codec_context.thread_count = threads
        stream.codec_context.thread_type = "AUTO" if threads != 1 else "NONE"
        self._path, self._stream, self._gray = path, stream, gray
        self.levels: np.ndarray | None = None
        rate = stream.average_rate or stream.guessed_rate or 0
        self.header_rate = max(Fraction(rate), Fraction(0))
        self.pixel_aspect = 1.0
        self.damage: str | None = None
        self._frames, self._ticks = 0, 0  # Ticks of the stream's clock, from the first frame to the last one read.

    @property
    def frame_rate(self) -> float:
        """Mean frames per second of the frames read so far, according to their timestamps."""
        intervals, seconds = self._frames - 1, self._ticks * self._stream.time_base
        if intervals < 1 or not seconds:
            return float(self.header_rate)
        if self.header_rate and abs(seconds - intervals / self.header_rate) <= _ROUNDING:
            return float(self.header_rate)
        return float(intervals / seconds)

    def close(self):
        self._container.close()

    def frames(self) -> Iterator[tuple[np.ndarray, float]]:
        """Yields every frame with the seconds since the first one; can be called once. BGR uint8 `(height, width, 3)`.

        If `levels` is not None, frames are `(height, width)` and hold indices into `levels`.
        """
        reformatter, tick = VideoReformatter(), float(self._stream.time_base)
        form: tuple | None = None
        for frame, ticks in _filtered(self._timed(self._decoded())):
            if not self._frames:
                orientation = _orientation(frame)
                self.pixel_aspect = _pixel_aspect(self._stream, orientation[0])
            self._frames, self._ticks = self._frames + 1, ticks
            found = frame.format.name, frame.colorspace, frame.color_range
            if self._gray and form != found:
                form, self.levels = found, _levels(*found)
            if self.levels is not None:
                pixels = _rows(frame.planes[0], frame.width)[: frame.height]
            else:
                frame = _bgr(reformatter, frame)
                pixels = _rows(frame.planes[0], 3 * frame.width).reshape(frame.height, frame.width, 3)
            yield _upright(pixels, *orientation), ticks * tick

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """The frames that the decoder returns; sets `damage` after the last one."""
        stream = self._stream
        packets, full, failed, frames = 0, 0, 0, 0
        ends: dict[av.Stream, int] = {}
        cut = broken = False
        try:
            for packet in self._container.demux():
                if packet.pts is not None:
                    ends[packet.stream] = max(ends.get(packet.stream, 0), packet.pts + (packet.duration or 0))
                # An empty packet with a timestamp is a dropped frame; one without ends the stream.
                if packet.stream is not stream or (not packet.size and packet.dts is not None):
                    continue
                if packet.size:
                    packets, cut = packets + 1, packet.is_corrupt
                    full += packet.size >= _SMALLEST_FRAME and not packet.is_discard
                try:
                    decoded = packet.decode()
                except av.FFmpegError:
                    failed += frames > 0  # A recording may start in the middle of a group of pictures.
                    continue
                for frame in decoded:
                    frames, broken = frames + 1, frame.is_corrupt
                    yield frame
        except av.FFmpegError:
            cut = True
        if self._container.format.name.startswith(_FRAME_PER_PACKET):
            failed = max(failed, full - frames)
        end = max((ticks * one.time_base for one, ticks in ends.items()), default=Fraction(0))
        # A part of the last frame is missing.
        if cut or broken or self._is_short(packets, end):
            announced = stream.frames
            self.damage = "stops early: " + (
                f"{frames} of {announced} frames decode"
                if frames < announced
                else f"the file is cut short after {frames} frames"
            )
        elif failed:
            self.damage = f"is damaged: {failed} of its {packets} packets give no frame"

    def _is_short(self, packets: int, end: Fraction) -> bool:
        """Whether the file holds less than it announces, given the number of packets and the time of the last one."""
        stream, name = self._stream, self._container.format.name
        # In other formats, the index lists only some of the packets.
        if name.startswith(_FRAME_PER_PACKET) and packets < len(stream.index_entries):
            return True
        duration = Fraction(self._container.duration or 0, av.time_base)
        if name == "avi":  # FFmpeg estimates the duration of a truncated AVI from its remaining data.
            duration = stream.frames * stream.time_base
        elif name.startswith("mov"):
            duration = (stream.duration or 0) * stream.time_base
        if end < duration - _ROUNDING and _claimed_bytes(self._path) > os.path.getsize(self._path):
            return True
        return name.startswith(_STATE_DURATION) and end < 0.9 * duration - 0.5

    def _timed(self, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[av.VideoFrame, int]]:
        """Frames and their ticks since the first one, on a clock that never runs backwards."""
        # Integers, since computing with fractions takes longer than decoding a small frame.
        tick = self._stream.time_base
        step = max(round(1 / (self.header_rate or Fraction(25)) / tick), 1)
        restarts = bool(self._container.format.flags & av.format.Flags.ts_discont.value)
        largest = int(_LARGEST_GAP / tick)
        ticks, before = -step, None
        for frame in frames:
            now = frame.pts if frame.pts is not None else frame.dts
            passed = step if now is None or before is None else now - before
            if passed < 0 or (restarts and passed > largest):
                passed = step if restarts else 0
            ticks, before = ticks + passed, before if now is None else now
            yield frame, ticks


def _filtered(timed: Iterator[tuple[av.VideoFrame, int]]) -> Iterator[tuple[av.VideoFrame, int]]:
    """The same frames, passed through FFmpeg's filters where necessary; a filter may delay them by one frame.

    From the first interlaced frame on, the filter is `bwdif`. Rare pixel formats are converted to BGR by a filter,
    which takes the positions of the color samples into account.
    """
    graph, form, interlaced, times = None, None, False, collections.deque[int]()

    def pulled():
        while times:
            try:
                frame = graph.pull()
            except (BlockingIOError, EOFError):
                return
            yield frame, times.popleft()

    for frame, ticks in timed:
        interlaced = interlaced or frame.interlaced_frame
        if form != (form := (frame.width, frame.height, frame.format.name, interlaced)):
            if graph:
                graph.push(None)
                yield from pulled()
            graph = _graph(frame, interlaced) if interlaced or frame.format.name not in _COMMON_FORMATS else None
        if graph is None:
            yield frame, ticks
            continue
        times.append(ticks)
        graph.push(frame)
        yield from pulled()
    if graph:
        graph.push(None)
        yield from pulled()


def _graph(frame: av.VideoFrame, deinterlace: bool) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    nodes = [
        graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base),
        *([graph.add("bwdif", "mode=send_frame:deint=interlaced")] if deinterlace else []),
        graph.add("format", "bgr24"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph


def _rows(plane: av.video.plane.VideoPlane, width: int) -> np.ndarray:
    """A plane's bytes without the padding of the rows."""
    return np.frombuffer(memoryview(plane), "uint8").reshape(plane.height, plane.line_size)[:, :width]


def _levels(form: str, colorspace: int, color_range: int) -> np.ndarray | None:
    """The gray level of each value of the first plane; None if that plane does not hold the gray of the frame.

    OpenCV's gray weights the colors like BT.601, so it equals the brightness of that standard.
    """
    if form not in _BRIGHTNESS_FORMATS or colorspace not in _BT601:
        return None
    frame = av.VideoFrame(256, 2, form)
    frame.colorspace, frame.color_range = colorspace, color_range
    brightness, *colors = frame.planes
    brightness.update(bytes(range(256)) * (brightness.buffer_size // 256))
    for plane in colors:
        plane.update(bytes([128]) * plane.buffer_size)
    # Converted by FFmpeg, so that they are rounded in the same way.
    return _rows(_bgr(VideoReformatter(), frame).planes[0], 3 * 256)[0, ::3].copy()


def _bgr(reformatter: VideoReformatter, frame: av.VideoFrame) -> av.VideoFrame:
    # Bicubic is FFmpeg's own default.
    return reformatter.reformat(frame, format="bgr24", interpolation=Interpolation.BICUBIC, threads=1)


def _orientation(frame: av.VideoFrame) -> tuple[bool, bool, bool]:
    """Whether the display matrix of a frame says to transpose it, and then to flip its rows and its columns."""
    data = frame.side_data.get(Type.DISPLAYMATRIX)
    if data is None:
        return False, False, False
    a, b, _, c, d = np.frombuffer(data, "int32")[:5].tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, b < 0, c < 0
    return False, d < 0, a < 0


def _upright(frame: np.ndarray, transpose: bool, flip_rows: bool, flip_columns: bool) -> np.ndarray:
    if transpose:
        frame = cv2.transpose(frame)
    if flip_rows or flip_columns:
        frame = cv2.flip(frame, {(True, False): 0, (False, True): 1, (True, True): -1}[flip_rows, flip_columns])
    return frame


def _pixel_aspect(stream: av.VideoStream, transposed: bool) -> float:
    aspect = float(stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or 1)
    if not 1 / 16 < aspect < 16:  # The file is damaged.
        aspect = 1.0
    return 1 / aspect if transposed else aspect


def _claimed_bytes(path: str) -> int:
    """The size in bytes that an AVI or Matroska file states for itself; 0 if it states none."""
    with open(path, "rb") as file:
        head = file.read(4)
        if head == b"RIFF":
            position = 0
            while head == b"RIFF" and (size := int.from_bytes(file.read(4), "little")):
                position += 8 + size + size % 2
                file.seek(position)
                head = file.read(4)
            return position
        if head == b"\x1a\x45\xdf\xa3":
            file.seek(_ebml_number(file) or 0, os.SEEK_CUR)
            if file.read(4) == b"\x18\x53\x80\x67":  # The segment, which contains everything else.
                rest = _ebml_number(file)
                return file.tell() + rest if rest else 0
    return 0


def _ebml_number(file) -> int | None:
    """A length in Matroska; None if it is unknown, as in streams."""
    first = file.read(1)
    length = 9 - first[0].bit_length() if first and first[0] else 0
    if not length:
        return None
    bits = 7 * length
    number = int.from_bytes(first + file.read(length - 1), "big") & ((1 << bits) - 1)
    return None if number == (1 << bits) - 1 else number
