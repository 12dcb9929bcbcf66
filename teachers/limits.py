"""How many requests an endpoint gets at once: a width that adapts, and a cool-down that all its callers share."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from weakref import WeakKeyDictionary, WeakValueDictionary

from teachers.rate_headers import quota_wait

TOO_MUCH = (429, 503, 529)
"""Statuses by which an endpoint says that it gets too much: rate limit, unavailable, and Anthropic's overloaded."""
LONGEST_COOL_DOWN = 120.0
"""Seconds: a longer wait that an endpoint asks for is cut to this, and asked about again. Our own bound."""
_SHORTEST_COOL_DOWN = 0.05
"""Seconds: after a push-back that names no wait, so that not all callers come back in the same instant."""


@dataclass(slots=True)
class _Places:
    """Who is out, and who waits, on one event loop."""

    out: int = 0
    waiting: "deque[asyncio.Future[None]]" = field(default_factory=lambda: deque[asyncio.Future[None]]())


class Limiter:
    """The width of one endpoint and key: additive growth, multiplicative decrease (AIMD, Chiu and Jain 1989).

    A push-back (429, 503, 529) halves the width, once for all requests that were out when it came, and starts a
    cool-down; each answer adds 1 / width, so a full width of answers adds one. Width and cool-down outlive an event
    loop; places are counted on each loop for itself.
    """

    def __init__(
        self,
        most: float = math.inf,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Start as wide as `most`: what the caller wants is right until the endpoint says otherwise."""
        self.most = most
        self.width = float(most)
        """Requests that may be out at once, at least 1."""
        self.pushed_back = 0
        """How often the endpoint said that it was too much."""
        self._clock, self._sleep = clock, sleep
        self._cool_until = 0.0
        self._era = 0
        self._places: WeakKeyDictionary[asyncio.AbstractEventLoop, _Places] = WeakKeyDictionary()

    @property
    def out(self) -> int:
        """Requests of the running event loop that are out now."""
        return self._here().out

    @property
    def cooling(self) -> float:
        """Seconds for which nothing more is sent, at least 0."""
        return max(0.0, self._cool_until - self._clock())

    async def enter(self) -> int:
        """Wait for a place and for the cool-down's end; return the era, for `too_much`. `leave` must follow."""
        here = self._here()
        if not here.waiting and here.out < self._whole_width():
            here.out += 1
        else:
            place = asyncio.get_running_loop().create_future()
            here.waiting.append(place)
            try:
                await place  # whoever wakes it has counted it as out
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self.leave()
                raise
        try:
            while (seconds := self._cool_until - self._clock()) > 0:
                await self._sleep(seconds)
        except BaseException:
            self.leave()
            raise
        return self._era

    def leave(self) -> None:
        """Give the place back."""
        here = self._here()
        here.out -= 1
        self._wake(here)

    def answered(self, headers: Mapping[str, str]) -> None:
        """Note an answer, and what its headers say of the quota: with none left, nobody sends until it is refilled."""
        if self.width < self.most:
            self.width = min(self.most, self.width + 1 / self.width)
            self._wake(self._here())
        wait = quota_wait(headers)
        if wait:
            self._cool(wait)

    def too_much(self, era: int, retry_after: float | None, headers: Mapping[str, str]) -> None:
        """Note a push-back to a request that was sent in this era: halve, once an era, and cool down."""
        self.pushed_back += 1
        asked = quota_wait(headers) if retry_after is None else retry_after
        self._cool(max(_SHORTEST_COOL_DOWN, asked))
        if era == self._era:
            self._era += 1
            self.width = max(1.0, min(self.width, float(max(1, self.out))) / 2)

    def _cool(self, seconds: float) -> None:
        self._cool_until = max(self._cool_until, self._clock() + min(seconds, LONGEST_COOL_DOWN))

    def _whole_width(self) -> float:
        return self.width if self.width == math.inf else max(1, int(self.width))

    def _here(self) -> _Places:
        loop = asyncio.get_running_loop()
        here = self._places.get(loop)
        if here is None:
            here = self._places[loop] = _Places()
        return here

    def _wake(self, here: _Places) -> None:
        while here.waiting and here.out < self._whole_width():
            place = here.waiting.popleft()
            if not place.done():
                here.out += 1
                place.set_result(None)


_limiters: "WeakValueDictionary[str, Limiter]" = WeakValueDictionary()
_lock = threading.Lock()


def limiter_of(endpoint: str, key: str) -> Limiter:
    """Return this process's limiter of an endpoint and key: all teachers that share them share its quota.

    The key itself is not kept, only its digest.
    """
    name = sha256(f"{endpoint}\0{key}".encode()).hexdigest()
    with _lock:
        limiter = _limiters.get(name)
        if limiter is None:
            limiter = _limiters[name] = Limiter()
        return limiter
