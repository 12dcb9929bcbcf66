"""Graders that need a model: a capability is a type of its own. They are named in a recipe as any grader is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, NoReturn, Protocol, runtime_checkable

from lessons.answers import without_thoughts
from lessons.errors import GradeError
from lessons.graders.base import Grade, Grader
from lessons.records import Problem
from loops.together import together
from teachers.base import Teacher
from teachers.calls import Asker

LONGEST = 20_000
"""Characters of an answer that a judge is shown, from its end: as many as other graders read."""

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


class ByAsking(ABC):
    """What graders that ask a teacher about each answer share."""

    __slots__ = ()
    comparable: ClassVar[bool] = False
    """Two answers are not compared without a teacher."""
    needs_answer: ClassVar[bool] = False
    """A problem may go without a reference answer."""

    @abstractmethod
    async def verdict(self, problem: Problem, attempt: str, asker: Asker) -> Verdict:
        """Grade one answer text, which is not empty, by asking.

        Raises:
            TeacherError: fatal: no call of this run can succeed.
        """

    async def grade_by_asking(self, asked: Sequence[tuple[Problem, str]], asker: Asker) -> list[Verdict]:  # [asked]
        """Grade many answers at once; an empty one is wrong, and nobody is asked about it.

        Raises:
            TeacherError: fatal: no call of this run can succeed.
        """

        async def one(problem: Problem, text: str) -> Verdict:
            attempt = self.read(text[-LONGEST:])
            return (
                Grade(0.0, None, "an empty answer") if attempt is None else await self.verdict(problem, attempt, asker)
            )

        return await together(one(problem, text) for problem, text in asked)

    def grade(self, problem: Problem, text: str) -> NoReturn:
        """Tell nothing: only a teacher can.

        Raises:
            GradeError: always.
        """
        raise GradeError("a teacher must be asked for this grade, and there is nobody to ask here")

    def read(self, text: str) -> str | None:
        """Return the whole answer, or None where it is empty: all of it is judged."""
        return without_thoughts(text).strip() or None

    def same(self, one: str, other: str) -> NoReturn:
        """Tell nothing: only a teacher can.

        Raises:
            GradeError: always.
        """
        raise GradeError("whether two answers are the same, only a teacher can tell, and there is nobody to ask here")
