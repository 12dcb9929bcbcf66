"""Skill-matched examples in the student's prompt: metacognitive skill labelling, its first use (arXiv 2405.12205)."""

from dataclasses import dataclass
from typing import ClassVar

import msgspec

from lessons.errors import RoundError
from lessons.memory import Choose, Demonstration
from lessons.records import Lesson, Problem
from lessons.skills import by_skill
from loops.round import Round

__all__ = ["SkillLabelling"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillLabelling:
    """Each question is shown with k worked examples of its skill. Nothing is trained: take `train.objective: none`.

    The labels are the catalogue's (named, clustered and labelled anew by the teacher, or the task's own). In the paper
    the teacher names the skill of a test question; here nobody labels an exam's, so that the student finds the skill
    itself: most of the five labelled examples that are nearest by words have it.
    """

    paper: ClassVar[str] = "arXiv:2405.12205"
    teacher: ClassVar[str] = "nothing beyond the catalogue"
    student: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "none"
    shown: int = 4
    """Examples with each question, the paper's k. Its value is not known: our own choice."""
    choose: Choose = "skill"
    """`skill` takes examples of the question's skill, the nearest ones by words; its controls: `words` takes the
    nearest ones whatever their skill, `fixed` the same ones for every question."""
    exemplars: int = 20
    """Examples that are kept for each skill, drawn from the pool; 0: all. Our own bound on the size of the memory."""
    room: int = 0
    """Characters that the examples of one question may take together; 0 sets no bound."""

    def __post_init__(self) -> None:
        if self.shown < 1 or self.exemplars < 0 or self.room < 0:
            raise ValueError(
                "shown must be at least 1, exemplars and room at least 0, "
                f"got {self.shown}, {self.exemplars} and {self.room}"
            )

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Draw each skill's examples; there are no lessons."""
        chosen: dict[str, Problem] = {}
        for _, problems in sorted(by_skill(round.pool).items()):
            fit = [problem for problem in problems if problem.solution or problem.answer is not None]
            chosen |= {p.id: p for p in round.rng.sample(fit, min(self.exemplars or len(fit), len(fit)))}
        if not chosen:
            raise RoundError(
                f"round {round.index}: method {round.method!r} shows worked examples of a skill, and no problem of the "
                "pool has a skill and a reference: give the task skills, or let the teacher write the catalogue"
            )
        order = round.rng.sample(list(chosen.values()), len(chosen))  # `fixed` shows the first ones: a mix of skills
        shown = tuple(
            Demonstration(question=p.question, completion=round.task.reference(p), skills=p.skills, problem=p.id)
            for p in order
        )
        round.counts["demonstrations"] = len(shown)
        round.remember(
            msgspec.structs.replace(
                round.memory, demonstrations=shown, choose=self.choose, shown=self.shown, room=self.room
            )
        )
        return []
