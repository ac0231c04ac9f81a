"""What the commands prepare_kth.py, prepare_ucf101.py and prepare_videos.py share."""

import sys
from collections.abc import Callable

from absl import flags

from keras_frnn.datasets.video_files.prepare import summary

_ACCEPT_BAD_VIDEOS = flags.DEFINE_boolean(
    "accept_bad_videos", False, "Store what can be read of bad videos, and end without an error."
)
_WORKERS = flags.DEFINE_integer("workers", None, "Decoding processes; one a core by default.", lower_bound=1)


def run(argv: list[str], prepare: Callable, **arguments):
    """Runs one of the functions `datasets.prepare_...` on the two folders of the command line.

    Args:
        argv: the command's name, the source and the output.
        prepare: what to run.
        **arguments: of that function.
    """
    if len(argv) != 3:
        sys.exit(f"Usage: python {argv[0]} SOURCE OUTPUT. Received: {' '.join(argv[1:]) or 'nothing'}. See --help.")
    source, output = argv[1:]
    try:
        bad = prepare(source, output, accept_bad_videos=_ACCEPT_BAD_VIDEOS.value, workers=_WORKERS.value, **arguments)
    except (ValueError, OSError) as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on where this one stopped.")
    print(summary(bad, source, output))
