"""The method's port: one paper, one class. Its fields are the paper's knobs, `teach` is its algorithm box."""

import asyncio
import itertools
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


WINDOW = 4096
"""Calls that are begun and not ended, at most: far above any limit of an endpoint, and a bound on memory."""


async def together(calls: Iterable[Awaitable[T]], window: int = WINDOW) -> list[T]:
    """Wait for all; the results have the order of the calls, whatever comes back first.

    `calls` is gone through as it is needed, in order, by one taker at a time: give a generator, and a hundred thousand
    calls do not lie in memory at once. Where one fails, the others are ended before its error goes on.
    """
    numbered = enumerate(calls)
    results: dict[int, T] = {}

    async def take() -> None:
        for place, call in numbered:
            results[place] = await call

    async def first(place: int, call: Awaitable[T]) -> None:
        results[place] = await call
        await take()

    takers = [asyncio.ensure_future(first(place, call)) for place, call in itertools.islice(numbered, window)]
    try:
        await asyncio.gather(*takers)
    except BaseException:
        for taker in takers:
            taker.cancel()
        await asyncio.gather(*takers, return_exceptions=True)
        raise
    return [results[place] for place in range(len(results))]
