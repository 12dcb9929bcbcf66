"""The selector's own order, the same in every epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.selectors.base import Choice

__all__ = ["Sequential"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequential:
    """As the selector chose them: earlier rounds' lessons first, replayed ones spread evenly among the new."""

    paper: ClassVar[str] = "our own: the selector's order"
    shuffles: ClassVar[bool] = False

    def order(self, lessons: Sequence[Lesson], choice: Choice) -> Sequence[Lesson]:
        """Return the lessons as they are."""
        return lessons
