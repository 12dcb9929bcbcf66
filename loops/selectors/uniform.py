"""Lessons at random, every candidate alike: what any aim must be compared with."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from lessons.records import Lesson
from loops.selectors.base import Choice

__all__ = ["Uniform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Chooses lessons uniformly at random."""

    budget: int = 0
    """Rows that the student is trained on, replayed ones included; 0 takes every candidate."""
    replay: float = 0.3
    """Share of the rows that replay what the student masters, in [0, 1)."""

    def __post_init__(self) -> None:
        if not 0 <= self.replay < 1 or self.budget < 0:
            raise ValueError("budget must be at least 0, replay in [0, 1)")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> list[Lesson]:
        """Draw without replacement."""
        chosen = choice.rng.sample(list(candidates), min(budget, len(candidates)))
        share = len(chosen) / len(candidates) if candidates else 0.0
        return [msgspec.structs.replace(lesson, share=share) for lesson in chosen]
