"""Files that readers never see half-written, and folders that only one process writes to."""

import contextlib
import errno
import os
import pathlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator

import filelock

RECORD = "run.json"  # Name in a .keras file, beside Keras' own members, of the settings and the step of its training.
_LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)  # The errors of file systems without locks.


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A temporary path with the same file name, which replaces `path` if the block ends without an error.

    It lies in a hidden folder beside `path`, which is removed at the end. Leftovers of killed processes are removed by
    the next call for the same path.

    Example:

    >>> import tempfile
    >>> with atomic_path(pathlib.Path(tempfile.gettempdir()) / "scores.csv") as temporary:
    ...     _ = temporary.write_text("step,mse")
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{path.name}.writing-"
    for folder in path.parent.iterdir():
        if re.fullmatch(re.escape(prefix) + "[0-9a-f]{8}", folder.name):
            with contextlib.suppress(OSError), held(folder) as is_held:  # Fails if its process is alive.
                if is_held:
                    clear(folder)
    with contextlib.ExitStack() as stack:
        while True:
            folder = path.with_name(prefix + secrets.token_hex(4))
            with contextlib.suppress(BlockingIOError):  # Another process may take the new folder for a leftover.
                stack.enter_context(held(folder))
                break
        temporary = folder / path.name
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            clear(folder)


def write_text(path: pathlib.Path, text: str):
    """Writes a file completely or not at all, in a folder that no other process writes to.

    In a folder of many files this is faster than `atomic_path`, which searches the folder for leftovers.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def check_writable(path: pathlib.Path):
    """Checks that a file can be written at a path, whose folders may be missing; leaves nothing behind.

    Raises:
        OSError: the file cannot be written.
    """
    if path.is_dir():
        raise IsADirectoryError(f"Expected the name of a file to write. Received: {path}, which is a folder.")
    folder = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not folder.is_dir():
        raise NotADirectoryError(f"{path} cannot be written: {folder} is a file. Move it, or choose another path.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise type(error)(
            f"{path} cannot be written: in the folder {folder}, {error.strerror or error}. Choose another path."
        ) from error


@contextlib.contextmanager
def held(folder: pathlib.Path, busy: Exception | None = None) -> Iterator[bool]:
    """Creates a folder and keeps other processes out of it until the block, or this process, ends.

    It locks a file in the folder. When the block ends, the folder is removed if nothing else is in it.

    Args:
        folder: the folder.
        busy: error to raise instead of `BlockingIOError` if another process holds the folder.

    Yields:
        Whether the folder is locked; False on a file system without locks.

    Raises:
        BlockingIOError: another process holds the folder.
        OSError: the folder cannot be created.
    """
    path = folder / _LOCK
    lock = filelock.FileLock(path, timeout=0)
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except filelock.Timeout:
            raise (busy or BlockingIOError(errno.EAGAIN, "Another process holds", str(folder))) from None
        except (FileNotFoundError, FileExistsError):
            # The previous holder may just have removed the folder.
            if os.path.lexists(folder) and not folder.is_dir():
                raise
            continue
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
        break
    try:
        yield lock.is_locked
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # Before the release: afterwards, it may be another process's lock.
        lock.release()
        with contextlib.suppress(OSError):
            if os.name == "nt":  # Windows does not remove open files.
                path.unlink()
            folder.rmdir()


def clear(folder: pathlib.Path):
    """Removes as much as possible of the contents of a folder that this process holds."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name != _LOCK:  # Without the lock, another process could take the folder.
                with contextlib.suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
