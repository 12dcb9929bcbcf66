"""Compare mathematical expressions in processes of their own, and end one that hangs.

math-verify runs sympy on text that a model wrote: some of it computes for ever. It can be stopped from inside only in
the main thread, so it runs in worker processes that are spoken to in JSON lines and killed when their time is up.
"""

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from typing import Any, Literal

from lessons.errors import GradeError
from lessons.timing import counts_as

START_SECONDS = 60.0
"""Seconds in which a worker must be ready; loading sympy takes one or two on a quiet machine."""

Verdict = Literal["equal", "different", "unreadable reference", "unreadable answer"]


class _Worker:
    """One process. Used by one caller at a time."""

    def __init__(self) -> None:
        # -P: the folder of the program holds a math.py, which must not stand before Python's own.
        self._process = subprocess.Popen(  # noqa: S603 - our own program, no shell
            [sys.executable, "-P", str(Path(__file__).with_name("math_worker.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for the caller, who ends the worker
        )
        self._read("to start", START_SECONDS)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, reference: str, answer: str, seconds: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        line = json.dumps({"reference": reference, "answer": answer, "seconds": seconds})
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except (BrokenPipeError, OSError) as error:
            raise GradeError("the math checker's process ended before it was asked") from error
        return self._read(f"to compare {answer[:60]!r} with {reference[:60]!r}", seconds)

    def _read(self, purpose: str, seconds: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        late = threading.Event()

        def end() -> None:
            late.set()
            self._process.kill()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if line.endswith("\n"):
            return json.loads(line)
        self.close()
        if late.is_set():
            raise GradeError(f"the math checker had {seconds:g} seconds {purpose} and was stopped")
        raise GradeError(f"the math checker's process ended when it was asked {purpose}")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    continue  # what was still to be written to a dead process is lost


@counts_as("load")
def _started() -> _Worker:
    try:
        return _Worker()
    except OSError as error:
        raise GradeError(f"the math checker's process cannot be started: {error.strerror}") from error


class MathPool:
    """Up to `workers` processes, started when they are needed; may be used from any thread."""

    def __init__(self, workers: int) -> None:
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        for _ in range(workers):
            self._idle.put(None)  # a place whose worker is not started

    def compare(self, reference: str, answer: str, seconds: float) -> Verdict:
        """Compare two expressions in LaTeX or plain notation; waits for a free worker.

        Raises:
            GradeError: the time ran out, or the checker failed; the next comparison gets a fresh process.
        """
        worker = self._idle.get()
        try:
            if worker is None or not worker.alive:
                worker = None  # should the start fail, the place stays
                worker = _started()
            reply = worker.ask(reference, answer, seconds)
        except BaseException:
            if worker is not None:
                worker.close()  # a reply that is still under way would answer the next question
            worker = None
            raise
        finally:
            self._idle.put(worker)
        if "failed" in reply:
            raise GradeError(f"the math checker failed on {answer[:60]!r}: {reply['failed']}")
        if "unreadable" in reply:
            return "unreadable reference" if reply["unreadable"] == "reference" else "unreadable answer"
        return "equal" if reply["equal"] else "different"

    def close(self) -> None:
        """End the idle workers; the pool can be used again."""
        places: list[None] = []
        while True:
            try:
                worker = self._idle.get_nowait()
            except queue.Empty:
                break
            if worker is not None:
                worker.close()
            places.append(None)
        for place in places:
            self._idle.put(place)


def shared_pool(workers: int) -> MathPool:
    """Return this process's pool of so many workers; a forked child gets its own, since pipes cannot be shared."""
    return _pool(os.getpid(), workers)


@cache
def _pool(_process: int, workers: int) -> MathPool:
    pool = MathPool(workers)
    atexit.register(pool.close)
    return pool
