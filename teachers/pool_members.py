"""The members of a pool: how busy each is, whether it is passed over for now, or out for good."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from lessons.errors import TeacherError
from lessons.ids import content_id
from teachers.base import Teacher
from teachers.openai import OpenAITeacher
from teachers.prices import Prices

T = TypeVar("T")


class SpentError(TeacherError):
    """A call's tries are used up. Never leaves the pool: its `last` does."""

    def __init__(self, last: TeacherError) -> None:
        super().__init__(str(last))
        self.last = last


@dataclass(slots=True)
class Tries:
    """The tries that one call has left, over all members."""

    left: int

    def failed(self, error: TeacherError) -> None:
        """Count a failed one.

        Raises:
            SpentError: it was the last.
        """
        self.left -= 1
        if self.left <= 0:
            raise SpentError(error)


@dataclass(slots=True, eq=False)
class Member:
    """One teacher of a pool and what is known of it."""

    teacher: Teacher
    label: str
    """How messages name it: its place and its name, of which several may have the same."""
    outstanding: int = 0
    """Requests that are with it now."""
    cool_until: float = float("-inf")
    """By the pool's clock."""
    suspect: bool = False
    """Whether its last answer was a fault: one request at a time, until one is answered."""
    out: str = ""
    """Why it is out for good; "" while it is not."""

    async def ask(self, send: Callable[[Teacher], Awaitable[T]], clock: Callable[[], float], cool_down: float) -> T:
        """Send one request, and note what it says of the member.

        Raises:
            TeacherError: the member's own.
        """
        self.outstanding += 1
        try:
            answer = await send(self.teacher)
        except TeacherError as error:
            if error.fatal:
                self.out = self.out or str(error)
            elif error.retryable:
                self.suspect = True
                self.cool_until = max(self.cool_until, clock() + max(cool_down, error.retry_after or 0.0))
            else:
                self.suspect = False  # it refused this one call, and so it is there
            raise
        finally:
            self.outstanding -= 1
        self.suspect = False
        return answer

    def ready(self, now: float) -> bool:
        """Whether it may be asked without need: not cooling down, and not being tested by another request."""
        return not self.out and now >= self.cool_until and not (self.suspect and self.outstanding)


def choose(members: Sequence[Member], asked: Sequence[Member], now: float, turn: int) -> Member | None:
    """Return the least busy member that was not asked yet; ties go round with `turn`.

    Where none is ready: a new call goes to the one that is ready soonest; for one that has just failed somewhere,
    None, so that it waits as the retry policy says. None also where all are out.
    """
    count = len(members)
    order = {id(member): (index - turn) % count for index, member in enumerate(members)}
    left = [member for member in members if not member.out and all(member is not one for one in asked)]
    ready = [member for member in left if member.ready(now)]
    if ready:
        return min(ready, key=lambda member: (member.outstanding, order[id(member)]))
    if asked and any(not member.out for member in asked):
        return None
    return min(left, key=lambda member: (member.cool_until, order[id(member)]), default=None)


def in_common(members: Sequence[Teacher]) -> str | None:
    """Return what the members have in common that decides their replies; None where that is not known."""
    models: set[str] = set()
    for member in members:
        if isinstance(member, OpenAITeacher):
            extra = f" #{content_id('extra_body', members=dict(member.extra_body))}" if member.extra_body else ""
            models.add(f"{member.model}{extra}")
        else:
            models.add(member.name)
    return models.pop() if len(models) == 1 else None


def dearest(prices: Sequence[Prices | None]) -> Prices | None:
    """Return prices that are, for each kind of token, the highest of these; None where one is not known."""
    known = [one for one in prices if one is not None]
    if len(known) < len(prices):
        return None

    def cached(one: Prices) -> float:
        return one.prompt if one.cached_prompt is None else one.cached_prompt

    def thought(one: Prices) -> float:
        return one.completion if one.reasoning is None else one.reasoning

    return Prices(
        prompt=max(one.prompt for one in known),
        completion=max(one.completion for one in known),
        cached_prompt=max(map(cached, known)),
        reasoning=max(map(thought, known)),
        as_of=min(one.as_of for one in known),
    )
