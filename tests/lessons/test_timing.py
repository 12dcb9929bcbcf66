"""Where wall time goes: every moment once, waiting for the teacher only while nothing else is done."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from lessons.timing import Times, Waited, counted, counts_as, inside, run, run_beside


class Clock:
    """Goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_within_is_taken_from_what_it_is_in() -> None:
    clock = Clock()
    times = Times(clock)
    clock.now = 1.0  # the loop's own
    times.enter("learn")
    clock.now = 3.0
    times.enter("load")
    clock.now = 10.0
    times.leave()
    clock.now = 11.5
    times.leave()
    clock.now = 20.0
    assert times.seconds == {"learn": 3.5, "load": 7.0}


def test_another_thread_does_not_count() -> None:
    clock = Clock()
    times = Times(clock)

    def beside() -> None:
        times.enter("score")
        clock.now += 5.0
        times.leave()

    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
    assert times.seconds == {}
    thread = threading.Thread(target=lambda: times.here(beside))
    thread.start()
    thread.join()
    assert times.seconds == {"score": 5.0}


def test_nothing_is_counted_where_nothing_counts() -> None:
    @counts_as("answer")
    def answer(text: str, *, twice: bool = False) -> str:
        return text * (1 + twice)

    assert answer("a", twice=True) == "aa"
    assert run(waited(0.0)) == "reply"
    with inside("load"):
        pass


def test_a_function_is_counted_each_time_and_when_it_fails() -> None:
    @counts_as("answer")
    def answer(seconds: float) -> None:
        time.sleep(seconds)
        raise ValueError

    with counted() as times:
        for _ in range(2):
            with pytest.raises(ValueError):
                answer(0.02)
    assert 0.04 <= times.seconds["answer"] < 1


async def reply(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "reply"


async def waited(seconds: float) -> str:
    return await Waited(reply(seconds))


def test_waiting_is_the_teachers_and_what_is_done_meanwhile_is_not() -> None:
    async def both() -> None:
        call = asyncio.create_task(waited(0.2))
        await asyncio.sleep(0)
        time.sleep(0.1)  # our own work while the call is out
        await call
        await asyncio.sleep(0.1)  # nobody is asked

    with counted() as times:
        began = time.perf_counter()
        run(both())
        took = time.perf_counter() - began
    assert 0.05 < times.seconds["teacher"] < took - 0.19


def test_calls_at_once_count_once() -> None:
    async def many() -> None:
        await asyncio.gather(*(waited(0.1) for _ in range(50)))

    with counted() as times:
        began = time.perf_counter()
        run(many())
        took = time.perf_counter() - began
    assert 0.09 < times.seconds["teacher"] <= took


def test_what_the_teachers_own_code_computes_is_its() -> None:
    async def ask() -> str:
        time.sleep(0.05)  # a teacher that is a program
        await asyncio.sleep(0)
        return "reply"

    async def asked() -> str:
        return await Waited(ask())

    with counted() as times:
        assert run(asked()) == "reply"
    assert 0.05 <= times.seconds["teacher"] < 1


def test_a_call_may_fail_and_be_cancelled() -> None:
    seen: list[str] = []

    async def fails() -> str:
        await asyncio.sleep(0)
        raise ConnectionError

    async def long() -> str:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return "reply"

    async def held() -> str:
        try:
            return await Waited(long())
        finally:
            seen.append("out")

    async def main() -> None:
        with pytest.raises(ConnectionError):
            await Waited(fails())
        task = asyncio.create_task(held())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with counted() as times:
        run(main())
    assert seen == ["cancelled", "out"]
    assert times.out == 0
    assert times.seconds["teacher"] < 10


def test_on_a_thread_that_is_waited_for_it_counts_as_here() -> None:
    with counted() as times:
        do = run_beside(waited(0.05))
        thread = threading.Thread(target=do)
        thread.start()
        thread.join()
    assert 0.04 < times.seconds["teacher"] < 10


def test_a_generator_that_is_closed_closes_the_call() -> None:
    closed: list[bool] = []

    async def call() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            closed.append(True)
        return ""

    with counted() as times:

        async def begin() -> None:
            steps: Iterator[object] = Waited(call()).__await__()
            next(steps)
            steps.close()  # type: ignore[attr-defined]

        run(begin())
    assert closed == [True]
    assert times.out == 0
