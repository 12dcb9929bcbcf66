"""A run's budget: what a call may cost is set aside before it is sent, so that a cap is never passed by surprise."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from lessons.errors import BudgetError, InputError
from lessons.records import Message
from teachers.accounts import Bill
from teachers.base import Reply, Sampling, Usage
from teachers.prices import Prices

Kind = Literal["usd", "tokens", "requests", "hours"]
KINDS: tuple[Kind, ...] = ("usd", "tokens", "requests", "hours")
_FRAME = 16
"""Tokens that a chat template may put around one turn; those that we know need at most 8."""
_MEASURED = 20
"""Replies after which a prompt's tokens are reckoned from its bytes as measured, no longer one for each byte."""
_MARGIN = 1.1
"""On the largest measured ratio."""


@dataclass(frozen=True, kw_only=True)
class Caps:
    """What a run may spend in all, over every time that it is resumed. A cap that is not given does not hold."""

    usd: float | None = None
    """Dollars for the teacher's replies; needs prices."""
    tokens: int | None = None
    """Prompt and completion tokens of the teacher's replies."""
    requests: int | None = None
    """Replies bought from the teacher."""
    hours: float | None = None
    """Hours that the run works, its training included; looked at before each call and each stage."""
    at_cap: Literal["stop", "finish"] = "stop"
    """`stop`: the run stops at once and goes on when the cap is raised; `finish`: no more is asked, the round is
    finished with what is paid for, and the run ends with it."""

    def __post_init__(self) -> None:
        """Refuse a cap that nothing fits under.

        Raises:
            InputError: names the cap.
        """
        for kind in KINDS:
            cap = getattr(self, kind)
            if cap is not None and not (cap > 0 and math.isfinite(cap)):
                raise InputError(f"budget.{kind} must be more than 0, got {cap}")

    @property
    def given(self) -> dict[str, float]:
        """The caps that hold."""
        return {kind: cap for kind in KINDS if (cap := getattr(self, kind)) is not None}


@dataclass(slots=True)
class Amount:
    """Dollars, tokens, replies."""

    usd: float = 0.0
    tokens: int = 0
    requests: int = 0

    def add(self, other: "Amount", sign: int = 1) -> None:
        """Add another amount, or with sign -1 take it away."""
        self.usd += sign * other.usd
        self.tokens += sign * other.tokens
        self.requests += sign * other.requests


class Budget:
    """Keeps what is spent, and what is set aside for calls that are out, under the caps.

    A call sets aside what it costs at most: its prompt's tokens as reckoned from its bytes, and all of its
    max_tokens. Where that does not fit while other calls are out, it waits for them: most cost less than was set aside.
    """

    def __init__(
        self,
        caps: Caps,
        spent: Bill = Bill(),  # noqa: B008 - frozen
        *,
        prices: Prices | None = None,
        hours: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Go on from what the run has spent so far.

        Args:
            caps: what it may spend in all.
            spent: what its ledger says that it paid.
            prices: of the teacher's tokens, for what a call may cost at most.
            hours: that the run has worked before.
            clock: in seconds.

        Raises:
            InputError: dollars are capped, and a price is not known.
        """
        if caps.usd is not None and prices is None:
            raise InputError("budget.usd needs to know what a token costs: give teacher.prices, or cap tokens instead")
        if caps.usd is not None and spent.unpriced:
            raise InputError(
                f"budget.usd: {spent.unpriced} calls that this run paid for have no known price: cap tokens instead"
            )
        self.caps = caps
        self.spent = Amount(spent.usd or 0.0, (spent.tokens.prompt or 0) + (spent.tokens.completion or 0), spent.calls)
        """What is paid for."""
        self._aside = Amount()
        self._prices = prices or Prices(prompt=0, completion=0)
        self._hours, self._clock, self._begun = hours, clock, clock()
        self._measured, self._ratio = 0, 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.over: Kind | Literal[""] = ""
        """Which cap was reached; "" while there is room."""

    @property
    def hours(self) -> float:
        """Hours that the run has worked."""
        return self._hours + (self._clock() - self._begun) / 3600

    async def reserve(self, messages: Sequence[Message], sampling: Sampling, samples: int = 1) -> "Reserved":
        """Set aside what a request may cost at most; `settle` or `release` must follow.

        Raises:
            BudgetError: it does not fit under a cap, and no call that is out could make room for it.
        """
        most = self._most(messages, sampling, samples)
        while True:
            if not self.over:
                over = self._too_much(most)
                if not over:
                    self._aside.add(most)
                    return Reserved(self, most, sum(len(turn["content"].encode()) for turn in messages))
                if not self._aside.requests or over == "hours":
                    self.over = over
            if self.over:
                raise BudgetError(self.reached)
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            await place

    def check(self) -> None:
        """Look whether there is room for anything at all: before a stage that asks nobody.

        Raises:
            BudgetError: a cap was reached.
        """
        if self.caps.hours is not None and self.hours >= self.caps.hours:
            self.over = "hours"
        if self.over:
            raise BudgetError(self.reached)

    def _most(self, messages: Sequence[Message], sampling: Sampling, samples: int) -> Amount:
        if not self.caps.given:
            return Amount(0.0, 0, samples)
        size = sum(len(turn["content"].encode()) for turn in messages)
        ratio = self._ratio * _MARGIN if self._measured >= _MEASURED else 1.0
        prompt = math.ceil(size * min(1.0, ratio)) + _FRAME * (len(messages) + 1)
        completion = sampling.max_tokens * samples
        usd = self._prices.usd(Usage(prompt=prompt, completion=completion)) or 0.0
        return Amount(usd, prompt + completion, samples)

    def _too_much(self, most: Amount) -> Kind | Literal[""]:
        """Return which cap the amount would pass, or ""."""
        caps, spent, aside = self.caps, self.spent, self._aside
        if caps.hours is not None and self.hours >= caps.hours:
            return "hours"
        if caps.requests is not None and spent.requests + aside.requests + most.requests > caps.requests:
            return "requests"
        if caps.tokens is not None and spent.tokens + aside.tokens + most.tokens > caps.tokens:
            return "tokens"
        if caps.usd is not None and spent.usd + aside.usd + most.usd > caps.usd:
            return "usd"
        return ""

    @property
    def reached(self) -> str:
        """Which cap was reached, as one line for people; "" while there is room."""
        if not self.over:
            return ""
        kind = self.over
        cap = getattr(self.caps, kind)
        spent = {
            "usd": f"${self.spent.usd:.4f} of ${cap}",
            "tokens": f"{self.spent.tokens:,} of {cap} tokens",
            "requests": f"{self.spent.requests:,} of {cap} requests",
            "hours": f"{self.hours:.2f} of {cap} hours",
        }[kind]
        room = "" if kind == "hours" else ", and the next request might cost more than what is left"
        return f"the budget is spent: {spent} (budget.{kind}){room}"

    def book(self, aside: Amount, paid: Amount, size: int, prompt: int | None) -> None:
        """Give back what was set aside, add what was paid; `Reserved` calls this, once a request."""
        self._aside.add(aside, -1)
        self.spent.add(paid)
        if prompt is not None and size:
            self._measured += 1
            self._ratio = max(self._ratio, prompt / size)
        waiting, self._waiting = self._waiting, deque[asyncio.Future[None]]()
        for place in waiting:
            if not place.done():
                place.set_result(None)


@dataclass(slots=True)
class Reserved:
    """What was set aside for one request."""

    budget: Budget
    most: Amount
    size: int
    """Bytes of the prompt."""
    open: bool = True

    def settle(self, replies: Sequence[Reply]) -> None:
        """Book what the replies cost; where an endpoint does not tell its tokens, all that was set aside."""
        used = [reply.usage for reply in replies]
        prompt = _sum([one.prompt for one in used])
        completion = _sum([one.completion for one in used])
        usd = _sum([reply.usd for reply in replies])
        if prompt is None or completion is None or not replies:
            self._end(self.most, None)
            return
        cost = self.most.usd if usd is None else usd
        self._end(Amount(cost, int(prompt + completion), len(replies)), int(prompt))

    def release(self) -> None:
        """Book nothing: no reply came. Does nothing after `settle`."""
        if self.open:
            self._end(Amount(), None)

    def _end(self, paid: Amount, prompt: int | None) -> None:
        self.open = False
        self.budget.book(self.most, paid, self.size, prompt)


def _sum(values: Sequence[float | None]) -> float | None:
    return None if not values or None in values else sum(value for value in values if value is not None)
