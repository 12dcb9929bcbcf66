"""How one reply is had: from whoever is asking the same, from a cache, or from the teacher, under budget and limit."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime

import msgspec

from lessons.errors import BudgetError, TeacherError
from lessons.jsonl import plain_text
from lessons.records import Message
from teachers.base import GatheringTeacher, ManyTeacher, Reply, Sampling, Teacher
from teachers.budget import Budget
from teachers.flights import Breaker, Flight, halted, shared
from teachers.ledger import Call, Ledger, call_key
from teachers.totals import CallTotals

MOST_CHOICES = 8
"""Samples asked for in one request, at most: Gemini's endpoint refuses more, and one lost request loses them all."""


class Request(msgspec.Struct, frozen=True):
    """One sample that is wanted."""

    key: str
    purpose: str
    messages: tuple[Message, ...]
    sampling: Sampling
    sample: int


class Fetcher:
    """Everything between a request and its call in the ledger. After a fatal error it sends nothing more."""

    def __init__(
        self,
        teacher: Teacher,
        ledger: Ledger,
        budget: Budget,
        totals: CallTotals,
        *,
        in_flight: int,
        give_up_after: int,
    ) -> None:
        self.teacher, self.ledger, self.budget, self.totals = teacher, ledger, budget, totals
        self._in_flight = teacher.in_flight if isinstance(teacher, GatheringTeacher) else in_flight
        self._many = teacher if isinstance(teacher, ManyTeacher) else None
        self._breaker = Breaker(give_up_after)
        self._stopped: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limit = asyncio.Semaphore(self._in_flight)
        self._flights: dict[str, Flight] = {}

    def request(self, purpose: str, messages: tuple[Message, ...], sampling: Sampling, sample: int) -> Request:
        """Return a request with its key."""
        return Request(call_key(self.teacher.name, messages, sampling, sample), purpose, messages, sampling, sample)

    async def begin_together(self, wanted: Sequence[Request]) -> None:
        """Send the samples of one chat that nobody has yet in as few requests as the endpoint can; wait for none."""
        self._bind()
        if self._many is None or len(wanted) < 2 or not await self._many.offers_many():
            return
        missing = [one for one in wanted if self._flying(one.key) is None and self.ledger.get(one.key) is None]
        for start in range(0, len(missing), MOST_CHOICES):
            together = missing[start : start + MOST_CHOICES]
            if len(together) > 1:
                for one, calls in zip(together, shared(self._fetch_many(together), len(together)), strict=True):
                    self._take_off(one.key, Flight(calls))

    async def call(self, wanted: Request) -> Call:
        """Return the call of this request from the ledger, from whoever is already making it, or from the teacher.

        Raises:
            TeacherError: no reply; fatal where no call of this run can get one.
            BudgetError: nothing more can be paid for.
        """
        self._bind()
        flight = self._flying(wanted.key)
        if flight is None:
            stored = self.ledger.get(wanted.key)
            if stored is not None:
                self.totals.from_ledger += 1
                self.totals.settle(stored.reply, sent=False)
                return stored
            flight = Flight(self._fetch(wanted))
            self._take_off(wanted.key, flight)
        return await flight.wait()

    async def _fetch(self, wanted: Request) -> Call:
        borrowed = await self._borrowed(wanted)
        if borrowed is not None:
            return borrowed
        (call,) = await self._sent([wanted])
        return call

    async def _fetch_many(self, wanted: Sequence[Request]) -> list[Call]:
        """Return the calls of several samples; those that the endpoint left out are sent for one by one."""
        found = {one.key: await self._borrowed(one) for one in wanted}
        missing = [one for one in wanted if found[one.key] is None]
        if len(missing) > 1:
            found |= {call.id: call for call in await self._sent(missing)}
            missing = [one for one in missing if found[one.key] is None]
        rest = await asyncio.gather(*(self._sent([one]) for one in missing))
        found |= {call.id: call for (call,) in rest}
        return [call for one in wanted if (call := found[one.key]) is not None]

    async def _borrowed(self, wanted: Request) -> Call | None:
        call = await self.ledger.borrow(wanted.key)
        if call is not None:
            self.totals.from_cache += 1
            self.totals.settle(call.reply, sent=False)
        return call

    async def _sent(self, wanted: Sequence[Request]) -> list[Call]:
        """Send one request for one or several samples of a chat; its replies are on disk when this returns."""
        first = wanted[0]
        try:
            async with (
                self._limit
            ):  # until the replies are on disk: a kill loses no more than the limit's worth of calls
                if self._stopped is not None:
                    raise halted(self._stopped)
                reserved = await self.budget.reserve(first.messages, first.sampling, len(wanted))
                try:
                    self.totals.sent += 1
                    started = time.perf_counter()
                    replies = await self._asked(wanted)
                    seconds = time.perf_counter() - started
                    reserved.settle(replies)
                finally:
                    reserved.release()
                # All are on their way to the disk before anything is waited for, also where this is called off now.
                kept = [self._kept(one, reply, seconds) for one, reply in zip(wanted, replies, strict=False)]
                return [await call for call in kept]
        except BudgetError:
            raise
        except TeacherError as error:
            if error.fatal:
                self._stop(error)
            raise
        except Exception as error:
            self._stop(error)
            raise

    def _kept(self, wanted: Request, reply: Reply, seconds: float) -> Awaitable[Call]:
        self.totals.settle(reply, sent=True)
        call = Call(
            id=wanted.key,
            teacher=self.teacher.name,
            purpose=wanted.purpose,
            messages=wanted.messages,
            sampling=wanted.sampling,
            sample=wanted.sample,
            reply=reply,
            seconds=round(seconds, 6),
            created=datetime.now(UTC).isoformat(timespec="milliseconds"),
        )
        return self.ledger.put_now(call) if complete(reply) else self.ledger.put_broken(call)

    async def _asked(self, wanted: Sequence[Request]) -> list[Reply]:
        first = wanted[0]
        try:
            if len(wanted) > 1 and self._many is not None:
                replies = await self._many.ask_many(first.messages, [one.sampling for one in wanted])
            else:
                replies = [await self.teacher.ask(first.messages, first.sampling)]
        except TeacherError as error:
            self.totals.error(error)
            if error.fatal:
                raise
            gone = self._breaker.failed(error.retryable, lambda: self.ledger.has(self.teacher.name))
            if gone:
                raise TeacherError(f"{gone}; the last one: {error}", status=error.status, fatal=True) from error
            raise
        self._breaker.worked()
        return [_plain(reply) for reply in replies]

    def _flying(self, key: str) -> Flight | None:
        flight = self._flights.get(key)
        return None if flight is None or flight.abandoned else flight

    def _take_off(self, key: str, flight: Flight) -> None:
        flights = self._flights

        def land(_: object) -> None:
            if flights.get(key) is flight:
                del flights[key]

        flights[key] = flight
        flight.task.add_done_callback(land)

    def _stop(self, error: Exception) -> None:
        """Send nothing more: calls that wait, and calls that are out, end with this error."""
        if self._stopped is None:
            self._stopped = error
            for flight in self._flights.values():
                flight.cut(error)

    def _bind(self) -> None:
        """Begin anew on another event loop: a semaphore and tasks belong to theirs."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop, self._limit, self._flights = loop, asyncio.Semaphore(self._in_flight), {}


def complete(reply: Reply) -> bool:
    """Whether the reply ended as replies do. One that broke off is asked for again when the run goes on."""
    return reply.finish != "other"


def _plain(reply: Reply) -> Reply:
    """Return the reply fit for UTF-8: a model may write half a surrogate pair."""
    return msgspec.structs.replace(
        reply, text=plain_text(reply.text), reasoning=plain_text(reply.reasoning), detail=plain_text(reply.detail)
    )
