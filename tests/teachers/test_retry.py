from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import TeacherError
from teachers.retry import RetryPolicy, retry_after_seconds, retryable_status


def failing(*errors: TeacherError) -> Callable:
    """An attempt that fails with each error in turn, then returns the number of its tries."""
    left = list(errors)
    tries = 0

    async def attempt() -> int:
        nonlocal tries
        tries += 1
        if left:
            raise left.pop(0)
        return tries

    return attempt


def noting(waits: list[float], **knobs) -> RetryPolicy:
    async def note(seconds: float) -> None:
        waits.append(seconds)

    return RetryPolicy(sleep=note, uniform=lambda low, high: high, **knobs)


FAULT = TeacherError("connection cut", retryable=True)


async def test_waits_double_up_to_the_longest():
    waits: list[float] = []
    policy = noting(waits, attempts=6, first_wait=1, longest_wait=5)
    assert await policy.run(failing(*[FAULT] * 5)) == 6
    assert waits == [1, 2, 4, 5, 5]


async def test_the_jitter_is_full():
    drawn: list[tuple[float, float]] = []
    policy = RetryPolicy(uniform=lambda low, high: drawn.append((low, high)) or 0.0)
    assert policy.wait(3, None) == 0.0
    assert drawn == [(0.0, 2.0)]


async def test_retry_after_is_honoured_and_cut_to_the_longest():
    waits: list[float] = []
    asked = [TeacherError("slow down", status=429, retryable=True, retry_after=s) for s in (7.0, 0.0, 9999.0)]
    await noting(waits, longest_asked=100).run(failing(*asked))
    assert waits == pytest.approx([7.7, 0.0, 110.0])  # and a tenth, so that callers spread


async def test_the_last_error_is_raised_when_all_tries_are_used():
    waits: list[float] = []
    last = TeacherError("the third", retryable=True)
    with pytest.raises(TeacherError) as raised:
        await noting(waits, attempts=3).run(failing(FAULT, FAULT, last, FAULT))
    assert raised.value is last
    assert len(waits) == 2


@pytest.mark.parametrize("error", [TeacherError("bad request", status=400), ValueError("a bug")])
async def test_what_is_not_retryable_is_raised_at_once(error: Exception):
    waits: list[float] = []
    with pytest.raises(type(error)):
        await noting(waits).run(failing(error))
    assert waits == []


def test_which_statuses_are_tried_again():
    assert [s for s in (400, 401, 403, 404, 408, 409, 422, 429, 500, 502, 503, 529) if retryable_status(s)] == [
        408, 409, 429, 500, 502, 503, 529,
    ]  # fmt: skip


NOON = 1_793_880_000.0  # Thu, 05 Nov 2026 12:00:00 GMT


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after": "Thu, 05 Nov 2026 12:01:30 GMT"}, 90.0),
        ({"retry-after": "Thu, 05 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "1"}, 1.0),
    ],
)
def test_retry_after_is_read_in_all_its_forms(headers: dict[str, str], seconds: float | None):
    assert retry_after_seconds(headers, now=lambda: NOON) == seconds


@given(st.text(max_size=40))
def test_any_retry_after_is_none_or_a_number_of_seconds(text: str):
    seconds = retry_after_seconds({"retry-after": text}, now=lambda: NOON)
    assert seconds is None or 0 <= seconds < float("inf")


async def test_being_put_off_is_no_fault_of_the_call():
    waits: list[float] = []
    slow_down = TeacherError("slow down", status=429, retryable=True, retry_after=1.0)
    mixed = [slow_down, FAULT, slow_down, slow_down, FAULT, slow_down]
    assert await noting(waits, attempts=3, put_off=5).run(failing(*mixed)) == 7
    with pytest.raises(TeacherError, match="connection cut"):
        await noting(waits, attempts=3, put_off=5).run(failing(*mixed, FAULT))
    with pytest.raises(TeacherError, match="slow down"):
        await noting(waits, attempts=3, put_off=5).run(failing(*mixed, slow_down))
