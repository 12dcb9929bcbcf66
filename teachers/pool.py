"""Several endpoints or models behind one teacher: the least busy answers, or each problem has a teacher of its own."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Annotated, Literal, TypeVar

from lessons.errors import InputError, TeacherError
from lessons.ids import digest
from lessons.knobs import Nested, operational
from lessons.records import Message
from teachers.base import GatheringTeacher, HoldingTeacher, ManyTeacher, Reply, Sampling, Teacher
from teachers.limits import Limiter
from teachers.openai import OpenAITeacher
from teachers.pool_members import Member, SpentError, Tries, choose, dearest, in_common
from teachers.prices import Prices
from teachers.retry import RetryPolicy
from teachers.secrets import check_no_key

T = TypeVar("T")

__all__ = ["PoolTeacher"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PoolTeacher:
    """Asks one of its members. May be used from one event loop after another, from one at a time."""

    members: Annotated[tuple[Teacher, ...], Nested("teacher")]
    """The teachers, each written as one; at least one. The tries of `kind: openai` members are the pool's own."""
    route: Literal["least_busy", "by_problem"] = "least_busy"
    """`least_busy` asks the member with the fewest requests out, and another one at once where it fails: for one model
    behind several endpoints. `by_problem` gives each problem a member of its own, always the same: for several
    teachers that each write a share; there no other member steps in."""
    label: str = ""
    """What the ledger files replies under; "" is made from the members. Needed where `least_busy` members differ in
    their model, because one name must mean one source of replies."""
    attempts: int = operational(6)
    """Tries in all for one call, over all members, at least 1; see `teachers.retry` for which failures are tried again,
    and when."""
    cool_down: float = operational(10.0)
    """Seconds for which a member that failed by a fault is passed over while others are there; longer where its
    endpoint asks for it (Retry-After). After that one single request tells whether it is back."""

    def __post_init__(self) -> None:
        """Refuse what cannot work.

        Raises:
            InputError: a knob's value cannot be used, or the replies of different models would be filed as one's.
        """
        if not self.members:
            raise InputError("teacher.members must hold at least one teacher")
        if self.attempts < 1 or not 0 <= self.cool_down < float("inf"):
            raise InputError("teacher.attempts must be at least 1, and teacher.cool_down at least 0 seconds")
        check_no_key("label", self.label)
        if any(isinstance(member, GatheringTeacher) for member in self.members):
            raise InputError("teacher.members must not hold a teacher that gathers its calls, such as kind: batch")
        if self.route == "least_busy" and not self.label and in_common(self.members) is None:
            raise InputError(
                "teacher.label must be given: members behind least_busy are not known to be one model under one "
                "extra_body, and the ledger files replies of all under one name; or set teacher.route to by_problem"
            )

    @property
    def name(self) -> str:
        """The label; or "pool:" and the members' one model; or, by problem, "pool(...)" with each member's name."""
        if self.label:
            return self.label
        if self.route == "by_problem":
            return f"pool({', '.join(member.name for member in self.members)})"
        return f"pool:{in_common(self.members)}"

    @property
    def policy(self) -> RetryPolicy:
        """When a call that failed at every member that could be asked is tried again."""
        return RetryPolicy(attempts=self.attempts)

    @property
    def clock(self) -> Callable[[], float]:
        """Tells seconds, for `cool_down`."""
        return time.monotonic

    @property
    def prices(self) -> Prices | None:
        """The dearest of the members', kind by kind, for a budget that sets aside before it is known who answers; None
        where one of them is unknown. What a reply did cost is told by the member that gave it."""
        return dearest([getattr(member, "prices", None) for member in self.members])

    @property
    def limiters(self) -> tuple[Limiter, ...]:
        """The limiters of all members, for whoever shows how wide they are."""
        return tuple(limiter for member in self._states for limiter in getattr(member.teacher, "limiters", ()))

    @property
    def outstanding(self) -> tuple[int, ...]:  # [member]
        """Requests that are with each member now."""
        return tuple(member.outstanding for member in self._states)

    @property
    def out(self) -> dict[int, str]:
        """Members that are out for good, by their index, and why."""
        return {index: member.out for index, member in enumerate(self._states) if member.out}

    def member_of(self, messages: Sequence[Message]) -> Teacher:
        """Return the member whose problem this is: a stable hash of the first user message decides.

        The first one, because a repair turn only adds messages after it, and belongs to whoever wrote the reply.
        """
        return self.members[self._index_of(messages)]

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        """Answer one chat.

        Raises:
            TeacherError: no member that may answer it did, after all tries; fatal where every member is out for good,
                and then it names each with its reason.
        """
        return await self._call(messages, lambda teacher: teacher.ask(messages, sampling))

    async def offers_many(self) -> bool:
        """Whether every member that can be asked about it draws several samples in one request."""
        told = [await _offers(member.teacher) for member in self._states if not member.out]
        return True in told and False not in told

    async def ask_many(self, messages: Sequence[Message], samplings: Sequence[Sampling]) -> list[Reply]:
        """Answer one chat once for each sampling, all at the same member: in one request where it can, else in turn.

        Returns fewer replies where the member gave fewer, or failed after some.

        Raises:
            TeacherError: as `ask`; no reply at all came.
        """
        return await self._call(messages, lambda teacher: _many(teacher, messages, samplings))

    @property
    def placement(self) -> Literal["remote", "separate", "shared"]:
        """`shared` where any member needs the student's memory."""
        return "shared" if any(one.placement == "shared" for one in self.holding()) else "separate"

    def close(self) -> None:
        """Let every member give back the weights and servers that it holds. May be called twice."""
        for member in self.holding():
            member.close()

    def holding(self) -> list[HoldingTeacher]:
        """Return the members that hold memory or processes of this machine."""
        own = [member.teacher for member in self._states]
        return [one for one in own if isinstance(one, HoldingTeacher)]

    async def aclose(self) -> None:
        """Close every member. May be called twice."""
        own = [member.teacher for member in self._states]
        both = [*own, *(given for given in self.members if all(given is not one for one in own))]
        ended = await asyncio.gather(*(teacher.aclose() for teacher in both), return_exceptions=True)
        for outcome in ended:  # one that cannot be closed must not keep the others open
            if isinstance(outcome, BaseException):
                raise outcome

    async def _call(self, messages: Sequence[Message], send: Callable[[Teacher], Awaitable[T]]) -> T:
        members = self._states if self.route == "least_busy" else [self._states[self._index_of(messages)]]
        tries = Tries(self.attempts)
        try:
            return await self.policy.run(lambda: self._round(members, tries, send))
        except SpentError as spent:
            error = spent.last
        raise error

    async def _round(self, members: Sequence[Member], tries: Tries, send: Callable[[Teacher], Awaitable[T]]) -> T:
        """Ask one member after another until one answers, each once; the round fails where every one of them does."""
        asked: list[Member] = []
        faults: list[TeacherError] = []
        turn = next(self._turns)
        while (member := choose(members, asked, self.clock(), turn)) is not None:
            asked.append(member)
            try:
                return await member.ask(send, self.clock, self.cool_down)
            except TeacherError as error:
                if error.fatal:  # it says more of the member than of the call, which goes on to the next
                    continue
                if not error.retryable:
                    raise
                tries.failed(error)
                faults.append(error)
        if not faults:
            raise self._nobody(members)
        raise min(faults, key=lambda fault: fault.retry_after or 0.0)  # the next round waits for the first to be back

    def _nobody(self, members: Sequence[Member]) -> TeacherError:
        """Return the error of a call that nobody may answer; fatal where that holds for every call."""
        fatal = all(member.out for member in self._states)
        listed = "; ".join(f"{member.label}: {member.out}" for member in (self._states if fatal else members))
        return TeacherError(f"{'every member' if fatal else 'the member'} of the pool is out: {listed}", fatal=fatal)

    def _index_of(self, messages: Sequence[Message]) -> int:
        asked = next((turn["content"] for turn in messages if turn["role"] == "user"), "")
        return int(digest(["member", asked])[:16], 16) % len(self.members)

    @cached_property
    def _states(self) -> list[Member]:
        return [
            # A call is tried again in one place. An endpoint's own teacher would go on alone where others are free.
            Member(
                replace(member, attempts=1) if isinstance(member, OpenAITeacher) else member, f"{index} ({member.name})"
            )
            for index, member in enumerate(self.members)
        ]

    @cached_property
    def _turns(self) -> "count[int]":
        return count()


async def _offers(teacher: Teacher) -> bool | None:
    """Whether this member can; None where it does not answer: calls will find out, and know what to do about it."""
    try:
        return isinstance(teacher, ManyTeacher) and await teacher.offers_many()
    except TeacherError:
        return None


async def _many(teacher: Teacher, messages: Sequence[Message], samplings: Sequence[Sampling]) -> list[Reply]:
    if isinstance(teacher, ManyTeacher) and await teacher.offers_many():
        return await teacher.ask_many(messages, samplings)
    replies: list[Reply] = []
    for sampling in samplings:
        try:
            replies.append(await teacher.ask(messages, sampling))
        except TeacherError:
            if not replies:
                raise
            break  # what was replied is not thrown away; the rest is asked for again
    return replies
