"""What a reply costs: a dated price table, by kind of token. A price that is not known stays unknown, never 0."""

import re
from dataclasses import dataclass

from lessons.errors import InputError
from teachers.base import Usage

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, kw_only=True)
class Prices:
    """USD per million tokens, by kind."""

    prompt: float
    """Of tokens of the request."""
    completion: float
    """Of tokens of the reply."""
    cached_prompt: float | None = None
    """Of tokens of the request that the endpoint had in its cache; null: as `prompt`."""
    reasoning: float | None = None
    """Of tokens of thought, which are counted among the completion's; null: as `completion`."""
    as_of: str = ""
    """The day on which somebody looked the prices up, such as 2026-11-01: prices change."""

    def __post_init__(self) -> None:
        """Refuse a price below 0 and a date that is none.

        Raises:
            InputError: names the key.
        """
        for kind in ("prompt", "completion", "cached_prompt", "reasoning"):
            price = getattr(self, kind)
            if price is not None and not 0 <= price < float("inf"):
                raise InputError(f"prices.{kind} must be at least 0 USD per million tokens, got {price}")
        if self.as_of and not _DATE.fullmatch(self.as_of):
            raise InputError(f"prices.as_of must be a day such as 2026-11-01, got {self.as_of!r}")

    def times(self, factor: float) -> "Prices":
        """Return the prices with a discount, such as 0.5 for a batch."""
        return Prices(
            prompt=self.prompt * factor,
            completion=self.completion * factor,
            cached_prompt=None if self.cached_prompt is None else self.cached_prompt * factor,
            reasoning=None if self.reasoning is None else self.reasoning * factor,
            as_of=self.as_of,
        )

    def usd(self, used: Usage) -> float | None:
        """Return what these tokens cost; None where the endpoint did not say how many they were."""
        if not any((self.prompt, self.completion, self.cached_prompt, self.reasoning)):
            return 0.0
        if used.prompt is None or used.completion is None:
            return None
        cached = min(used.cached_prompt or 0, used.prompt)
        thought = min(used.reasoning or 0, used.completion)
        of_cached = self.prompt if self.cached_prompt is None else self.cached_prompt
        of_thought = self.completion if self.reasoning is None else self.reasoning
        millionths = (used.prompt - cached) * self.prompt + cached * of_cached
        millionths += (used.completion - thought) * self.completion + thought * of_thought
        return millionths / 1e6


FREE = Prices(prompt=0.0, completion=0.0)
"""Of a program that answers; this very object, since a server may cost 0 too, and its replies are worth keeping."""


def prices_of(teacher: object) -> Prices | None:
    """Return what a teacher's tokens cost, its discount taken off; None where that is not known."""
    prices: Prices | None = getattr(teacher, "prices", None)
    discount: float = getattr(teacher, "discount", 1.0)
    return prices if prices is None or discount == 1.0 else prices.times(discount)
