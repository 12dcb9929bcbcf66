"""Drop what a teacher rates low, by criteria. It costs a call a candidate: put it behind the filters that cost none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.filters.base import Context, Drop
from loops.likeness.shingles import parts_of
from loops.together import together
from teachers.calls import Asker
from teachers.prompts.rating import HIGHEST, LOWEST, NO_REFERENCE, PLAIN_CRITERIA, RATING, Rating

__all__ = ["Judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Keeps candidates that a teacher rates high enough, from 1 to 10, with a reason. Without a rating, one is dropped.

    The grader's own teacher is asked where `task.graded_by` has one, else the run's: a model is a lenient judge of what
    it wrote itself (arXiv 2306.05685, section 3.3, recalled).
    """

    paper: ClassVar[str] = "our own: a rating with a reason, after MT-Bench's single-answer grading (arXiv:2306.05685)"
    teacher: ClassVar[str] = "a rating of each candidate, from 1 to 10, with a reason"
    cost: ClassVar[str] = "1 call a candidate"
    at_least: int = 7
    """Rating that is high enough, from 1 to 10. Our choice."""
    criteria: str = ""
    """What a good lesson is like, in words that the teacher is shown; empty: every step and the result true, what was
    asked for, and such that a student can learn from it."""
    reference: bool = True
    """Show the reference answer, where the problem has one."""

    def __post_init__(self) -> None:
        if not LOWEST <= self.at_least <= HIGHEST:
            raise ValueError(f"at_least must lie between {LOWEST} and {HIGHEST}, got {self.at_least}")

    async def ratings(self, lessons: Sequence[Lesson], asker: Asker) -> Mapping[str, Rating | str]:
        """Ask about each lesson, each once.

        Raises:
            TeacherError: fatal: no call of this run can succeed.
        """

        async def one(lesson: Lesson) -> Rating | str:
            (answer,) = await asker.ask(RATING, self._fields(lesson))
            return answer.value if answer.value is not None and not answer.reason else answer.reason or "empty"

        asked = {lesson.id: lesson for lesson in lessons}
        return dict(zip(asked, await together(one(lesson) for lesson in asked.values()), strict=True))

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by its rating, which `ratings` has asked for."""
        return [self._one(lesson, context.ratings.get(lesson.id)) for lesson in lessons]

    def _one(self, lesson: Lesson, rating: Rating | str | None) -> Lesson | Drop:
        if rating is None:
            return Drop("not rated", "nobody was asked")
        if isinstance(rating, str):
            return Drop("the rating cannot be read" if rating == "invalid" else f"no rating: {rating}")
        if rating.value >= self.at_least:
            return lesson
        return Drop("rated too low", f"{rating.value}: {rating.reason[:200]}")

    def _fields(self, lesson: Lesson) -> dict[str, object]:
        known = lesson.problem.answer if self.reference else None
        return {
            "criteria": self.criteria or PLAIN_CRITERIA,
            "task": "\n\n".join(parts_of(lesson, "prompt")),
            "reference": NO_REFERENCE if known is None else known,
            "answer": lesson.completion,
        }
