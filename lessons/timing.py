"""Where the wall time of some work goes: inside the student's engine, waiting for the teacher, loading, and the rest.

Every moment counts once: what begins within something else takes its seconds from that. Waiting for the teacher is
what the event loop does while it has nothing to do and at least one call is out, and what the teacher's own code
computes; our own work on replies while others are still out is not.
"""

import asyncio
import selectors
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, Generic, Literal, TypeVar, get_args

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])

Part = Literal["answer", "score", "learn", "teacher", "load"]
"""Inside the student's engine: answer, score, learn. teacher: waiting for it. load: imports of heavy libraries,
reading weights, and giving their memory back."""
PARTS: tuple[Part, ...] = get_args(Part)


class Times:
    """Seconds of wall time by part. Only the thread that made it counts; what others do is done meanwhile."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.out = 0
        """Calls of the teacher that are out."""
        self._clock = clock
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self._within: list[Part] = []
        self._since = 0.0
        self._thread = threading.get_ident()

    @property
    def seconds(self) -> Mapping[Part, float]:
        """Seconds so far of each part that took any."""
        return {part: seconds for part, seconds in self._seconds.items() if seconds > 0}

    def enter(self, part: Part) -> None:
        """Begin something; `leave` ends it."""
        if threading.get_ident() == self._thread:
            self._turn()
            self._within.append(part)

    def leave(self) -> None:
        """End what was begun last."""
        if threading.get_ident() == self._thread:
            self._turn()
            self._within.pop()

    def _turn(self) -> None:
        now = self._clock()
        if self._within:
            self._seconds[self._within[-1]] += now - self._since
        self._since = now

    def here(self, do: Callable[[], T]) -> T:
        """Count on this thread while it does something and the thread that counted waits for it."""
        before, self._thread = self._thread, threading.get_ident()
        try:
            return do()
        finally:
            self._thread = before


_current: ContextVar[Times | None] = ContextVar("times", default=None)


@contextmanager
def counted() -> Generator[Times]:
    """Count what is done in the block."""
    times = Times()
    token = _current.set(times)
    try:
        yield times
    finally:
        _current.reset(token)


@contextmanager
def inside(part: Part) -> Generator[None]:
    """Count the block as a part, where something counts."""
    times = _current.get()
    if times is None:
        yield
        return
    times.enter(part)
    try:
        yield
    finally:
        times.leave()


def counts_as(part: Part) -> Callable[[C], C]:
    """Count every call of a function as a part, where something counts."""
    return inside(part)  # type: ignore[return-value] - a context manager of contextlib decorates too, and keeps the type


class Waited(Generic[T]):
    """A teacher's call: awaited, it counts as being out, and what its own code computes as waiting for the teacher."""

    def __init__(self, call: Coroutine[Any, Any, T]) -> None:
        self._call = call

    def __await__(self) -> Generator[Any, Any, T]:
        times = _current.get()
        if times is None:
            return (yield from self._call.__await__())
        times.out += 1
        try:
            return (yield from _steps(self._call, times))
        finally:
            times.out -= 1


def _steps(call: Coroutine[Any, Any, T], times: Times) -> Generator[Any, Any, T]:
    """Do what `yield from` does, and count each step."""
    sent: Any = None
    error: BaseException | None = None
    while True:
        times.enter("teacher")
        try:
            waits_for = call.send(sent) if error is None else call.throw(error)
        except StopIteration as done:
            return done.value
        finally:
            times.leave()
        sent = error = None
        try:
            sent = yield waits_for
        except GeneratorExit:
            call.close()
            raise
        except BaseException as thrown:  # noqa: BLE001 - a cancellation too is the call's own to deal with
            error = thrown


class _Selector(selectors.DefaultSelector):
    """What an event loop waits in; while calls are out, that is waiting for the teacher."""

    def __init__(self, times: Times) -> None:
        super().__init__()
        self._times = times

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not self._times.out or (timeout is not None and timeout <= 0):
            return super().select(timeout)
        self._times.enter("teacher")
        try:
            return super().select(timeout)
        finally:
            self._times.leave()


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on an event loop of its own, as `asyncio.run` does; waiting for the teacher is counted."""
    times = _current.get()
    if times is None:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Selector(times))) as runner:
        return runner.run(work)


def run_beside(work: Coroutine[Any, Any, T]) -> Callable[[], T]:
    """Return what runs a coroutine on another thread while this one waits for it; it is counted as here."""
    times, context = _current.get(), copy_context()

    def do() -> T:
        return run(work)

    return (lambda: context.run(do)) if times is None else (lambda: times.here(lambda: context.run(do)))
