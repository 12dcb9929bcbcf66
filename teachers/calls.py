"""The path of a teacher call, the only one: ledger, limit, teacher, ledger, classify, parse, repair turn, totals."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from lessons.errors import ParseError, TeacherError
from lessons.ids import seed_of
from lessons.jsonl import plain_text
from lessons.records import Message
from teachers.base import Reply, Sampling, Teacher
from teachers.flights import Breaker, Flight, halted
from teachers.ledger import Call, Ledger, call_key
from teachers.prompts.base import Prompt
from teachers.totals import Answered, CallTotals, classify

T = TypeVar("T")

_SHOWN = 300
"""Characters of a parser's complaint that the teacher is shown."""


class Caller:
    """Asks one teacher for everything that a run needs. Methods simply gather: the limit is here, at the resource.

    May be used from one event loop after another, from one at a time. After a fatal error it sends nothing more.
    """

    def __init__(
        self,
        teacher: Teacher,
        ledger: Ledger,
        *,
        in_flight: int = 32,
        seed: int = 0,
        repair: bool = True,
        give_up_after: int = 20,
        on_change: Callable[[CallTotals], None] | None = None,
    ) -> None:
        """Make the path to a teacher.

        Args:
            teacher: who is asked.
            ledger: where its replies are kept.
            in_flight: calls at most that are with the teacher, or on their way to the disk, at once.
            seed: the run's; another seed draws other samples.
            repair: whether a reply that cannot be parsed is given back once, with what was wrong.
            give_up_after: failed calls in a row after which the teacher is taken for gone.
            on_change: called with the totals, which go on growing, whenever they change.
        """
        self.teacher = teacher
        self.ledger = ledger
        self.seed = seed
        self.repair = repair
        self.totals = CallTotals()
        self._in_flight = in_flight
        self._breaker = Breaker(give_up_after)
        self._on_change = on_change
        self._stopped: Exception | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limit = asyncio.Semaphore(in_flight)
        self._flights: dict[str, Flight] = {}

    async def ask(
        self, prompt: Prompt[T], fields: Mapping[str, object], *, n: int = 1, sampling: Sampling | None = None
    ) -> list[Answered[T]]:  # [sample]
        """Ask for `n` samples; return what became of each, in order of their index.

        Each sample has a seed of its own, drawn from `sampling.seed` where it is given and else from the caller's.

        Raises:
            InputError: the prompt lacks a field, or the ledger cannot be used.
            TeacherError: fatal: no call of this run can succeed. What was already replied is in the ledger.
        """
        chat = prompt.messages(fields)
        messages = tuple(Message(role=turn["role"], content=plain_text(turn["content"])) for turn in chat)
        drawn = sampling or prompt.sampling
        seed = self.seed if drawn.seed is None else drawn.seed
        return await _all(
            [
                self._sample(prompt, messages, msgspec.structs.replace(drawn, seed=seed_of(seed, sample)), sample)
                for sample in range(n)
            ]
        )

    async def _sample(
        self, prompt: Prompt[T], messages: tuple[Message, ...], sampling: Sampling, sample: int
    ) -> Answered[T]:
        self.totals.asked += 1
        answer = await self._answer(prompt, prompt.name, messages, sampling, sample)
        if answer.reason == "invalid" and self.repair:
            asked_again = (*messages, *_repair_turns(answer))
            again = await self._answer(prompt, f"{prompt.name}/repair", asked_again, sampling, sample)
            answer = _after_repair(answer, again)
        self.totals.count(answer)
        if self._on_change is not None:
            self._on_change(self.totals)
        return answer

    async def _answer(
        self, prompt: Prompt[T], purpose: str, messages: tuple[Message, ...], sampling: Sampling, sample: int
    ) -> Answered[T]:
        try:
            call = await self._call(purpose, messages, sampling, sample)
        except TeacherError as error:
            if error.fatal:
                raise
            return Answered(reason="failed", detail=str(error))
        reply = call.reply
        kept = call.id if _complete(reply) else None
        reason = classify(reply)
        if reason:
            return Answered(reason=reason, text=reply.text, call=kept, detail=reply.detail)
        try:
            return Answered(value=prompt.parse(reply.text), text=reply.text, call=kept)
        except ParseError as error:
            return Answered(reason="invalid", text=reply.text, call=kept, detail=str(error))

    async def _call(self, purpose: str, messages: tuple[Message, ...], sampling: Sampling, sample: int) -> Call:
        """Return the call of this request from the ledger, from whoever is already making it, or from the teacher."""
        key = call_key(self.teacher.name, messages, sampling, sample)
        self._bind()
        flight = self._flights.get(key)
        if flight is None or flight.abandoned:
            stored = self.ledger.get(key)
            if stored is not None:
                self.totals.from_ledger += 1
                self.totals.settle(stored.reply, sent=False)
                return stored
            flight = Flight(self._fetch(key, purpose, messages, sampling, sample))
            self._take_off(key, flight)
        return await flight.wait()

    async def _fetch(
        self, key: str, purpose: str, messages: tuple[Message, ...], sampling: Sampling, sample: int
    ) -> Call:
        try:
            async with self._limit:  # until the reply is on disk: a kill loses no more than the limit's worth of calls
                if self._stopped is not None:
                    raise halted(self._stopped)
                self.totals.sent += 1
                started = time.perf_counter()
                reply = await self._asked(messages, sampling)
                seconds = time.perf_counter() - started
                self.totals.settle(reply, sent=True)
                call = Call(
                    id=key,
                    teacher=self.teacher.name,
                    purpose=purpose,
                    messages=messages,
                    sampling=sampling,
                    sample=sample,
                    reply=reply,
                    seconds=round(seconds, 6),
                    created=datetime.now(UTC).isoformat(timespec="milliseconds"),
                )
                return await self.ledger.put(call) if _complete(reply) else call
        except TeacherError as error:
            if error.fatal:
                self._stop(error)
            raise
        except Exception as error:
            self._stop(error)
            raise

    async def _asked(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        try:
            reply = await self.teacher.ask(messages, sampling)
        except TeacherError as error:
            if error.fatal:
                raise
            gone = self._breaker.failed(error.retryable, lambda: self.ledger.has(self.teacher.name))
            if gone:
                raise TeacherError(f"{gone}; the last one: {error}", status=error.status, fatal=True) from error
            raise
        self._breaker.worked()
        return _plain(reply)

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


def _complete(reply: Reply) -> bool:
    """Whether the reply ended as replies do. One that broke off is asked for again when the run goes on."""
    return reply.finish != "other"


def _plain(reply: Reply) -> Reply:
    """Return the reply fit for UTF-8: a model may write half a surrogate pair."""
    return msgspec.structs.replace(
        reply, text=plain_text(reply.text), reasoning=plain_text(reply.reasoning), detail=plain_text(reply.detail)
    )


def _repair_turns(answer: Answered[T]) -> tuple[Message, Message]:
    complaint = plain_text(answer.detail)[:_SHOWN]
    words = f"This reply could not be read: {complaint}\nSend it again, whole, in the form that was asked for."
    return Message(role="assistant", content=answer.text), Message(role="user", content=words)


def _after_repair(first: Answered[T], again: Answered[T]) -> Answered[T]:
    """Return the repaired answer; where the repair got no text to parse, the first one, which stays invalid."""
    if again.reason in ("", "invalid"):
        return Answered(
            value=again.value,
            reason=again.reason,
            text=again.text,
            call=again.call,
            repaired=first.call,
            detail=again.detail,
        )
    detail = f"{first.detail}; the repair was {again.reason}: {again.detail}"
    return Answered(reason="invalid", text=first.text, call=first.call, detail=detail)


async def _all(parts: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Wait for all; where one fails, end the others before its error goes on."""
    if len(parts) == 1:
        return [await parts[0]]
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
