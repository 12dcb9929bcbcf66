"""STAT-Sel: lessons taken from the training pool for each missing skill (arXiv 2510.10023, step 3a)."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar, Literal

from lessons.records import Attempt, Lesson, Problem
from lessons.skills import by_skill
from loops.methods.base import together
from loops.round import Round
from teachers.prompts.rationale import RATIONALE

__all__ = ["StatSel"]

Pair = tuple[Attempt, str, Problem]
"""A failed attempt, a skill that it lacked, and a problem of the pool that needs the skill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatSel:
    """Existing problems on each skill that a failed attempt lacked, so that skill mass follows the profile.

    A problem that is drawn for several failures is one candidate for each distinct solution; how often it was drawn
    is its weight in the draw of the selector `profile`, through its skill's share.
    """

    paper: ClassVar[str] = "arXiv:2510.10023"
    teacher: ClassVar[str] = "solutions of drawn problems, with the reference in sight; nothing with `rewrites: 0`"
    student: ClassVar[str] = "nothing"
    cost: ClassVar[str] = "1 call a lesson, or none"
    references: int = 5
    """Pool problems for each failed attempt and missing skill: 5 in the paper's text, 3 in its Algorithm 1."""
    rewrites: int = 3
    """Solutions that the teacher writes for each problem with the reference in sight, 3 in the paper; 0 takes the
    reference itself and asks the teacher nothing, which suits labels."""
    target: Literal["profile", "shuffled", "uniform"] = "profile"
    """The aim, and its two controls: `shuffled` permutes the names of the skills in the profile, `uniform` draws as
    many problems from the whole pool whatever was missing."""

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Draw problems for each (attempt, missing skill), and make their solutions lessons."""
        drawn = self.draw(round.missed, round.pool, round.rng)
        if not self.rewrites:
            return [round.lesson(p, round.task.reference(p), attempt=a, skill=skill, seed=p) for a, skill, p in drawn]
        told = await together(
            round.ask(RATIONALE, self.rewrites, question=p.question, hint=p.solution or p.answer or "")
            for _, _, p in drawn
        )
        return [
            round.lesson(p, said.value, attempt=a, skill=skill, seed=p, calls=(said.call,))
            for (a, skill, p), replies in zip(drawn, told, strict=True)
            for said in replies
        ]

    def draw(self, missed: Sequence[Attempt], pool: Sequence[Problem], rng: Random) -> list[Pair]:
        """Return the drawn problems; no problem twice for one skill while the pool has others."""
        bank = by_skill(pool)
        renamed = {skill: skill for skill in bank}
        if self.target == "shuffled":
            renamed = dict(zip(bank, rng.sample(list(bank), len(bank)), strict=True))
        decks: dict[str, list[Problem]] = {}
        pairs: list[Pair] = []
        for attempt in missed:
            for missing in attempt.missing:
                skill = renamed.get(missing, missing)
                source = list(pool) if self.target == "uniform" else bank.get(skill, [])
                deck = decks.setdefault("" if self.target == "uniform" else skill, [])
                for _ in range(min(self.references, len(source))):
                    if not deck:
                        deck += rng.sample(source, len(source))
                    problem = deck.pop()
                    aimed = problem.skills[0] if self.target == "uniform" and problem.skills else skill
                    pairs.append((attempt, aimed, problem))
        return pairs
