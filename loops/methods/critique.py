"""Critique Fine-Tuning: the student learns to criticise answers, its own among them (arXiv 2501.17703)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from lessons.records import Attempt, Lesson, Message
from loops.methods.base import together
from loops.round import Round
from teachers.prompts.critique import CRITIQUE

__all__ = ["CritiqueFineTuning"]

ASK = "Criticise this solution, then end with 'Conclusion: right' or 'Conclusion: wrong'."


@dataclass(frozen=True, slots=True, kw_only=True)
class CritiqueFineTuning:
    """The teacher criticises the student's own answers, and the student learns the critiques.

    The teacher does not see the reference answer. Loss falls on the critique only; in the exam the student is asked
    the bare question, as in the paper.
    """

    paper: ClassVar[str] = "arXiv:2501.17703"
    teacher: ClassVar[str] = "a critique of each answer, without the reference"
    student: ClassVar[str] = "the answers of the examination"
    cost: ClassVar[str] = "1 call a lesson"
    of: Literal["all", "missed"] = "all"
    """`all` criticises right answers too, as in the paper (44 % of its answers were right); `missed` only failures."""

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Ask for a critique of each attempt, and make each a lesson."""
        attempts = [a for a in (round.missed if self.of == "missed" else round.attempts) if a.text.strip()]
        told = await together(round.ask(CRITIQUE, question=a.problem.question, attempt=a.text) for a in attempts)
        return [
            round.lesson(
                a.problem,
                said.value.text,
                attempt=a,
                skill=a.missing[0] if a.missing else None,
                calls=(said.call,),
                prompt=critique_prompt(a),
                verdict=said.value.verdict,
                attempt_right=a.right if a.graded else None,
            )
            for a, replies in zip(attempts, told, strict=True)
            for said in replies
        ]


def critique_prompt(attempt: Attempt) -> tuple[Message, ...]:
    """Return the chat in which a student is asked for a critique: question and solution, never the reference."""
    text = f"Question: {attempt.problem.question}\n\nSolution: {attempt.text}\n\n{ASK}"
    return (Message(role="user", content=text),)
