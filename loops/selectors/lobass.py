"""The lessons that can be learned: those whose loss falls most when a pilot is trained on everything."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.errors import RoundError
from lessons.records import Lesson
from loops.selectors.base import Budgeted, Choice, foremost, part_of, texts_of
from loops.selectors.pilot import origin_of, pilot

__all__ = ["LoBaSS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoBaSS(Budgeted):
    """Keeps the top fraction by learnability, (loss_base - loss_reference) / loss_base, and none of 0 or below.

    The reference is a pilot, trained on all candidates from where the round's training starts; the base is the student
    that it starts from. Loss is the mean over the completion's tokens. Costs one training more.
    """

    paper: ClassVar[str] = "arXiv:2310.13008"
    fraction: float = 0.167
    """Part of the candidates that is kept, in (0, 1]: 0.167 balances chat and mathematics in the paper's abstract, 0.06
    beats all of the data there."""
    normalised: bool = True
    """Whether the fall is divided by the loss before it, as in the paper (as recalled)."""
    above: float = 0.0
    """A lesson of this learnability or below is never kept: the pilot got no better at it."""
    epochs: float = 0.0
    """Passes of the pilot over the candidates; 0: as the round's training."""

    def __post_init__(self) -> None:
        Budgeted.__post_init__(self)
        if not 0 < self.fraction <= 1 or self.epochs < 0:
            raise ValueError("fraction must be in (0, 1], epochs at least 0")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> list[Lesson]:
        """Train the pilot, and take those that it learned best, best first.

        Raises:
            RoundError: the pilot learned none of the candidates.
        """
        scores = choice.asked("select: lobass")
        reference = pilot(candidates, choice, self.epochs)
        texts = texts_of(candidates)
        before = [score.loss for score in scores.of(texts, origin_of(choice))]
        after = [score.loss for score in scores.of(texts, reference)]
        worth = [self.learnability(one, other) for one, other in zip(before, after, strict=True)]
        chosen = foremost(candidates, worth, part_of(self.fraction, len(candidates), budget), least=self.above)
        if not chosen and budget:
            raise RoundError(f"select: lobass: the pilot got better at none of {len(candidates)} candidates")
        return chosen

    def learnability(self, before: float, after: float) -> float:
        """Return by how much a loss fell, as a share of itself where `normalised`; 0 where it was 0."""
        fall = before - after
        if not self.normalised:
            return fall
        return fall / before if before > 0 else 0.0
