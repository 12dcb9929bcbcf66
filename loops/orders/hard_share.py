"""Easy and hard lessons mixed, with a share of hard ones that rises through the epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.hardness import By, hardness
from loops.selectors.base import Choice

__all__ = ["RisingHardShare"]

EXACT = 1e-9
"""Hardness this near to the bound is the bound."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RisingHardShare:
    """Lets the share of hard lessons rise in a straight line through the epoch; the same order in every epoch.

    Which lessons there are stays as the selector chose (the selector `hard_share` lets the share rise over the rounds):
    with a share h of hard ones in all, the share at the part t of the epoch is h + rise * (2 t - 1) * min(h, 1 - h).
    Among the easy and among the hard lessons the order is random.
    """

    paper: ClassVar[str] = "arXiv:2405.13448"
    shuffles: ClassVar[bool] = False
    rise: float = 1.0
    """How steep, in [0, 1]: 1 is as steep as can be (only easy ones at the start, or only hard ones at the end), 0 an
    even mixture. Our own: the paper's share rises from one training to the next."""
    by: By = "success"
    """What hardness goes by. "success": 1 - the mean score of the attempts at the problem. "loss": the student's mean
    token loss on the completion."""
    above: float = 0.2
    """A lesson is hard above this. For "success", in [0, 1]: 0.2 is TAPIR's bound of 2 on a scale of 10 points. For
    "loss": in nats."""

    def __post_init__(self) -> None:
        if not 0 <= self.rise <= 1 or self.above < 0:
            raise ValueError("rise must be in [0, 1], above at least 0")

    def order(self, lessons: Sequence[Lesson], choice: Choice) -> list[Lesson]:
        """Return the lessons so that after every part of the epoch as many hard ones as should have come have come."""
        values = hardness(lessons, choice, self.by, "order: hard_share")
        hard = [lesson for lesson, value in zip(lessons, values, strict=True) if value > self.above + EXACT]
        easy = [lesson for lesson, value in zip(lessons, values, strict=True) if value <= self.above + EXACT]
        choice.rng.shuffle(hard)
        choice.rng.shuffle(easy)
        ordered: list[Lesson] = []
        given = 0
        for place in range(len(lessons)):
            due = len(lessons) * self.hard_by((place + 1) / len(lessons), len(hard) / len(lessons))
            # Never more easy ones than there are: what is left over at the end is hard, as it should be.
            if given < len(hard) and (given + 0.5 <= due or place - given >= len(easy)):
                ordered.append(hard[given])
                given += 1
            else:
                ordered.append(easy[place - given])
        return ordered

    def hard_by(self, part: float, share: float) -> float:
        """Return how many hard lessons have come after a part of the epoch, as a share of all lessons.

        share: of hard lessons in all, in [0, 1]. The integral of the line from 0 to `part`.
        """
        return part * share + self.rise * min(share, 1 - share) * part * (part - 1)
