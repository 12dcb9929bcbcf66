"""EIT: terse reference answers, enriched with a plan and with the steps left out (arXiv 2412.16964)."""

from dataclasses import dataclass, replace
from typing import ClassVar

from lessons.records import Lesson
from loops.filters.base import apply
from loops.filters.verified import Verified
from loops.methods.base import together
from loops.rolling import Of, aimed, gold, one_each
from loops.round import Round
from teachers.prompts.filled_steps import FILLED_STEPS
from teachers.prompts.plan import PLAN

__all__ = ["EnrichedInstructions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrichedInstructions:
    """The teacher sees the reference answer. First it writes a plan that leads to it, then the steps that its author
    left out; plan and steps are the lesson, if they still end in the reference answer.
    """

    paper: ClassVar[str] = "arXiv:2412.16964"
    teacher: ClassVar[str] = "a plan, then all steps, with the reference answer in sight"
    student: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "2 calls a lesson"
    plan: bool = True
    """Put the plan before the steps in the lesson, as in the paper; it is asked for in any case."""
    heading: str = "Plan:"
    """Stands before the plan. Our own word."""
    of: Of = "all"
    """`all`: every examined problem, as in the paper; `missed`: only those that call for lessons."""

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Ask for plans, then for steps, and keep what ends in the reference answer."""
        asked = one_each(round, self.of)
        known = [(a, reference) for a in asked if (reference := gold(round, a.problem)) is not None]
        round.counts["problems without a reference"] += len(asked) - len(known)
        plans = await together(round.ask(PLAN, question=a.problem.question, reference=r) for a, r in known)
        planned = [(a, r, said) for (a, r), replies in zip(known, plans, strict=True) for said in replies]
        filled = await together(
            round.ask(FILLED_STEPS, question=a.problem.question, reference=r, plan=plan.value) for a, r, plan in planned
        )
        lessons = [
            round.lesson(
                a.problem, f"{self.heading} {plan.value}\n{said.value}".strip() if self.plan else said.value,
                attempt=a, skill=aimed(a), calls=(plan.call, said.call),
            )
            for (a, _, plan), replies in zip(planned, filled, strict=True)
            for said in replies
        ]  # fmt: skip
        verdicts = await round.verdicts([(lesson.problem, lesson.completion) for lesson in lessons])
        grades = {lesson.id: verdict for lesson, verdict in zip(lessons, verdicts, strict=True)}
        kept, dropped = apply("verified", Verified(), lessons, replace(round.context, grades=grades))
        round.dropped.extend(dropped)
        return kept
