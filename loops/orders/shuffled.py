"""A new random order for every epoch: what training does unless something else is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.selectors.base import Choice

__all__ = ["Shuffled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffled:
    """A new random order for every epoch, drawn by the trainer."""

    paper: ClassVar[str] = "our own: what training does by default"
    shuffles: ClassVar[bool] = True

    def order(self, lessons: Sequence[Lesson], choice: Choice) -> Sequence[Lesson]:
        """Return the lessons as they are: the trainer shuffles them."""
        return lessons
