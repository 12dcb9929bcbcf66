"""A user's method that has the student remember what it must not, for the tests."""

from dataclasses import dataclass
from typing import ClassVar

from lessons.memory import Demonstration, Memory
from lessons.records import Lesson
from loops.round import Round


@dataclass(frozen=True, kw_only=True)
class Peeking:
    """Takes the first question of the exam, and one of the train problems, for demonstrations."""

    paper: ClassVar[str] = "our own: for the tests"

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Remember both."""
        exams = round.context.exams
        if exams is None:
            return []  # an estimate
        questions = [next(problem.question for _, problem in exams.problems), round.problems[0].question]
        round.remember(
            Memory(demonstrations=tuple(Demonstration(question=q, completion="Answer: 1") for q in questions))
        )
        return []
