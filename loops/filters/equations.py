"""Drop a lesson that calculates wrong: a right answer does not make a right rationale."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.equations import TOLERANCE, equations
from lessons.records import Lesson
from loops.filters.base import Context, Drop

__all__ = ["Equations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Equations:
    """Keeps completions in which every equation of numbers holds; one without any is kept.

    RFT checks its samples so (arXiv 2308.01825, released code: a tolerance of 1e-3). It sees slips of arithmetic, and
    neither a misread question nor a wrong plan.
    """

    paper: ClassVar[str] = "arXiv:2308.01825"
    alone: ClassVar[bool] = True
    """It judges each candidate by itself."""
    tolerance: float = TOLERANCE
    """Difference up to which the sides of an equation are equal; 1e-3 as in RFT's code."""

    def __post_init__(self) -> None:
        if self.tolerance < 0:
            raise ValueError(f"tolerance must be at least 0, got {self.tolerance:g}")

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        return [self._one(lesson) for lesson in lessons]

    def _one(self, lesson: Lesson) -> Lesson | Drop:
        for equation in equations(lesson.completion):
            if not equation.holds(self.tolerance):
                return Drop("false calculation", f"{equation.left} = {equation.right}")
        return lesson
