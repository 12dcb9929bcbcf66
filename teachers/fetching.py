"""How one reply is had: from whoever is asking the same, from a cache, or from the teacher, under budget and limit."""

import asyncio
import time
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime

import msgspec

from lessons.errors import BudgetError, TeacherError
from lessons.jsonl import plain_text
from lessons.records import Message
from lessons.timing import Waited
from teachers.base import Door, GatheringTeacher, ManyTeacher, Reply, Sampling, Teacher, open_door
from teachers.budget import Budget
from teachers.flights import Breaker, Flight, Runway, halted, shared
from teachers.ledger import Call, Ledger, call_key
from teachers.totals import CallTotals, too_long

MOST_CHOICES = 8
"""Samples asked for in one request, at most: Gemini's endpoint refuses more, and one lost request loses them all."""

_PROBE = "probe"


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
        door: Door = open_door,
    ) -> None:
        self._door = door
        self.teacher, self.ledger, self.budget, self.totals = teacher, ledger, budget, totals
        self._in_flight = teacher.in_flight if isinstance(teacher, GatheringTeacher) else in_flight
        self.runway = Runway()
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
        if self._many is None or len(wanted) < 2 or not await self._offered(self._many):
            return
        missing = [one for one in wanted if self._flying(one.key) is None and self.ledger.get(one.key) is None]
        for start in range(0, len(missing), MOST_CHOICES):
            together = missing[start : start + MOST_CHOICES]
            if len(together) > 1:
                for one, calls in zip(together, shared(self._fetch_many(together), len(together)), strict=True):
                    self._take_off(one.key, Flight(calls))

    async def _offered(self, many: ManyTeacher) -> bool:
        try:
            return await many.offers_many()
        except TeacherError as error:
            if error.fatal:
                self._stop(error)
                raise
            return False  # not found out now: the samples are asked for one by one, each with its own tries

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

    async def _fetch_many(self, wanted: Sequence[Request]) -> list[Call | Exception]:
        """Return the calls of several samples; those that the endpoint left out are sent for one by one.

        One that fails does not take those with it that are there.
        """
        found: dict[str, Call | Exception | None] = {one.key: await self._borrowed(one) for one in wanted}
        missing = [one for one in wanted if found[one.key] is None]
        if len(missing) > 1:
            try:
                found |= {call.id: call for call in await self._sent(missing)}
            except Exception as error:  # noqa: BLE001 - each of those who wait raises it
                found |= {one.key: error for one in missing}
            missing = [one for one in missing if found[one.key] is None]
        rest = await asyncio.gather(*(self._one(one) for one in missing))
        found |= {one.key: result for one, result in zip(missing, rest, strict=True)}
        return [result for one in wanted if (result := found[one.key]) is not None]

    async def _one(self, wanted: Request) -> Call | Exception:
        try:
            return (await self._sent([wanted]))[0]
        except Exception as error:  # noqa: BLE001 - whoever waits for this sample raises it
            return error

    async def _borrowed(self, wanted: Request) -> Call | None:
        call = await self.ledger.borrow(wanted.key)
        if call is not None:
            self.totals.from_cache += 1
            self.totals.settle(call.reply, sent=False)
        return call

    async def _sent(self, wanted: Sequence[Request]) -> list[Call]:
        """Send one request for one or several samples of a chat; its replies are on disk when this returns."""
        try:
            # Until the replies are on disk: a kill loses no more than the limit's worth of calls.
            async with self._limit, self.runway:
                if self._stopped is not None:
                    raise halted(self._stopped)
                number = self._breaker.send()
                try:
                    bought = await self._bought(wanted)
                except TeacherError as error:
                    await self._judge(number, error)
                    raise
                # All are on their way to the disk before anything is waited for, also where this is called off now.
                kept = [self._kept(call) for call in bought]
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

    async def _bought(self, wanted: Sequence[Request]) -> list[Call]:
        """Make one request within the budget; return a call for each reply that came."""
        first = wanted[0]
        reserved = await self.budget.reserve(first.messages, first.sampling, len(wanted))
        try:
            self.totals.sent += 1
            started = time.perf_counter()
            replies = await self._asked(wanted)
            seconds = time.perf_counter() - started
            reserved.settle(replies)
        finally:
            reserved.release()
        for reply in replies:
            self.totals.settle(reply, sent=True)
        return [self._call_of(one, reply, seconds) for one, reply in zip(wanted, replies, strict=False)]

    def _call_of(self, wanted: Request, reply: Reply, seconds: float) -> Call:
        return Call(
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

    def _kept(self, call: Call) -> Awaitable[Call]:
        return self.ledger.put_now(call) if complete(call.reply, call.sampling) else self.ledger.put_broken(call)

    async def _asked(self, wanted: Sequence[Request]) -> list[Reply]:
        try:
            replies = await Waited(self._through_the_door(wanted))
        except TeacherError as error:
            self.totals.error(error)
            raise
        self._breaker.answered = True
        return [_plain(reply) for reply in replies]

    async def _through_the_door(self, wanted: Sequence[Request]) -> list[Reply]:
        first = wanted[0]
        async with self._door(self.teacher):
            if len(wanted) > 1 and self._many is not None:
                return await self._many.ask_many(first.messages, [one.sampling for one in wanted])
            return [await self.teacher.ask(first.messages, first.sampling)]

    async def _judge(self, number: int, error: TeacherError) -> None:
        """Tell whether a call's failure shows that the teacher is gone.

        One that has answered before is asked once more what it answered last: where it still does, the failures are
        the calls' own, and they are data. A resumed run may begin with a whole row of those.

        Raises:
            TeacherError: it is gone; fatal.
        """
        if error.fatal:
            return
        gone = self._breaker.failed(number, error.retryable, lambda: self.ledger.has(self.teacher.name))
        if not gone:
            return
        known = self.ledger.last(self.teacher.name)
        if known is not None:
            flight = self._flying(_PROBE)
            if flight is None:
                flight = Flight(self._probe(known))
                self._take_off(_PROBE, flight)
            try:
                await flight.wait()
            except BudgetError:
                return  # it cannot be paid for, and nothing else can be sent either
            except TeacherError as last:
                if last.fatal:
                    raise
                gone += ", and it does not answer either what it answered before"
            else:
                return
        raise TeacherError(f"{gone}; the last one: {error}", status=error.status, fatal=True) from error

    async def _probe(self, known: Call) -> Call:
        """Ask again what was answered; the reply is paid for and used for nothing else."""
        request = Request(_PROBE, f"{known.purpose}/probe", known.messages, known.sampling, known.sample)
        (call,) = await self._bought([request])
        self._breaker.forget()
        return await self.ledger.put_broken(call)

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


def complete(reply: Reply, sampling: Sampling) -> bool:
    """Whether the reply ended as replies do, and can be the model's own.

    One that broke off, or is longer than its tokens can be, is asked for again when the run goes on.
    """
    return reply.finish != "other" and not too_long(reply, sampling.max_tokens)


def _plain(reply: Reply) -> Reply:
    """Return the reply fit for UTF-8: a model may write half a surrogate pair."""
    return msgspec.structs.replace(
        reply, text=plain_text(reply.text), reasoning=plain_text(reply.reasoning), detail=plain_text(reply.detail)
    )
