"""Answers checked against a list of criteria, each by itself, by a teacher."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.knobs import Nested
from lessons.records import Problem
from loops.graders.base import ByAsking, Verdict
from teachers.base import Teacher
from teachers.calls import Asker
from teachers.prompts.rubric import NO_REFERENCE, Met, rubric

__all__ = ["RubricGrader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing that an answer may meet or not."""

    text: str
    """What is asked of the answer, such as "names the unit"."""
    weight: float = 1.0
    """Its share in the score, above 0."""

    def __post_init__(self) -> None:
        if not self.text.strip() or not 0 < self.weight < float("inf"):
            raise ValueError("a criterion has a text, and a weight above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricGrader(ByAsking):
    """A teacher says of each criterion whether an answer meets it; the score is the weighted share that it meets.

    Criteria of which it cannot be told are left out of the share, and named.
    """

    criteria: tuple[Criterion | str, ...]
    """The criteria: texts, or mappings of `text` and `weight`."""
    teacher: Annotated[Teacher | None, Nested("teacher")] = None
    """Who checks, written as a recipe's teacher is; null: the run's own teacher."""

    def __post_init__(self) -> None:
        if not self.criteria or not all(one.strip() for one in self.criteria if isinstance(one, str)):
            raise ValueError("criteria: at least one is needed, and each has a text")

    @property
    def _criteria(self) -> tuple[Criterion, ...]:
        return tuple(one if isinstance(one, Criterion) else Criterion(text=one) for one in self.criteria)

    async def verdict(self, problem: Problem, attempt: str, asker: Asker) -> Verdict:
        """Ask about one answer.

        Raises:
            TeacherError: fatal: no call of this run can succeed.
        """
        listed = "\n".join(f"{number}. {' '.join(one.text.split())}" for number, one in enumerate(self._criteria, 1))
        fields = {"question": problem.question, "criteria": listed, "attempt": attempt}
        fields["reference"] = NO_REFERENCE if problem.answer is None else problem.answer
        (answer,) = await asker.ask(rubric(len(self.criteria)), fields)
        if answer.value is None or answer.reason:
            return GradeError(f"the rubric's reply was {answer.reason}: {' '.join(answer.detail.split())[:200]}")
        return self._share(answer.value)

    def _share(self, said: Sequence[Met]) -> Verdict:
        told = [(one, met) for one, met in zip(self._criteria, said, strict=True) if met != "cannot tell"]
        if not told:
            return GradeError("it cannot be told of any criterion whether the answer meets it")
        score = sum(one.weight for one, met in told if met == "yes") / sum(one.weight for one, _ in told)
        lacking = [one.text for one, met in told if met == "no"]
        unclear = [one.text for one, met in zip(self._criteria, said, strict=True) if met == "cannot tell"]
        notes = [f"lacks: {'; '.join(lacking)}"] if lacking else []
        notes += [f"cannot tell: {'; '.join(unclear)}"] if unclear else []
        return Grade(score, None, " | ".join(notes)[:400])
