"""Drop a candidate whose question stands in an exam. The loop always runs it; a recipe need not name it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.exams.contamination import exact
from loops.filters.base import Context, Drop, normal

__all__ = ["Overlap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Keeps candidates whose question is no question of the held-out set, the gate or the final exam (case and spaces
    aside)."""

    paper: ClassVar[str] = "our own: no question of an exam is taught"
    alone: ClassVar[bool] = True
    """It judges each candidate by itself."""

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        return [Drop("a question of the exam") if _asked(lesson, context) else lesson for lesson in lessons]


def _asked(lesson: Lesson, context: Context) -> bool:
    if normal(lesson.problem.question) in context.held_out:
        return True
    return context.exams is not None and exact(lesson, context.exams) is not None
