"""Lessons by the failure profile: a skill's part of the budget is its part of all that was missing (STAT)."""

from collections.abc import Sequence
from dataclasses import dataclass

from lessons.records import Lesson
from loops.selectors.base import Choice, by_shares

__all__ = ["ByProfile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByProfile:
    """Chooses lessons whose skills have the histogram of the Missing-Skill-Profile (arXiv 2510.10023, step 3a)."""

    budget: int = 0
    """Rows that the student is trained on, replayed ones included; 0 takes every candidate."""
    replay: float = 0.3
    """Share of the rows that replay what the student masters, in [0, 1). Aiming at gaps without replay forgets."""
    floor: float = 0.0
    """Part of the budget, in [0, 1], that is shared evenly by all skills, whatever the profile says."""

    def __post_init__(self) -> None:
        if not 0 <= self.replay < 1 or not 0 <= self.floor <= 1 or self.budget < 0:
            raise ValueError("budget must be at least 0, replay in [0, 1), floor in [0, 1]")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> list[Lesson]:
        """Draw by the profile's shares."""
        shares = choice.profile.shares()
        even = 1 / len(shares) if shares else 0.0
        mixed = {skill: (1 - self.floor) * share + self.floor * even for skill, share in shares.items()}
        return by_shares(candidates, mixed, budget, choice.rng)
