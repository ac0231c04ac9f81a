"""A pool of processes that decode videos with `decode_worker.py`."""

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
# For glibc: keep the memory of a frame for the next one instead of returning it to the system.
_WORKER_ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "100000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}


class _Worker:
    """A decoding process, started on first use and restarted after a crash."""

    def __init__(self):
        self.process = None

    def decode(self, request: dict) -> dict:
        if self.process is None:
            # The worker gets its own session, so that Ctrl-C only reaches the parent, without which the worker exits.
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
            raise RuntimeError(f"The decoding process does not run. Try it yourself: {sys.executable} -P {_WORKER}")
        return {"frames": 0, "frame_rate": 0.0, "reason": f"crashes the decoder (signal {-status})"}

    def kill(self):
        process = self.process  # Another thread may reset the attribute.
        if process is not None:
            process.kill()

    def close(self) -> int | None:
        """Waits for the process to end and returns its exit status."""
        if self.process is None:
            return None
        process, self.process = self.process, None
        with contextlib.suppress(BrokenPipeError):  # The process may not have read everything.
            process.stdin.close()
        process.stdout.close()
        return process.wait()


def decoded(requests: dict[Hashable, dict], count: int) -> Generator[tuple[Hashable, dict], None, None]:
    """Decodes videos in `count` processes and yields names and answers of the requests as they complete.

    Closing the iterator kills the processes.
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
