"""Calls under way: one request for all who ask the same, and the sign that the teacher is gone."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
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


def shared(fetch: Coroutine[Any, Any, Sequence[Call]], count: int) -> list[Coroutine[Any, Any, Call]]:
    """Return one coroutine for each result of a fetch that brings several; it is called off when all of them are."""
    task: list[asyncio.Task[Sequence[Call]]] = []
    left = count

    async def one(place: int) -> Call:
        nonlocal left
        if not task:
            task.append(asyncio.create_task(_of(fetch)))
        try:
            return (await asyncio.shield(task[0]))[place]
        except asyncio.CancelledError:
            left -= 1
            if not left:
                task[0].cancel()
            raise

    return [one(place) for place in range(count)]


async def _of(fetch: Coroutine[Any, Any, Sequence[Call]]) -> Sequence[Call]:
    return await fetch


def halted(error: Exception) -> TeacherError:
    """Return a fatal error with the words of another: one instance raised a thousand times would grow its traceback."""
    status = error.status if isinstance(error, TeacherError) else None
    words = str(error) if isinstance(error, TutelageError) else f"{type(error).__name__}: {error}"
    return TeacherError(words, status=status, fatal=True)


@dataclass(slots=True)
class Breaker:
    """Tells a teacher that is gone from single calls that fail."""

    limit: int
    failures: int = 0
    """In a row."""
    faults: int = 0
    """In a row, of the kind that another try might have cured."""
    answered: bool = False
    """Whether any call was answered."""

    def worked(self) -> None:
        """Count a call that was answered."""
        self.failures = self.faults = 0
        self.answered = True

    def failed(self, retryable: bool, answered_before: Callable[[], bool]) -> str:
        """Count a call that failed; return why to give up, or "".

        A teacher that never answered is given up after any failures; one that has, only after faults of its own: a
        resumed run may begin with the very calls that failed before for what they ask.
        """
        self.failures += 1
        self.faults = self.faults + 1 if retryable else 0
        if self.failures >= self.limit and not (self.answered or answered_before()):
            return f"the first {self.limit} calls of the teacher all failed"
        if self.faults >= self.limit:
            return f"the last {self.limit} calls of the teacher all failed, each after all of its tries"
        return ""
