"""Calls under way: one request for all who ask the same, and the sign that the teacher is gone."""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from lessons.errors import TeacherError, TutelageError
from teachers.ledger import Call


class Flight:
    """One request under way, and everybody who waits for it. It is called off when nobody does any more."""

    def __init__(self, fetch: Coroutine[Any, Any, Call]) -> None:
        self.task = asyncio.create_task(fetch)
        self.abandoned = False
        """Whether it was called off, so that whoever asks the same now must ask anew."""
        self._waiting = 0
        self._cut: Exception | None = None

    async def wait(self) -> Call:
        """Return the call.

        Raises:
            TeacherError: the request failed, or was cut off by a fatal error elsewhere.
        """
        self._waiting += 1
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            if self._cut is not None and self.task.cancelled():
                raise halted(self._cut) from None
            raise
        finally:
            self._waiting -= 1
            if not self._waiting and not self.task.done():
                self.abandoned = True
                self.task.cancel()

    def cut(self, error: Exception) -> None:
        """End the request because of a fatal error of another one."""
        if self.task is not asyncio.current_task():
            self._cut = error
            self.task.cancel()


class Runway:
    """Where requests set out from, and come back to; it can be closed while some are out."""

    def __init__(self) -> None:
        self._out = 0
        self._closed = False
        self._last: asyncio.Future[None] | None = None

    async def __aenter__(self) -> None:
        if self._closed:
            await asyncio.Event().wait()  # until it is cancelled, with all that waits for it
        self._out += 1

    async def __aexit__(self, *error: object) -> None:
        self._out -= 1
        if not self._out and self._last is not None and not self._last.done():
            self._last.set_result(None)

    async def close(self, seconds: float) -> None:
        """Let nothing more set out, and wait until all that is out is back, or so many seconds are over."""
        self._closed = True
        if self._out and seconds > 0:
            self._last = asyncio.get_running_loop().create_future()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._last, seconds)


def shared(fetch: Coroutine[Any, Any, Sequence[Call | Exception]], count: int) -> list[Coroutine[Any, Any, Call]]:
    """Return one coroutine for each result of a fetch that brings several; it is called off when all of them are.

    A result that is an exception is raised by its coroutine alone.
    """
    task: list[asyncio.Task[Sequence[Call | Exception]]] = []
    left = count

    async def one(place: int) -> Call:
        nonlocal left
        if not task:
            task.append(asyncio.create_task(_of(fetch)))
        try:
            result = (await asyncio.shield(task[0]))[place]
        except asyncio.CancelledError:
            left -= 1
            if not left:
                task[0].cancel()
            raise
        if isinstance(result, Exception):
            raise result
        return result

    return [one(place) for place in range(count)]


async def _of(fetch: Coroutine[Any, Any, Sequence[Call | Exception]]) -> Sequence[Call | Exception]:
    return await fetch


def halted(error: Exception) -> TeacherError:
    """Return a fatal error with the words of another: one instance raised a thousand times would grow its traceback."""
    status = error.status if isinstance(error, TeacherError) else None
    words = str(error) if isinstance(error, TutelageError) else f"{type(error).__name__}: {error}"
    return TeacherError(words, status=status, fatal=True)


_REMEMBERED = 4096
"""Failures, at most: far more than calls are ever out at once."""


@dataclass(slots=True)
class Breaker:
    """Tells a teacher that is gone from single calls that fail.

    In a row means: in the order in which they were sent. In the order in which they end, failures gather where nothing
    is wrong: those that are refused at once come first, and those that are tried again and again come last.
    """

    limit: int
    sent: int = 0
    answered: bool = False
    """Whether any call was answered."""
    _failed: dict[int, bool] = field(default_factory=dict[int, bool])
    """Call that failed -> whether another try might have cured it."""

    def send(self) -> int:
        """Count a call that is sent; return its number."""
        self.sent += 1
        return self.sent

    def failed(self, number: int, retryable: bool, answered_before: Callable[[], bool]) -> str:
        """Count a call that failed; return why to give up, or "".

        A teacher that never answered is given up after any failures; one that has, only after faults of its own: a
        resumed run may begin with the very calls that failed before for what they ask.
        """
        self._failed[number] = retryable
        if len(self._failed) > _REMEMBERED:
            del self._failed[next(iter(self._failed))]
        if self._row(number, (True, False)) >= self.limit and not (self.answered or answered_before()):
            return f"the first {self.limit} calls of the teacher all failed"
        if self._row(number, (True,)) >= self.limit:
            return f"the last {self.limit} calls of the teacher all failed, each after all of its tries"
        return ""

    def forget(self) -> None:
        """Forget the failures: they were the calls' own."""
        self._failed.clear()

    def _row(self, number: int, kinds: tuple[bool, ...]) -> int:
        """Return how many failures of these kinds stand side by side around this one, itself included."""
        length = 0
        for step in (-1, 1):
            place = number
            while length <= self.limit and self._failed.get(place) in kinds:
                length, place = length + 1, place + step
        return max(0, length - 1)  # itself was counted from both sides
