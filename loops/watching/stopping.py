"""A run that is asked to stop: by a signal, by a program, by the watchdog. It stops at the next safe point.

Safe points are: between two stages; while a student answers or learns, at each step that its progress tells; while a
teacher is asked, when the calls that are out have come back and stand in the ledger.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from teachers.base import GatheringTeacher

if TYPE_CHECKING:
    from types import FrameType

    from teachers.calls import Caller

T = TypeVar("T")

COME_BACK = 30.0
"""Seconds that calls which are out have to come back, when a run is to stop: they are paid for. Our choice."""

UNWIND = 10
"""Whole seconds in which a process that is to stop now must have ended by itself. Our choice."""

SWALLOWED = 0.01
"""Seconds until a stop that Python swallowed is raised again: by then the finalizer has ended. Our choice."""


class Reason(NamedTuple):
    """Why a run is to stop."""

    words: str
    """For people, after "stopped": "by Ctrl-C"."""
    code: int
    """The command's exit code."""
    at_once: bool = False
    """Whether calls that are out are not waited for."""


BY_SIGNAL = {
    signal.SIGINT: Reason("by Ctrl-C", 130),
    signal.SIGTERM: Reason("by SIGTERM", 143),
}
"""128 and the signal's number, as shells have it."""


class Stopped(KeyboardInterrupt):
    """The run was asked to stop; what it has done is kept. As with Ctrl-C, nothing that catches errors catches it."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.words)
        self.reason = reason


class Stop:
    """Whether a run was asked to stop, and why. May be asked from any thread, and from a signal's handler."""

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self.owns_process = False
        """Whether the process is there for the run alone, so that it may be ended with it."""
        self.asking: list[asyncio.AbstractEventLoop] = []
        """The event loops on which a teacher is asked."""
        self._wakes: list[Callable[[], object]] = []

    def ask(self, reason: Reason) -> None:
        """Have the run stop at the next safe point; the first reason is the one that counts."""
        self.reason = self.reason or reason
        for wake in tuple(self._wakes):
            wake()

    def check(self) -> None:
        """Stop here, if the run was asked to.

        Raises:
            Stopped: it was.
        """
        if self.reason is not None:
            raise Stopped(self.reason)

    @contextmanager
    def named(self) -> Generator[None]:
        """Have an interrupt of the block, where the run was asked to stop, say why."""
        try:
            yield
        except Stopped:
            raise
        except KeyboardInterrupt:
            self.check()
            raise

    @contextmanager
    def heard_by(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], object]) -> Generator[None]:
        """Call `wake` on the event loop when the run is asked to stop while the block runs."""

        def call() -> None:
            loop.call_soon_threadsafe(wake)

        self.asking.append(loop)
        self._wakes.append(call)
        try:
            yield
        finally:
            self._wakes.remove(call)
            self.asking.remove(loop)


async def until_stopped(stop: Stop, caller: "Caller", work: Awaitable[T]) -> T:
    """Return what `work` returns, which asks through `caller`; where the run is asked to stop, nothing more is sent.

    Raises:
        Stopped: the run was asked to stop; replies that came back within `COME_BACK` are in the ledger.
    """
    task, asked = asyncio.ensure_future(work), asyncio.Event()
    waits = asyncio.create_task(asked.wait())
    try:
        with stop.heard_by(asyncio.get_running_loop(), asked.set):
            if stop.reason is None:
                await asyncio.wait((task, waits), return_when=asyncio.FIRST_COMPLETED)
            if stop.reason is not None and not task.done():
                # A batch goes on at its endpoint, and the next try finds its replies there.
                waits_for_none = stop.reason.at_once or isinstance(caller.teacher, GatheringTeacher)
                await caller.land(0.0 if waits_for_none else COME_BACK)
                stop.check()
        return task.result()
    finally:
        for one in (task, waits):
            one.cancel()
        await asyncio.gather(task, waits, return_exceptions=True)


@contextmanager
def stopped_by_signals(stop: Stop) -> Generator[None]:
    """Have SIGINT (Ctrl-C) and SIGTERM ask the run to stop while the block runs; the second of them stops it now.

    Now means: `Stopped` is raised wherever the process is, and after `UNWIND` seconds the system ends it. Where Python
    would swallow it (in a finalizer, in a weak reference's callback), it is raised again. Changes nothing where the
    block does not run in the main thread, which alone may set handlers.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()
    logging.getLogger("asyncio").addFilter(_tells_of_no_stop)  # stays: a task is told of when it is collected

    def handle(number: int, frame: "FrameType | None") -> None:
        if os.getpid() != process:  # a child that was forked: what it does is for its parent to say
            if number == signal.SIGTERM:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            return
        if stop.reason is None:
            stop.ask(BY_SIGNAL[signal.Signals(number)])
            # Not through Python's own streams: the signal may have come in the middle of a write to them.
            os.write(2, b"\nstopping at the next safe point; calls that are out may come back; again: stops now\n")
            return
        now(stop.reason)

    def now(reason: Reason) -> None:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(UNWIND)
        raise Stopped(reason)

    def swallowed(what: "sys.UnraisableHookArgs", /) -> None:
        stopped = what.exc_value
        if isinstance(stopped, Stopped):
            signal.signal(signal.SIGALRM, lambda number, frame: now(stopped.reason))
            signal.setitimer(signal.ITIMER_REAL, SWALLOWED)
        else:
            told(what)

    alarm = signal.getsignal(signal.SIGALRM)
    before = {number: signal.signal(number, handle) for number in BY_SIGNAL}
    told, sys.unraisablehook = sys.unraisablehook, swallowed
    stop.owns_process = True
    try:
        yield
    finally:
        stop.owns_process = False
        signal.alarm(0)  # the timer of a stop that was swallowed is the same one
        signal.signal(signal.SIGALRM, alarm)
        sys.unraisablehook = told
        for number, handler in before.items():
            signal.signal(number, handler)


def _tells_of_no_stop(record: logging.LogRecord) -> bool:
    """Return whether a record of asyncio's is to be told: not of a task that ended because the run was stopped."""
    told = record.exc_info
    return not (isinstance(told, tuple) and isinstance(told[1], Stopped))
