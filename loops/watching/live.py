"""What is shown while a teacher is asked: rates, what is spent of the caps, time left, errors, the limiter's width."""

import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from loops.views.text import dollars, duration
from teachers.budget import Budget
from teachers.limits import Limiter
from teachers.totals import CallTotals

WINDOW = 10.0
"""Seconds over which rates are taken: long enough to be steady, short enough to show a stall."""


class _Moment(NamedTuple):
    at: float
    calls: int
    tokens: int
    done: int


@dataclass(kw_only=True)
class Live:
    """The line of one stage's calls."""

    budget: Budget
    limiters: Callable[[], Sequence[Limiter]] = tuple
    clock: Callable[[], float] = time.monotonic
    _seen: deque[_Moment] = field(default_factory=deque[_Moment])

    def line(self, totals: CallTotals) -> str:
        """Return the line for where the totals stand now."""
        now = self._noted(totals)
        parts = [f"{_rate(now.calls)} requests/s", f"{now.tokens:,.0f} tokens/s"]
        parts += self._spent()
        left = totals.asked - self._done(totals)
        if left and now.done:
            parts.append(f"{duration(left / now.done)} left")
        if totals.errors or totals.lost:
            counted = [f"{kind} {count:,}" for kind, count in (totals.errors + totals.lost).most_common(4)]
            parts.append("lost " + ", ".join(counted))
        parts += [_width(limiter) for limiter in self.limiters()]
        return "   ".join(parts)

    def _noted(self, totals: CallTotals) -> "_Rates":
        seen, now = self._seen, self.clock()
        told = totals.tokens["prompt"] + totals.tokens["completion"]
        moment = _Moment(now, totals.sent, told, self._done(totals))
        if not seen or now > seen[-1].at:
            seen.append(moment)
        while len(seen) > 2 and seen[1].at <= now - WINDOW:  # one older than the window stays, to begin it
            seen.popleft()
        first, seconds = seen[0], max(moment.at - seen[0].at, 1e-3)
        if len(seen) == 1:
            return _Rates(0.0, 0.0, 0.0)
        return _Rates(
            (moment.calls - first.calls) / seconds,
            (moment.tokens - first.tokens) / seconds,
            (moment.done - first.done) / seconds,
        )

    def _spent(self) -> list[str]:
        caps, spent = self.budget.caps, self.budget.spent
        parts: list[str] = []
        if caps.usd is not None:
            parts.append(f"{dollars(spent.usd)} of {dollars(caps.usd)}")
        elif spent.usd:
            parts.append(dollars(spent.usd))
        if caps.tokens is not None:
            parts.append(f"{spent.tokens:,} of {caps.tokens:,} tokens")
        if caps.requests is not None:
            parts.append(f"{spent.requests:,} of {caps.requests:,} requests")
        if caps.hours is not None:
            parts.append(f"{self.budget.hours:.1f} of {caps.hours:g} h")
        return parts

    @staticmethod
    def _done(totals: CallTotals) -> int:
        return totals.parsed + totals.lost.total()


class _Rates(NamedTuple):
    calls: float
    tokens: float
    done: float


def _rate(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _width(limiter: Limiter) -> str:
    cooling = limiter.cooling
    width = (
        "" if limiter.width == math.inf else f"width {int(limiter.width)}, pushed back {limiter.pushed_back:,} times"
    )
    pause = f"waits {cooling:.0f} s as the endpoint asks" if cooling >= 1 else ""
    return "   ".join(part for part in (width, pause) if part)
