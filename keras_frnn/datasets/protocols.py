"""Named protocols for cutting windows from a dataset's videos, so that scores are comparable."""

from absl import logging

from keras_frnn.datasets.video_files.video_store import VideoStore


def apply_protocol(
    dataset: str,
    protocol: str,
    protocols: dict[str, dict],
    windows: dict,
    store: VideoStore,
    frame_shape: tuple[int, int, int],
    videos: int,
) -> dict:
    """The arguments of `window_dataset` for a protocol. Checks that the store fits the protocol.

    Args:
        dataset: name of the dataset.
        protocol: one of `protocols`.
        protocols: the arguments of each protocol, by name.
        windows: the caller's arguments, which take precedence.
        store: the videos.
        frame_shape: shape of the dataset's stored frames.
        videos: number of videos in the dataset.

    Returns:
        The protocol's arguments, updated with the caller's.

    Raises:
        ValueError: the protocol is unknown, the videos were prepared for another one, or their frames are not the
            dataset's.
    """
    if protocol not in protocols:
        raise ValueError(f"{dataset} has the protocols {', '.join(protocols)}. Received: protocol={protocol!r}")
    if store.protocol not in (None, protocol):
        raise ValueError(f"{store.path} was prepared for protocol={store.protocol!r}. Received: protocol={protocol!r}")
    if store.frame_shape != frame_shape:
        raise ValueError(
            f"{store.path} has frames {store.frame_shape}. Expected {dataset}'s: {frame_shape}. Use `video_folder` for "
            "other videos."
        )
    changed = {name: value for name, value in windows.items() if protocols[protocol].get(name, value) != value}
    found = store.source_videos
    logging.info(
        "%s, protocol %r%s%s",
        dataset,
        protocol,
        "".join(f", but {name}={value!r}" for name, value in changed.items()),
        f" ({found} of the dataset's {videos:,} videos)" if found not in (None, videos) else "",
    )
    return {**protocols[protocol], **windows}
