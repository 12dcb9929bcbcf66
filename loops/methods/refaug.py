"""RefAug: solutions with a reflection behind them: another way, and a further problem (arXiv 2406.12050)."""

from dataclasses import dataclass
from typing import ClassVar

import msgspec

from lessons.records import Lesson
from loops.methods.base import together
from loops.rolling import Of, aimed, gold, one_each
from loops.round import Round
from teachers.prompts.looking_back import LOOKING_BACK

__all__ = ["ReflectiveAugmentation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReflectiveAugmentation:
    """The reference solution, then a reflection of the teacher's in the same completion; both carry loss.

    In examinations the student should end before the reflection: set `student.answer.stop: ["Reflection:"]`. A
    reflection that states anything like a final answer is not taken, so that graders and filters that look for
    "Answer:" and its kind read the solution's answer, with or without that stop. As in the paper, nothing checks
    whether the reflection is right.
    """

    paper: ClassVar[str] = "arXiv:2406.12050"
    teacher: ClassVar[str] = "a reflection on each problem, with its reference solution in sight"
    student: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "1 call a lesson"
    marker: str = "Reflection:"
    """Stands between the solution and the reflection; the released code's word."""
    temperature: float = 0.7
    """Of the teacher; 0.7 as in the released code."""
    of: Of = "all"
    """`all`: every examined problem, as in the paper; `missed`: only those that call for lessons."""

    def __post_init__(self) -> None:
        if not self.marker.strip() or self.temperature < 0:
            raise ValueError("marker must not be empty, temperature at least 0")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Ask for a reflection on each reference solution, and put it behind the solution."""
        asked = one_each(round, self.of)
        solved = [(a, solution) for a in asked if a.problem.solution and (solution := gold(round, a.problem))]
        round.counts["problems without a reference solution"] += len(asked) - len(solved)
        sampling = msgspec.structs.replace(LOOKING_BACK.sampling, temperature=self.temperature)
        told = await together(
            round.ask(LOOKING_BACK, sampling=sampling, question=a.problem.question, solution=solution)
            for a, solution in solved
        )
        return [
            round.lesson(
                a.problem, f"{solution}\n\n{self.marker.strip()}\n{said.value}",
                attempt=a, skill=aimed(a), calls=(said.call,),
            )
            for (a, solution), replies in zip(solved, told, strict=True)
            for said in replies
        ]  # fmt: skip
