"""Answers judged by a teacher: against the reference answer, or by criteria where there is none."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.knobs import Nested
from lessons.records import Problem
from loops.graders.base import ByAsking, Verdict
from teachers.base import Teacher
from teachers.calls import Asker
from teachers.prompts import judge
from teachers.totals import Answered

__all__ = ["JudgeGrader"]

HALF = "the judge's two verdicts differ"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeGrader(ByAsking):
    """A teacher says whether an answer is right, by the reference answer, or by criteria for problems without one.

    It is asked twice with the two texts in either order (arXiv 2306.05685, section 3.4), and believed where both
    verdicts are one. A judge can be wrong, and can be talked round: docs/graders.md says how to measure it.
    """

    criteria: str = ""
    """What a right answer is like, in words that the judge is shown; empty: correct, to the point, nothing false."""
    swap: bool = True
    """Whether every answer is judged a second time with the two texts in the other order; without, at half the cost, a
    judge that goes by the order is not found out."""
    disagreement: Literal["half", "error"] = "half"
    """Where the two verdicts differ: `half`, a tie, a score of 0.5; `error`: the attempt stays ungraded."""
    unreadable: Literal["error", "half"] = "error"
    """Where a verdict is refused, cut off or cannot be read: `error`: the attempt stays ungraded; `half`: a tie. Never
    a score of 0."""
    teacher: Annotated[Teacher | None, Nested("teacher")] = None
    """Who judges, written as a recipe's teacher is; null: the run's own teacher. Another model than the one that writes
    the lessons is the safer judge of them."""

    async def verdict(self, problem: Problem, attempt: str, asker: Asker) -> Verdict:
        """Ask about one answer.

        Raises:
            TeacherError: fatal: no call of this run can succeed.
        """
        fields = {"question": problem.question, "criteria": self.criteria or judge.PLAIN_CRITERIA, "attempt": attempt}
        prompts = (judge.BY_CRITERIA, judge.BY_CRITERIA_SWAPPED)
        if problem.answer is not None:
            prompts = (judge.BY_REFERENCE, judge.BY_REFERENCE_SWAPPED)
            fields["reference"] = problem.answer
        answers = await asyncio.gather(*(asker.ask(one, fields) for one in prompts[: 2 if self.swap else 1]))
        return self._verdict([answer for (answer,) in answers])

    def _verdict(self, answers: Sequence[Answered[judge.Judgement]]) -> Verdict:
        lost = next((answer for answer in answers if answer.value is None or answer.reason), None)
        if lost is not None:
            told = f"the judge's reply was {lost.reason}: {' '.join(lost.detail.split())[:200]}"
            return Grade(0.5, None, told) if self.unreadable == "half" and lost.reason in _ITS_OWN else GradeError(told)
        said = [answer.value for answer in answers if answer.value is not None]
        verdicts = {one.verdict for one in said}
        if verdicts == {"right"} or verdicts == {"wrong"}:
            return Grade(float(verdicts == {"right"}), None, said[0].reason[:300])
        if "cannot tell" in verdicts:
            return GradeError(f"the judge cannot tell: {said[0].reason[:200]}")
        told = f"{HALF}: {' / '.join(one.reason[:120] for one in said)}"
        return Grade(0.5, None, told) if self.disagreement == "half" else GradeError(told)


_ITS_OWN = frozenset(("empty", "refused", "truncated", "invalid"))
"""Losses that are the judge's own doing; a failed call or a spent budget is nobody's verdict."""
