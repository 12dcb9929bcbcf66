"""Graders that need a model: a capability is a type of its own. They are named in a recipe as any grader is."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol, runtime_checkable

from lessons.errors import GradeError
from lessons.graders.base import Grade, Grader
from lessons.records import Problem
from teachers.base import Teacher
from teachers.calls import Asker

Verdict = Grade | GradeError
"""What a grader says of one text; the error where it cannot tell."""

Judging = Callable[[Asker], Coroutine[Any, Any, list[Verdict]]]
"""What asks a teacher, once there is one to be asked."""

Ask = Callable[[Judging], list[Verdict]]
"""Gives it one: the run's, on the one path of a call, where it is counted and paid for."""


@runtime_checkable
class AskingGrader(Grader, Protocol):
    """A grader that asks a teacher. Its `grade` and `same` raise GradeError: only `grade_by_asking` can tell."""

    @property
    def teacher(self) -> Teacher | None:
        """Who is asked; None: the run's own teacher."""
        ...

    async def grade_by_asking(self, asked: Sequence[tuple[Problem, str]], asker: Asker) -> list[Verdict]:  # [asked]
        """Grade many answer texts; what cannot be told is returned as its error, never as a guessed 0.

        Raises:
            TeacherError: fatal: no call of this run can succeed.
        """
        ...


@runtime_checkable
class ScoringGrader(Grader, Protocol):
    """A grader that lets the student's own probabilities choose; the student is not asked to write an answer.

    Its `grade` still reads a text, such as a lesson's.
    """

    @property
    def neutral(self) -> str | None:
        """A question that says nothing, after which the texts are scored too; None where that is not needed."""
        ...

    def texts(self, problem: Problem) -> Sequence[str]:
        """Return the texts to be scored as answers to the problem, one for each choice.

        Raises:
            GradeError: the problem has nothing to choose from.
        """
        ...

    def choose(
        self, problem: Problem, scores: Sequence[Sequence[float]], neutral: Sequence[Sequence[float]]
    ) -> tuple[str, Grade]:
        """Return the chosen text and its grade.

        Args:
            problem: with its choices.
            scores: natural-log probabilities after the problem, [text][token].
            neutral: the same after the neutral question; empty where there is none.

        Raises:
            GradeError: it cannot tell.
        """
        ...
