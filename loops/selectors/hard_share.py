"""A share of hard lessons that rises from round to round: TAPIR's curriculum (arXiv 2405.13448)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.hardness import By, hardness
from loops.selectors.base import Budgeted, Choice, by_shares

__all__ = ["HardShare"]

EXACT = 1e-9
"""Hardness this near to the bound is the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HardShare(Budgeted):
    """Draws a share of hard lessons and fills up with easy ones; in round r the share is start + (r - 1) * step.

    It needs candidates of both kinds: a method that teaches what was missed alone makes hard ones only. What one kind
    has too few candidates for, the other gets.
    """

    paper: ClassVar[str] = "arXiv:2405.13448"
    start: float = 0.3
    """Share of hard lessons in round 1, in [0, 1]: 0.3 (as recalled of the paper)."""
    step: float = 0.2
    """By how much it rises in each round: 0.2 (as recalled of the paper); never above 1 or below 0."""
    by: By = "success"
    """What hardness goes by. "success": 1 - the mean score of the attempts at the problem. "loss": the student's mean
    token loss on the completion, measured for every candidate."""
    above: float = 0.2
    """A lesson is hard above this. For "success", in [0, 1]: 0.2 is the paper's bound of 2 on a scale of 10 points,
    with 1 for the teacher's answer. For "loss": in nats."""

    def __post_init__(self) -> None:
        Budgeted.__post_init__(self)
        if not 0 <= self.start <= 1 or self.above < 0:
            raise ValueError("start must be in [0, 1], above at least 0")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> Sequence[Lesson]:
        """Draw by the round's share of hard lessons."""
        hard = {
            lesson.id
            for lesson, value in zip(
                candidates, hardness(candidates, choice, self.by, "select: hard_share"), strict=True
            )
            if value > self.above + EXACT
        }
        share = self.share_in(choice.index)
        shares = {"hard": share, "easy": 1 - share}
        return by_shares(candidates, shares, budget, choice.rng, lambda one: "hard" if one.id in hard else "easy")

    def share_in(self, index: int) -> float:
        """Return the share of hard lessons in a round, from 1."""
        return min(1.0, max(0.0, self.start + (index - 1) * self.step))
