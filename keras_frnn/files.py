"""Writing files so that a reader never sees half of one, and no second process writes to the same place."""

import contextlib
import os
import pathlib
import re
import secrets
import shutil
from collections.abc import Iterator

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_LOCK = ".lock"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """A path to write to, of the same name, that takes the place of `path` when the block ends without an error.

    It lies in a hidden folder beside `path`, which goes when the block ends. What killed processes left there is
    removed by the next call for the same path.

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
            with contextlib.suppress(OSError), held(folder) as is_held:  # A living process holds its own.
                if is_held:
                    clear(folder)
    with contextlib.ExitStack() as stack:
        while True:
            folder = path.with_name(prefix + secrets.token_hex(4))
            with contextlib.suppress(BlockingIOError):  # Another process takes it for one that was left.
                stack.enter_context(held(folder))
                break
        temporary = folder / path.name
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            clear(folder)


def write_text(path: pathlib.Path, text: str):
    """Writes a file whole or not at all, in a folder that no other process writes to.

    This is faster than `atomic_path` in a folder of many files, since it does not look for what others left.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


@contextlib.contextmanager
def held(folder: pathlib.Path, busy: Exception | None = None) -> Iterator[bool]:
    """Makes a folder and keeps other processes out of it until the block, or this process, ends.

    It is kept by the system's lock on a file in it. When the block ends, the folder goes, if nothing else is in it.

    Args:
        folder: which.
        busy: what to raise if another process holds it, in place of `BlockingIOError`.

    Yields:
        Whether it is held; False where the system has no such locks.

    Raises:
        BlockingIOError: another process holds it.
        OSError: the folder cannot be made.
    """
    lock = folder / _LOCK
    with contextlib.ExitStack() as stack:
        while True:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                file = stack.enter_context(open(lock, "w"))
                is_held = _lock(file)
                if not is_held or os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
                    break
            except BlockingIOError as error:
                raise (busy or error) from None
            except (FileNotFoundError, FileExistsError):
                if os.path.lexists(folder) and not folder.is_dir():
                    raise
                # Else the one before has just removed the folder, or the lock.
        if not is_held:
            file.close()  # Windows does not remove open files.
            with contextlib.suppress(OSError):
                lock.unlink()
        try:
            yield is_held
        finally:
            with contextlib.suppress(OSError):
                if is_held:
                    # While it is locked: an unlocked one may be another's already.
                    lock.unlink()
                folder.rmdir()


def clear(folder: pathlib.Path):
    """Removes what is in a folder that this process holds, as far as that can be done."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if path.name != _LOCK:  # Without it, the folder could be another's.
                with contextlib.suppress(OSError):
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _lock(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except (AttributeError, OSError):  # No `fcntl`, or a file system without locks.
        return False
    return True
