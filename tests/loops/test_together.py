import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loops.methods.base import together


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 8))
def test_results_have_the_order_of_the_calls_and_no_more_are_begun_than_the_window(waits, window):
    under_way = most = 0

    async def one(place: int, turns: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(turns):
            await asyncio.sleep(0)
        under_way -= 1
        return place

    async def main() -> list[int]:
        return await together((one(place, turns) for place, turns in enumerate(waits)), window)

    assert asyncio.run(main()) == list(range(len(waits)))
    assert most <= window


async def test_calls_are_made_when_there_is_room_for_them():
    made: list[int] = []
    gate = asyncio.Event()

    async def one(place: int) -> int:
        await gate.wait()
        return place

    def calls():
        for place in range(100):
            made.append(place)
            yield one(place)

    waiting = asyncio.create_task(together(calls(), 10))
    await asyncio.sleep(0)
    assert made == list(range(10))
    gate.set()
    assert await waiting == list(range(100))


async def test_where_one_fails_the_others_are_ended_first():
    ended: list[str] = []

    async def failing() -> None:
        await asyncio.sleep(0)
        raise ValueError("no")

    async def long() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("long")

    with pytest.raises(ValueError, match="no"):
        await together([long(), failing(), long()])
    assert ended == ["long", "long"]
