"""Processes that decode videos, and how work is given to them; what they run is `decode_worker.py`."""

import contextlib
import json
import os
import pathlib
import queue
import subprocess
import sys
from collections.abc import Generator, Hashable
from concurrent.futures import ThreadPoolExecutor, as_completed

_WORKER = pathlib.Path(__file__).with_name("decode_worker.py")
# glibc: keep the memory of one frame for the next, instead of asking the system for it again.
_WORKER_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "100000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}


class _Worker:
    """A decoding process, started when it is first needed, and again when a video brought it down."""

    def __init__(self):
        self.process = None

    def decode(self, request: dict) -> dict:
        if self.process is None:
            # In a session of its own, Ctrl-C reaches this process alone; without it, the worker ends.
            self.process = subprocess.Popen(
                [sys.executable, "-P", str(_WORKER)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
                env=os.environ | _WORKER_ENVIRONMENT,
            )
        answer = ""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        if answer:
            return json.loads(answer)
        status = self.close() or 0
        if status >= 0:
            raise RuntimeError(f"The decoding process does not run. Try it by hand: {sys.executable} -P {_WORKER}")
        return {"frames": 0, "frame_rate": 0.0, "reason": f"brings the decoder down (signal {-status})"}

    def kill(self):
        process = self.process  # Which another thread may be about to forget.
        if process is not None:
            process.kill()

    def close(self) -> int | None:
        """Waits for the process to end; its exit status."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        with contextlib.suppress(BrokenPipeError):  # What it did not read any more.
            process.stdin.close()
        process.stdout.close()
        return process.wait()


def decoded(requests: dict[Hashable, dict], count: int) -> Generator[tuple[Hashable, dict], None, None]:
    """Decodes videos in that many processes; yields the names of the requests and the answers, as they come.

    Closing the iterator ends the processes, whatever they are at.
    """
    workers = [_Worker() for _ in range(min(count, len(requests)))]
    idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def decode(name):
        worker = idle.get()
        try:
            return name, worker.decode(requests[name])
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(max(len(workers), 1))
    try:
        for done in as_completed([pool.submit(decode, name) for name in requests]):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.kill()
        pool.shutdown()
        for worker in workers:
            worker.close()
