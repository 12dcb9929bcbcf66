import asyncio
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teachers.limits import LONGEST_COOL_DOWN, Limiter, limiter_of
from teachers.rate_headers import quota_wait, reset_seconds


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def limiter(clock: Clock, most: float = math.inf) -> Limiter:
    return Limiter(most, clock=clock, sleep=clock.sleep)


async def test_never_more_are_out_than_the_width_and_all_get_their_turn(clock):
    limit, most_out, served = limiter(clock, 7), 0, []

    async def one(number: int) -> None:
        nonlocal most_out
        await limit.enter()
        most_out = max(most_out, limit.out)
        await asyncio.sleep(0)
        served.append(number)
        limit.leave()

    await asyncio.gather(*(one(number) for number in range(50)))
    assert most_out == 7
    assert served == list(range(50))  # first come, first served
    assert limit.out == 0


async def test_a_push_back_halves_once_for_all_that_were_out_and_growth_is_one_a_width(clock):
    limit = limiter(clock, 16)
    eras = [await limit.enter() for _ in range(16)]
    for era in eras:
        limit.too_much(era, None, {})
    assert limit.width == 8
    assert limit.pushed_back == 16
    for _ in eras:
        limit.leave()
    limit.too_much(await limit.enter(), None, {})  # of the new era, and alone: 1 was out
    assert limit.width == 1
    limit.leave()
    before = limit.width = 4.0
    for _ in range(4):
        limit.answered({})
    assert before + 0.9 < limit.width <= before + 1
    for _ in range(1000):
        limit.answered({})
    assert limit.width == 16


async def test_an_unbounded_limiter_halves_what_was_out(clock):
    limit = limiter(clock)
    eras = [await limit.enter() for _ in range(40)]
    limit.too_much(eras[0], 3.0, {})
    assert limit.width == 20


async def test_all_callers_share_the_cool_down_that_one_was_asked_for(clock):
    limit = limiter(clock, 4)
    limit.too_much(await limit.enter(), 30.0, {})
    limit.leave()
    begun = clock.now

    async def one() -> float:
        await limit.enter()
        at = clock.now
        limit.leave()
        return at

    assert all(at >= begun + 30 for at in await asyncio.gather(*(one() for _ in range(5))))
    assert limit.cooling == 0


async def test_a_wait_without_end_is_cut(clock):
    limit = limiter(clock)
    limit.too_much(await limit.enter(), 1e9, {})
    assert limit.cooling == LONGEST_COOL_DOWN


async def test_a_used_up_quota_stops_everybody_until_it_is_filled(clock):
    limit = limiter(clock)
    limit.answered({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m0.5s"})
    assert limit.cooling == pytest.approx(60.5)
    limit.answered({"x-ratelimit-remaining-requests": "12", "x-ratelimit-reset-requests": "9m"})
    assert limit.cooling == pytest.approx(60.5)


async def test_cancelled_callers_keep_no_place(clock):
    limit, rng = limiter(clock, 3), random.Random(0)

    async def one() -> None:
        await limit.enter()
        try:
            await asyncio.sleep(0)
        finally:
            limit.leave()

    tasks = [asyncio.create_task(one()) for _ in range(200)]
    for task in rng.sample(tasks, 100):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert limit.out == 0
    await asyncio.wait_for(asyncio.gather(*(one() for _ in range(10))), 5)


async def test_a_caller_that_is_cancelled_while_cooling_gives_its_place_back():
    limit = Limiter(1)
    limit.too_much(await limit.enter(), 60.0, {})
    limit.leave()
    task = asyncio.create_task(limit.enter())
    await asyncio.sleep(0)
    assert limit.out == 1
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert limit.out == 0


def test_width_outlives_an_event_loop_and_places_do_not(clock):
    limit = limiter(clock, 8)

    async def abandon() -> None:
        limit.too_much(await limit.enter(), None, {})  # never left: the loop ends first

    async def go_on() -> tuple[int, float]:
        await limit.enter()
        return limit.out, limit.width

    asyncio.run(abandon())
    assert asyncio.run(go_on()) == (1, 1.0)


def test_endpoint_and_key_make_one_limiter():
    mine = limiter_of("http://127.0.0.1:1/v1", "secret-1")
    assert limiter_of("http://127.0.0.1:1/v1", "secret-1") is mine
    assert limiter_of("http://127.0.0.1:1/v1", "secret-2") is not mine
    assert limiter_of("http://127.0.0.1:2/v1", "secret-1") is not mine


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1), ("6m0s", 360), ("20ms", 0.02), ("1h2m3.5s", 3723.5), ("2d", 172800), ("17", 17), ("0.5", 0.5),
        ("-3", 0), ("", 0), ("soon", 0), ("nan", 0), ("1e999", 0), ("6m 0s", 0), ("2026-11-21T12:00:30Z", 30),
        ("2026-11-21T13:00:30+01:00", 30), ("2026-11-21T11:00:00Z", 0), ("2026-11-21T12:00:30", 0),
    ],
)  # fmt: skip
def test_resets_are_read_as_their_endpoints_write_them(text, seconds):
    noon = 1795262400.0  # 2026-11-21T12:00:00Z
    assert reset_seconds(text, lambda: noon) == pytest.approx(seconds)


def test_only_a_quota_that_is_used_up_is_waited_for():
    both = {
        "x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "1h",
        "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "250ms",
    }  # fmt: skip
    assert quota_wait(both) == 0.25
    assert quota_wait({"retry-after": "3"}) == 0
    assert quota_wait({"anthropic-ratelimit-requests-remaining": "0"}) == 0


@given(st.text(max_size=80))
def test_any_reset_is_a_number_of_seconds(text):
    assert 0 <= reset_seconds(text, lambda: 0.0) < math.inf
