"""Drop what is not right: the answer is not the reference answer, or the verdict is not the grader's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.errors import GradeError
from lessons.records import Lesson
from loops.filters.base import Context, Drop

__all__ = ["Verified"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Keeps a solution that ends in the reference answer, a critique whose verdict is the grader's, and a bad example
    (for objectives that learn from both kinds) that is wrong indeed.

    Fine-tune-CoT's filter (arXiv 2212.10071, step 2).
    """

    paper: ClassVar[str] = "arXiv:2212.10071"
    alone: ClassVar[bool] = True
    """It judges each candidate by itself."""
    at_least: float = 1.0
    """Score of the grader that counts as right, in (0, 1]."""
    needs_grades: ClassVar[bool] = True
    """The loop has the candidates graded beforehand, where the grader asks a teacher or grades many at once."""

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        return [self._one(lesson, context) for lesson in lessons]

    def _one(self, lesson: Lesson, context: Context) -> Lesson | Drop:
        if lesson.verdict is not None:
            true = {True: "right", False: "wrong", None: None}[lesson.attempt_right]
            if true is None:
                return Drop("attempt not graded")
            return lesson if lesson.verdict == true else Drop("wrong verdict", f"the attempt is {true}")
        try:
            grade = context.grade(lesson)
        except GradeError as error:
            return Drop("cannot be verified", str(error))
        right = grade.score >= self.at_least
        if not lesson.desirable:
            return Drop("a bad example that is right") if right else lesson
        if right:
            return lesson
        return Drop("wrong answer", f"{grade.answer or grade.note} instead of {lesson.problem.answer}")
