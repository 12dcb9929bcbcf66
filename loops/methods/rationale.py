"""Fine-tune-CoT: the teacher explains, the student learns the explanations (arXiv 2212.10071)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import msgspec

from lessons.records import Lesson
from loops.methods.base import together
from loops.round import Round
from teachers.prompts.rationale import RATIONALE

__all__ = ["Rationale"]

CHUNK = 5000
"""Attempts whose rationales are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rationale:
    """The teacher's step-by-step solutions of the problems that the student missed, without sight of the answer.

    The filter `verified` is the paper's own filter: it keeps a rationale whose final answer is the reference answer.
    """

    paper: ClassVar[str] = "arXiv:2212.10071"
    teacher: ClassVar[str] = "step-by-step solutions, without sight of the answer"
    student: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "1 call a lesson"
    samples: int = 1
    """Rationales for each problem: the paper's D (1 to 64; diverse reasoning)."""
    temperature: float = 0.7
    """Of the teacher where `samples` is above 1, as in the paper; a single rationale is drawn greedily, as there."""
    of: Literal["missed", "all"] = "missed"
    """`missed` explains what the student failed; `all` every examined problem, as in the paper."""

    async def teach(self, round: Round) -> Sequence[Lesson]:  # noqa: A002 - the design's word
        """Ask for rationales, and make each a lesson."""
        attempts = round.missed if self.of == "missed" else [a for a in round.attempts if a.graded]
        sampling = msgspec.structs.replace(
            RATIONALE.sampling, temperature=self.temperature if self.samples > 1 else 0.0
        )
        lessons = round.written()
        for start in range(0, len(attempts), CHUNK):
            some = attempts[start : start + CHUNK]
            told = await together(
                round.ask(RATIONALE, self.samples, sampling=sampling, question=a.problem.question) for a in some
            )
            lessons.extend(
                round.lesson(
                    a.problem,
                    said.value,
                    attempt=a,
                    skill=a.missing[0] if a.missing else None,
                    calls=(*((a.diagnosis.call,) if a.diagnosis and a.diagnosis.call else ()), said.call),
                )
                for a, replies in zip(some, told, strict=True)
                for said in replies
            )
        return lessons.records()
