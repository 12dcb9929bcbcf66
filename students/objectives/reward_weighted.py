"""Reward-weighted regression: the better a completion, the more its loss counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.errors import StudentError
from lessons.records import Lesson
from students.objectives.base import REPLAYED, Desk
from students.objectives.tokens import TokenObjective
from students.preflight import Checked

__all__ = ["RewardWeighted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardWeighted(TokenObjective):
    """A lesson's loss is exp(reward / tau) x the mean negative log-likelihood of its tokens; the step's is their mean.

    Rewards are in [0, 1] as RISE has them, though any finite number is taken. A replayed lesson that brings no reward
    is a right answer of the student's own, and counts as 1.
    """

    paper: ClassVar[str] = "arXiv:2407.18219"
    tau: float = 0.4
    """Temperature; 0.4 as in RISE's data conversion."""
    normalise: bool = False
    """Divide by the sum of the factors in the place of their number. RISE does not, so its learning rate (1e-5, cosine,
    warm-up 0.04) goes with factors of up to exp(1 / 0.4) = 12."""

    def __post_init__(self) -> None:
        if not self.tau > 0:
            raise ValueError(f"tau must be above 0, got {self.tau:g}")

    def check(self, lessons: Sequence[Lesson], desk: Desk) -> Checked:
        """Refuse lessons without a reward too."""
        for lesson in lessons:
            if lesson.reward is None and lesson.provenance.method not in REPLAYED:
                raise StudentError(
                    f"lesson {lesson.id}: it has no reward, and reward_weighted goes by rewards; "
                    "use a method that gives them (rise), or objective: sft"
                )
            if not math.isfinite(_reward(lesson)):
                raise StudentError(f"lesson {lesson.id}: its reward is {lesson.reward}; a reward is a finite number")
        return TokenObjective.check(self, lessons, desk)

    def coefficients(self, lesson: Lesson, weights: Sequence[float]) -> tuple[list[float], float]:
        """Return exp(reward / tau) x weight / tokens for each token, and the lesson's part of the mean."""
        factor = lesson.weight * math.exp(_reward(lesson) / self.tau)
        whole = sum(weights)
        return [factor * weight / whole for weight in weights], factor if self.normalise else lesson.weight


def _reward(lesson: Lesson) -> float:
    return 1.0 if lesson.reward is None else lesson.reward
