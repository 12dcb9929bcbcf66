"""Lessons at random, every candidate alike: what any aim must be compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from lessons.records import Lesson
from loops.selectors.base import Budgeted, Choice
from loops.stored import picked

__all__ = ["Uniform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform(Budgeted):
    """Chooses lessons uniformly at random."""

    paper: ClassVar[str] = "our own: the control without any aim"

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> Sequence[Lesson]:
        """Draw without replacement."""
        chosen = choice.rng.sample(range(len(candidates)), min(budget, len(candidates)))
        share = len(chosen) / len(candidates) if candidates else 0.0
        return picked(candidates, chosen, lambda _, lesson: msgspec.structs.replace(lesson, share=share))
