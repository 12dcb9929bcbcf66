"""The method's port: one paper, one class. Its fields are the paper's knobs, `teach` is its algorithm box."""

from asyncio import gather
from collections.abc import Awaitable, Iterable
from typing import ClassVar, Protocol, TypeVar

from lessons.records import Lesson
from loops.round import Round

T = TypeVar("T")


class Method(Protocol):
    """What the teacher writes in a round."""

    paper: ClassVar[str]
    """Where the algorithm is from, for the index: an arXiv number, or a word on its origin."""

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Return the round's candidates; what the method itself drops goes through `round.keep`."""
        ...


async def together(calls: Iterable[Awaitable[T]]) -> list[T]:
    """Wait for all; the results have the order of the calls, whatever comes back first."""
    return list(await gather(*calls))
