"""Files are whole or not there, and nothing is left of processes that were killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_frnn import files
from keras_frnn.files import atomic_path

pytestmark = pytest.mark.once

# The module is run by its path: importing the package takes seconds.
WRITER = (
    "import runpy, sys\n"
    f"with runpy.run_path({files.__file__!r})['atomic_path'](sys.argv[1]) as temporary:\n"
    "    temporary.write_text('half')\n"
    "    print(temporary, flush=True)\n"
    "    sys.stdin.readline()\n"
)


@pytest.mark.skipif(files.fcntl is None, reason="the system has no flock")
def test_leftovers_of_killed_processes_alone_are_removed(tmp_path):
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


def test_files_get_the_umasks_mode_without_touching_the_umask(tmp_path, monkeypatch):
    before = os.umask(0o027)
    try:
        monkeypatch.delattr(os, "umask")  # It belongs to all threads.
        with atomic_path(tmp_path / "a.csv") as temporary:
            temporary.write_text("")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "a.csv").stat().st_mode & 0o777 == 0o640


def test_without_locks_files_are_written_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "fcntl", None)
    with atomic_path(tmp_path / "a.csv") as temporary:
        temporary.write_text("whole")
        with atomic_path(tmp_path / "a.csv") as second:
            second.write_text("second")
    assert (tmp_path / "a.csv").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.skipif(files.fcntl is None, reason="the system has no flock")
def test_a_folder_is_held_once(tmp_path):
    """Threads stand for processes here: the system's lock does not tell them apart either."""
    folder = tmp_path / "held"
    inside, together, turns = [], [], []

    def hammer():
        for _ in range(300):
            with contextlib.suppress(BlockingIOError), files.held(folder):
                inside.append(1)
                time.sleep(0)  # Lets the others try.
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


@pytest.mark.skipif(files.fcntl is None, reason="the system has no flock")
def test_a_lock_on_a_file_that_is_gone_does_not_count(tmp_path, monkeypatch):
    folder, lock = tmp_path / "held", files._lock

    def late(file):
        monkeypatch.setattr(files, "_lock", lock)
        with files.held(folder):  # Another, from beginning to end, between our opening of the file and our locking it.
            pass
        third.enter_context(files.held(folder))
        return lock(file)

    with contextlib.ExitStack() as third:
        monkeypatch.setattr(files, "_lock", late)
        with pytest.raises(BlockingIOError), files.held(folder):
            pass
    with files.held(folder):
        pass
    assert not folder.exists()
