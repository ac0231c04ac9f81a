"""Files are complete or missing, and killed processes leave nothing behind."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_frnn import files
from keras_frnn.files import atomic_path

fcntl = pytest.importorskip("fcntl")  # Windows has other locks, and no signals.
pytestmark = pytest.mark.once

# The module is run by its path, since importing the package takes seconds.
WRITER = (
    "import runpy, sys\n"
    f"with runpy.run_path({files.__file__!r})['atomic_path'](sys.argv[1]) as temporary:\n"
    "    temporary.write_text('half')\n"
    "    print(temporary, flush=True)\n"
    "    sys.stdin.readline()\n"
)


def test_only_leftovers_of_killed_processes_are_removed(tmp_path):
    path = tmp_path / "model[1].keras"
    other = tmp_path / ".model[1].keras.writing-mine"
    other.mkdir()
    killed, living = [
        subprocess.Popen([sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    with killed, living:
        left, held = [process.stdout.readline().strip() for process in (killed, living)]
        assert os.path.basename(left) == os.path.basename(held) == path.name
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait()
        assert os.path.exists(left)
        with atomic_path(path) as temporary:
            temporary.write_text("whole")
        assert path.read_text() == "whole"
        assert sorted(tmp_path.iterdir()) == sorted([path, other, type(path)(held).parent])
        living.stdin.write("\n")
        living.stdin.close()
        assert living.wait() == 0
    assert path.read_text() == "half"
    assert sorted(tmp_path.iterdir()) == sorted([path, other])


def test_files_have_the_mode_of_the_umask_which_does_not_change(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        monkeypatch.delattr(os, "umask")  # It is shared by all threads.
        with atomic_path(tmp_path / "a.csv") as temporary:
            temporary.write_text("")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == 0o640


@pytest.mark.filterwarnings("ignore:flock not supported on this filesystem")
@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_files_are_written_on_file_systems_without_locks(tmp_path, monkeypatch, code):
    def flock(file, operation):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    with atomic_path(tmp_path / "a.csv") as temporary:
        temporary.write_text("whole")
        with atomic_path(tmp_path / "a.csv") as second:
            second.write_text("second")
    assert (tmp_path / "a.csv").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_only_one_holder_of_a_folder(tmp_path):
    """Threads take the place of processes, which the system's lock does not distinguish either."""
    folder = tmp_path / "held"
    inside, together, turns = [], [], []

    def hammer():
        for _ in range(300):
            with contextlib.suppress(BlockingIOError), files.held(folder):
                inside.append(1)
                time.sleep(0)  # Lets the other threads try.
                together.append(len(inside))
                (folder / "mine").write_text("")
                files.clear(folder)
                inside.pop()
                turns.append(1)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for future in [pool.submit(hammer) for _ in range(4)]:
                future.result()
    finally:
        sys.setswitchinterval(interval)
    assert max(together) == 1
    assert turns
    assert not folder.exists()


def test_a_lock_on_a_removed_file_does_not_count(tmp_path, monkeypatch):
    folder, flock = tmp_path / "held", fcntl.flock

    def late(file, operation):
        monkeypatch.setattr(fcntl, "flock", flock)
        with files.held(folder):  # Another holder comes and goes after our file was opened and before it is locked.
            pass
        third.enter_context(files.held(folder))
        return flock(file, operation)

    with contextlib.ExitStack() as third:
        monkeypatch.setattr(fcntl, "flock", late)
        with pytest.raises(BlockingIOError), files.held(folder):
            pass
    with files.held(folder):
        pass
    assert not folder.exists()
