"""The path of a teacher call, the only one: ledger, limit, teacher, ledger, classify, parse, repair turn, totals."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from lessons.errors import BudgetError, ParseError, TeacherError
from lessons.ids import seed_of
from lessons.jsonl import plain_text
from lessons.records import Message
from teachers.base import Door, Sampling, Teacher, open_door
from teachers.budget import Budget, Caps
from teachers.fetching import Fetcher, Request, complete
from teachers.ledger import Ledger
from teachers.prompts.base import Prompt
from teachers.totals import Answered, CallTotals, classify

T = TypeVar("T")

_SHOWN = 300
"""Characters of a parser's complaint that the teacher is shown."""


class Asker(Protocol):
    """Whatever can be asked as a `Caller` is."""

    @property
    def totals(self) -> CallTotals:
        """Counts that grow."""
        ...

    async def ask(
        self, prompt: Prompt[T], fields: Mapping[str, object], *, n: int = 1, sampling: Sampling | None = None
    ) -> list[Answered[T]]:  # [sample]
        """As `Caller.ask`."""
        ...


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
        budget: Budget | None = None,
        on_change: Callable[[CallTotals], None] | None = None,
        totals: CallTotals | None = None,
        door: Door = open_door,
    ) -> None:
        """Make the path to a teacher.

        Args:
            teacher: who is asked.
            ledger: where its replies are kept.
            in_flight: calls at most that are with the teacher, or on their way to the disk, at once.
            seed: the run's; another seed draws other samples.
            repair: whether a reply that cannot be parsed is given back once, with what was wrong.
            give_up_after: failed calls in a row after which the teacher is taken for gone.
            budget: what may be spent; None: as much as it takes.
            on_change: called with the totals, which go on growing, whenever they change.
            totals: counts that another path has begun, to be gone on with; None: this path's own.
            door: what every call that goes out goes through.
        """
        self.teacher = teacher
        self.ledger = ledger
        self.seed = seed
        self.repair = repair
        self.totals = CallTotals() if totals is None else totals
        self.versions: dict[str, set[str]] = {}
        """Prompt's name -> the versions of its wording that were asked."""
        self.budget = budget or Budget(Caps())
        self._on_change = on_change
        self._limits = (in_flight, give_up_after)
        self._door = door
        self._fetcher = Fetcher(
            teacher, ledger, self.budget, self.totals, in_flight=in_flight, give_up_after=give_up_after, door=door
        )

    async def ask(
        self, prompt: Prompt[T], fields: Mapping[str, object], *, n: int = 1, sampling: Sampling | None = None
    ) -> list[Answered[T]]:  # [sample]
        """Ask for `n` samples; return what became of each, in order of their index.

        Each sample has a seed of its own, drawn from `sampling.seed` where it is given and else from the caller's.

        Raises:
            InputError: the prompt lacks a field, or the ledger cannot be used.
            TeacherError: fatal: no call of this run can succeed. What was already replied is in the ledger.
        """
        self.versions.setdefault(prompt.name, set()).add(prompt.version)
        chat = prompt.messages(fields)
        messages = tuple(Message(role=turn["role"], content=plain_text(turn["content"])) for turn in chat)
        drawn = sampling or prompt.sampling
        if prompt.json_schema is not None and drawn.json_schema is None:
            drawn = msgspec.structs.replace(drawn, json_schema=prompt.json_schema)
        seed = self.seed if drawn.seed is None else drawn.seed
        wanted = [
            self._fetcher.request(
                prompt.name, messages, msgspec.structs.replace(drawn, seed=seed_of(seed, sample)), sample
            )
            for sample in range(n)
        ]
        self.totals.asked += n
        if n > 1:
            await self._fetcher.begin_together(wanted)
        return await _all([self._sample(prompt, one) for one in wanted])

    def to(self, teacher: Teacher) -> "Caller":
        """Return the path to another teacher, on the same ledger and budget; its calls are counted with this one's."""
        in_flight, give_up_after = self._limits
        made = Caller(
            teacher, self.ledger, in_flight=in_flight, seed=self.seed, repair=self.repair,
            give_up_after=give_up_after, budget=self.budget, on_change=self._on_change, totals=self.totals,
            door=self._door,
        )  # fmt: skip
        made.versions = self.versions
        made._fetcher.runway = self._fetcher.runway
        return made

    async def land(self, seconds: float) -> None:
        """Send nothing more, and wait up to so many seconds until what is out has come back and is on disk."""
        await self._fetcher.runway.close(seconds)

    async def _sample(self, prompt: Prompt[T], wanted: Request) -> Answered[T]:
        answer = await self._answer(prompt, wanted)
        if answer.reason == "invalid" and self.repair:
            asked_again = (*wanted.messages, *_repair_turns(answer))
            again = self._fetcher.request(f"{prompt.name}/repair", asked_again, wanted.sampling, wanted.sample)
            answer = _after_repair(answer, await self._answer(prompt, again))
        self.totals.count(answer)
        if self._on_change is not None:
            self._on_change(self.totals)
        return answer

    async def _answer(self, prompt: Prompt[T], wanted: Request) -> Answered[T]:
        try:
            call = await self._fetcher.call(wanted)
        except BudgetError as error:
            return Answered(reason="budget", detail=str(error))
        except TeacherError as error:
            if error.fatal:
                raise
            return Answered(reason="failed", detail=str(error))
        reply = call.reply
        kept = call.id if complete(reply, wanted.sampling) else None
        reason = classify(reply, wanted.sampling.max_tokens)
        if reason:
            return Answered(reason=reason, text=reply.text, call=kept, detail=reply.detail)
        try:
            return Answered(value=prompt.parse(reply.text), text=reply.text, call=kept)
        except ParseError as error:
            return Answered(reason="invalid", text=reply.text, call=kept, detail=str(error))


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
