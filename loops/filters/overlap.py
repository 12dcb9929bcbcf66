"""Drop a candidate whose question stands in the exam. The loop always runs it; a recipe need not name it."""

from collections.abc import Sequence
from dataclasses import dataclass

from lessons.records import Lesson
from loops.filters.base import Context, Drop, normal

__all__ = ["Overlap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """Keeps candidates whose question is no question of the held-out set or the gate (case and spaces aside)."""

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        return [
            Drop("a question of the exam") if normal(lesson.problem.question) in context.held_out else lesson
            for lesson in lessons
        ]
