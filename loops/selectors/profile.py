"""Lessons by the failure profile: the wider a skill's gap, the larger its part of the budget."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from lessons.records import Lesson
from lessons.skills import By, SkillProfile
from loops.selectors.base import Choice, by_shares

__all__ = ["ByProfile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByProfile:
    """Chooses lessons by the profile of skills: by its pooled gaps, or by its histogram as STAT does."""

    budget: int = 0
    """Rows that the student is trained on, replayed ones included; 0 takes every candidate."""
    replay: float = 0.3
    """Share of the rows that replay what the student masters, in [0, 1). Aiming at gaps without replay forgets."""
    by: By = "gap"
    """What a skill's part goes by. "gap": its pooled gap, the share of attempts that lack it with few attempts drawn
    towards the other skills; every skill alike, however often the problems need it. "count": how often it was missing,
    the histogram of the Missing-Skill-Profile (arXiv 2510.10023, step 3a), which also weighs how often it is needed."""
    floor: float = 0.0
    """Part of the budget, in [0, 1], that is shared evenly by all skills, whatever the profile says."""

    def __post_init__(self) -> None:
        if not 0 <= self.replay < 1 or not 0 <= self.floor <= 1 or self.budget < 0:
            raise ValueError("budget must be at least 0, replay in [0, 1), floor in [0, 1]")
        if self.by not in get_args(By):
            raise ValueError(f"by must be one of {', '.join(get_args(By))}, got {self.by!r}")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> list[Lesson]:
        """Draw by the profile's shares."""
        return by_shares(candidates, self.shares(choice.profile), budget, choice.rng)

    def shares(self, profile: SkillProfile) -> dict[str, float]:
        """Return each skill's part of the budget, in [0, 1]."""
        shares = profile.shares(self.by)
        even = 1 / len(shares) if shares else 0.0
        return {skill: (1 - self.floor) * share + self.floor * even for skill, share in shares.items()}
