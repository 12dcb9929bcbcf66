"""From easy to hard, the same in every epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.hardness import By, hardness
from loops.selectors.base import Choice

__all__ = ["EasyToHard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EasyToHard:
    """The easiest lesson first. Equally hard ones go by their ids, so that it does not matter how they came."""

    paper: ClassVar[str] = "our own: the curriculum of Bengio et al. 2009, with hardness as the student sees it"
    shuffles: ClassVar[bool] = False
    by: By = "loss"
    """What hardness goes by. "loss": the mean token loss on the completion of the student that is taught. "success":
    1 - the mean score of this round's attempts at the problem, at the one it was written from, or on its skill."""
    hard_first: bool = False
    """Whether the order is turned round, the hardest first."""

    def order(self, lessons: Sequence[Lesson], choice: Choice) -> list[Lesson]:
        """Return the lessons by hardness."""
        values = hardness(lessons, choice, self.by, "order: easy_to_hard")
        sign = -1 if self.hard_first else 1
        keys = [(sign * value, lesson.id) for value, lesson in zip(values, lessons, strict=True)]
        return [lessons[place] for place in sorted(range(len(lessons)), key=keys.__getitem__)]
