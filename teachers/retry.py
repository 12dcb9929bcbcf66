"""The one place where a teacher's call is tried again. Clients' own retries are off; nothing above retries either."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception

from lessons.errors import TeacherError

T = TypeVar("T")


def retryable_status(status: int) -> bool:
    """Whether the same request may succeed later: timeout, conflict, rate limit, or the server's own fault."""
    return status in (408, 409, 429) or status >= 500


def retry_after_seconds(headers: Mapping[str, str], now: Callable[[], float] = time.time) -> float | None:
    """Return how many seconds the endpoint asks to wait, at least 0; None where it does not say, or not readably.

    Reads `retry-after-ms` (milliseconds, sent by OpenAI) and `Retry-After` (seconds or an HTTP date, RFC 9110
    section 10.2.3). Header names must be lower case or the mapping must not tell case apart.
    """
    milliseconds, text = headers.get("retry-after-ms"), headers.get("retry-after")
    seconds = None if milliseconds is None else _number(milliseconds)
    if seconds is not None:
        return max(0.0, seconds / 1000)
    if text is None:
        return None
    seconds = _number(text)
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now()
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if number - number == 0 else None  # neither inf nor nan


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When and how often a failed call is tried again. Only a TeacherError that says `retryable` is."""

    attempts: int = 6
    """Tries in all, at least 1; those that the endpoint only put off (429) are not among them."""
    put_off: int = 20
    """Tries that an endpoint may put off (429) before the call is lost: a slow quota is no fault of the call's."""
    first_wait: float = 0.5
    """Seconds: the longest wait before the second try; doubled for each further one."""
    longest_wait: float = 60.0
    """Seconds: no wait of ours is longer."""
    longest_asked: float = 120.0
    """Seconds: a longer wait that an endpoint asks for is cut to this."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform
    """Draws a number between two others."""

    def wait(self, tries: int, asked: float | None) -> float:
        """Return the seconds to wait after this many tries.

        What the endpoint asked for, and up to a tenth more so that its callers do not come back all at once; otherwise
        exponential backoff with full jitter (Brooker 2015, "Exponential Backoff And Jitter").
        """
        if asked is not None:
            held = min(asked, self.longest_asked)
            return held + self.uniform(0.0, held / 10)
        return self.uniform(0.0, min(self.longest_wait, self.first_wait * 2.0 ** (tries - 1)))

    async def run(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` returns, trying it again as the policy says.

        Raises:
            TeacherError: the last one, where every try failed or the first that is not retryable.
        """

        try:  # nearly always this is all: tenacity is for what follows a failure
            return await attempt()
        except TeacherError as error:
            failures = _Failures(self, error)
            if failures.end:
                raise
        await self.sleep(self.wait(1, failures.last.retry_after))

        async def again() -> T:  # tenacity awaits only what is declared async, and a lambda is not
            return await attempt()

        return await AsyncRetrying(
            retry=retry_if_exception(failures.count),  # looked at before wait and stop
            wait=lambda state: self.wait(1 + state.attempt_number, failures.last.retry_after),
            stop=lambda state: failures.end,
            sleep=self.sleep,
            reraise=True,
        )(again)


class _Failures:
    """The failures of one call so far."""

    def __init__(self, policy: RetryPolicy, first: TeacherError) -> None:
        self._policy = policy
        self._faults = self._put_off = 0
        self.last, self.end = first, False
        """`end`: whether the last one was the last that the policy allows."""
        if not self.count(first):
            self.end = True

    def count(self, error: BaseException) -> bool:
        """Count a failure; return whether it is of a kind that is tried again."""
        if not isinstance(error, TeacherError):
            return False
        self.last = error
        if error.status == 429:  # Too Many Requests, RFC 6585
            self._put_off += 1
        else:
            self._faults += 1
        policy = self._policy
        self.end = self._faults >= policy.attempts or self._put_off >= policy.put_off or policy.attempts <= 1
        return error.retryable
