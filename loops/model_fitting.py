"""Model Fitting Difficulty: how much better a judge finds the teacher's answer than the student's (TAPIR, 2405.13448).

MFD(x) = J(teacher's answer | x) - J(student's answer | x), both rated from 1 to 10, so that it lies in [-9, 9].
"""

import asyncio
from typing import NamedTuple

from lessons.records import Attempt
from loops.round import Round, Said
from teachers.prompts.rating import LOWEST, NO_REFERENCE, RATING, Rating
from teachers.prompts.styled_answer import STYLED_ANSWER

CRITERIA = "All of the answer is true, it does what the task asks, and it is clear and complete without being long."
"""What the judge rates by. Our own words; the paper's judge prompt is not known."""


class Fit(NamedTuple):
    """One problem, answered by both and judged."""

    attempt: Attempt
    answer: str
    """The teacher's."""
    difficulty: int
    """MFD, in [-9, 9]."""
    calls: tuple[str, ...]
    """That paid for the answer and the ratings."""


async def fit(round_: Round, attempt: Attempt) -> Fit | None:
    """Let the teacher answer an attempt's problem, and the judge rate both; None where a reply was lost.

    The judge sees one answer at a time, without reference. An empty attempt has the lowest rating, unasked.
    """
    question = attempt.problem.question
    answered = await round_.ask(STYLED_ANSWER, question=question, instruction=round_.task.instruction, style="")
    if not answered:
        return None
    rated, other = await asyncio.gather(
        _rated(round_, question, answered[0].value), _rated(round_, question, attempt.text)
    )
    if rated is None or other is None:
        return None
    calls = tuple(call for call in (answered[0].call, rated.call, other.call) if call)
    return Fit(attempt, answered[0].value, rated.value.value - other.value.value, calls)


async def _rated(round_: Round, question: str, answer: str) -> Said[Rating] | None:
    if not answer.strip():
        return Said(Rating(LOWEST, "empty"), "")
    told = await round_.ask(RATING, criteria=CRITERIA, task=question, reference=NO_REFERENCE, answer=answer)
    return told[0] if told else None
