"""Many calls at once, their results in order, without a hundred thousand of them lying in memory."""

import asyncio
import itertools
from collections.abc import Awaitable, Iterable
from typing import TypeVar

T = TypeVar("T")

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
