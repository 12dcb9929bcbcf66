"""Where requests wait until there are enough for a batch, and from where their batches are followed."""

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lessons.errors import TeacherError, TutelageError
from teachers.batch_courier import Courier

LARGEST = 190_000_000
"""Bytes of a batch's file at most: OpenAI takes 200 MB."""


@dataclass(slots=True, eq=False)
class _Waiter:
    line: bytes
    future: "asyncio.Future[bytes]"
    count: int = 0


class Desk:
    """Gathers requests into batches on one event loop. Whoever asks for a request that is on its way waits for that."""

    def __init__(self, courier: Courier) -> None:
        self._courier, self.state, self._pace = courier, courier.state, courier.pace
        self._waiters: dict[str, _Waiter] = {}
        self._waiting: dict[str, bytes] = {}
        """Key -> line of what is in no batch yet."""
        self._arrived = 0
        self._gatherer: asyncio.Task[None] | None = None
        self._followed: dict[int, set[str]] = {}
        """Batch -> keys of it that somebody here waits for."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def get(self, key: str, line: bytes) -> bytes:
        """Return the completion's JSON for a request: recorded, from a batch under way, or from a new one.

        Raises:
            TeacherError: there is none; fatal where its batch was refused.
        """
        waiter = self._waiters.get(key)
        if waiter is None:
            waiter = self._waiters[key] = _Waiter(line, asyncio.get_running_loop().create_future())
        waiter.count += 1
        try:
            if waiter.count == 1:
                self._place([key])
            return await asyncio.shield(waiter.future)
        finally:
            waiter.count -= 1
            if not waiter.count and self._waiters.get(key) is waiter:  # what is in a batch by now stays in it
                del self._waiters[key]
                self._waiting.pop(key, None)
                if not waiter.future.cancel():
                    waiter.future.exception()  # seen, also where the one who waited was cancelled just now

    async def close(self) -> None:
        """Follow nothing more; what was submitted goes on at the endpoint, and its record stays."""
        tasks = [*self._tasks, *([self._gatherer] if self._gatherer else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.state.close()

    def _place(self, keys: Iterable[str]) -> None:
        """Send each request that somebody waits for where it belongs, by what is recorded of it."""
        for key in keys:
            waiter = self._waiters.get(key)
            if waiter is None or waiter.future.done():
                continue
            known = self.state.known(key)
            if known is not None and known.result is not None:
                waiter.future.set_result(known.result)
            elif known is not None and known.batch.step in ("sending", "sent"):
                self._follow(known.batch.number, [key])
            else:
                self._waiting[key] = waiter.line
                self._arrived += 1
        if len(self._waiting) >= self._pace.most:
            self._launch_all()
        elif self._waiting and self._gatherer is None:
            self._gatherer = asyncio.create_task(self._gather())

    async def _gather(self) -> None:
        try:
            while self._waiting:
                seen = self._arrived
                await self._pace.sleep(self._pace.gather)
                if seen == self._arrived:
                    self._launch_all()
        finally:
            self._gatherer = None

    def _launch_all(self) -> None:
        while self._waiting:
            chunk: dict[str, bytes] = {}
            size = 0
            for key, line in self._waiting.items():
                size += len(line)
                if chunk and (size > LARGEST or len(chunk) >= self._pace.most):
                    break
                chunk[key] = line
            for key in chunk:
                del self._waiting[key]
            self._start(self._launch(chunk), chunk)

    async def _launch(self, chunk: Mapping[str, bytes]) -> None:
        batch, keys = await self._courier.submit(chunk)
        mine = set(keys)
        self._place(key for key in chunk if key not in mine)
        if batch is not None:
            self._follow(batch.number, keys)

    def _follow(self, number: int, keys: Iterable[str]) -> None:
        known = self._followed.get(number)
        if known is not None:
            known.update(keys)
            return
        self._followed[number] = followers = set(keys)
        self._start(self._drive(number, followers), followers)

    async def _drive(self, number: int, followers: set[str]) -> None:
        """Follow one batch to its end, and give everybody who waits for it what came back."""
        try:
            outcomes = await self._courier.follow(number)
        finally:
            del self._followed[number]
        for key in followers:
            waiter, outcome = self._waiters.get(key), outcomes.get(key)
            if waiter is not None and outcome is not None and outcome.error is not None and not waiter.future.done():
                waiter.future.set_exception(outcome.error)
        self._place(followers)  # to its result, or into the next batch

    def _start(self, work: Coroutine[Any, Any, None], keys: Iterable[str]) -> None:
        """Run in the background; where it fails, all who wait for these requests hear of it."""

        async def guarded() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait
                for key in [*keys]:
                    waiter = self._waiters.get(key)
                    if waiter is not None and not waiter.future.done():
                        waiter.future.set_exception(_copy(error))

        task = asyncio.create_task(guarded())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _copy(error: Exception) -> Exception:
    """Return the error anew: one instance that is raised ten thousand times would grow its traceback."""
    if isinstance(error, TeacherError):
        return TeacherError(str(error), status=error.status, retryable=error.retryable, fatal=error.fatal)
    return type(error)(str(error)) if isinstance(error, TutelageError) else error
