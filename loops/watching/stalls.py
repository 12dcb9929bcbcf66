"""The watchdog: nothing waits without a limit. A run in which nothing goes on is written down and stopped, resumably.

Something goes on when a stage begins, a line is said, a count moves, or a file of the run grows. What a run waits for
shows in `stalled.txt`: the stage, the last event, and where every thread and every waiting task stands.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

from lessons.jsonl import plain_text
from loops.store import now
from loops.views.text import duration
from loops.watching.stopping import Reason, Stop

NAME = "stalled.txt"
CODE = 4
"""Exit code of a run that stalled."""

LOOKS = 20
"""Looks in the time after which a run counts as stalled: it is noticed at most a twentieth late."""
LONGEST_WAIT = 30.0
"""Seconds between two looks, at most."""
HELD = 10.0
"""Seconds that a stalled run has to stop by itself, before its thread is interrupted where it stands. Our choice."""
ENDS = 60.0
"""Seconds after that in which it must have given back what it held; then a process that is there for the run alone is
ended. Our choice."""
BATCH = 26 * 3600.0
"""Seconds that a teacher which answers by the batch may be silent: OpenAI's batches take up to 24 hours."""
MOST_TASKS = 40
"""Waiting tasks that are written out; the others wait for the same."""

_CHANGES_ALWAYS = ("live.json", "clock.json", NAME)


class Happening(Protocol):
    """What the watchdog looks at: `loops.watching.heartbeat.Pulse`."""

    notes: int
    """Grows whenever something is noted."""

    def last(self) -> dict[str, Any]:
        """Return what was noted last: round, stage, doing, done, total, line, said, moved."""
        ...

    def ended(self, why: str) -> None:
        """Write that the run has stopped, for those who watch it."""
        ...


class Watchdog:
    """Looks at a run while its block runs.

    run: its folder. seconds: without anything going on, after which it counts as stalled; 0 never. pulse: what the run
    notes. stop: what it is stopped by. say: told one line.
    """

    def __init__(
        self,
        run: Path,
        seconds: float,
        pulse: Happening,
        stop: Stop,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        self.stalled = ""
        """The line that was said of a stall; "" without one."""
        self._run, self._seconds, self._pulse, self._stop, self._say = run, seconds, pulse, stop, say
        self._clock, self._leave = clock, leave
        self._seen: object = None
        self._since = clock()
        self._paused = 0
        self._patience = 0.0
        self._watched = threading.get_ident()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if self._seconds > 0:
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    @contextlib.contextmanager
    def paused(self) -> Generator[None]:
        """Look away while the block runs: it is not the run's."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1
            self._since = self._clock()

    @contextlib.contextmanager
    def patient(self, seconds: float) -> Generator[None]:
        """Allow for so many seconds of silence at least while the block runs."""
        before, self._patience = self._patience, max(self._patience, seconds)
        try:
            yield
        finally:
            self._patience = before
            self._since = self._clock()

    def look(self) -> bool:
        """Look once; return whether the run has stalled. What it then does is written down, and it is asked to stop."""
        at, seen = self._clock(), (self._pulse.notes, newest(self._run))
        if seen != self._seen or self._paused:
            self._seen, self._since = seen, at
            return False
        limit = max(self._seconds, self._patience)
        if at - self._since < limit:
            return False
        last = self._pulse.last()
        where = f"round {last.get('round', 0)}, {last.get('stage') or 'between two stages'}"
        self.stalled = f"nothing went on for {duration(limit)} in {where}; what it waits for is in {self._run / NAME}"
        with contextlib.suppress(OSError):
            write_private(self._run / NAME, described(self.stalled, last, self._stop.asking))
        self._say(f"stalled: {self.stalled}")
        self._stop.ask(Reason(f"because {self.stalled}", CODE, at_once=True))
        return True

    def _watch(self) -> None:
        while not self._ending.wait(min(LONGEST_WAIT, self._seconds / LOOKS)):
            if self.look():
                break
        else:
            return
        if not self._ending.wait(HELD):
            interrupt(self._watched)
        if not self._ending.wait(ENDS) and self._stop.owns_process:
            self._pulse.ended(f"because {self.stalled}")
            os.write(2, f"tutelage: stopped because {self.stalled}; go on with tutelage resume\n".encode())
            self._leave(CODE)


def newest(run: Path) -> tuple[int, int]:
    """Return the latest change among the files of a run, in nanoseconds since 1970, and their bytes; (0, 0) without.

    Files that are written whether anything goes on or not count for nothing.
    """
    latest = size = 0
    for folder, _, names in os.walk(run):
        for name in names:
            if any(kept in name for kept in _CHANGES_ALWAYS):
                continue
            with contextlib.suppress(OSError):
                told = Path(folder, name).stat()
                latest, size = max(latest, told.st_mtime_ns), size + told.st_size
    return latest, size


def described(stalled: str, last: dict[str, Any], loops: list[asyncio.AbstractEventLoop]) -> str:
    """Return what a stalled run was doing: the stage, the last event, the stack of every thread and waiting task.

    Only names of files and functions and lines of code stand in it: no value, so no key and no text of a problem.
    """
    parts = [f"{now()}: {stalled}", ""]
    parts += [f"{name:<8}{value}" for name, value in last.items() if value not in ("", None)]
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():  # pyright: ignore[reportPrivateUsage] - there is no other
        parts += ["", f"thread {names.get(ident, ident)}:", *_lines(traceback.extract_stack(frame))]
    for loop in tuple(loops):
        with contextlib.suppress(RuntimeError):  # its tasks changed while they were looked at
            waiting = [task for task in asyncio.all_tasks(loop) if not task.done()]
            for task in waiting[:MOST_TASKS]:
                parts += ["", f"task {task.get_name()}:", *_lines(_awaited(task.get_coro()))]
            if len(waiting) > MOST_TASKS:
                parts += ["", f"and {len(waiting) - MOST_TASKS} tasks more"]
    return "\n".join(parts) + "\n"


def write_private(path: Path, text: str) -> None:
    """Write a text that only its owner may read; what stood there is gone."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:  # noqa: PTH123 - a mode
        out.write(plain_text(text).encode())


def interrupt(thread: int) -> None:
    """Raise KeyboardInterrupt in a thread where it runs Python; the main thread is woken from a system call for it."""
    if thread == threading.main_thread().ident:
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(KeyboardInterrupt))


def _awaited(coroutine: Any) -> traceback.StackSummary:
    """Return where a coroutine waits, and what it waits for, down to the innermost."""
    found: list[tuple[FrameType, int]] = []
    while coroutine is not None:
        frame: FrameType | None = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
        if frame is not None:
            found.append((frame, frame.f_lineno))
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "gi_yieldfrom", None)
    return traceback.StackSummary.extract(iter(found))


def _lines(stack: traceback.StackSummary) -> list[str]:
    return [line.rstrip("\n") for line in stack.format()]
