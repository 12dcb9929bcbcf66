"""The lessons that are hardest to follow: the highest ratio of perplexities with and without the instruction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.errors import RoundError
from lessons.records import Lesson
from loops.ifd import ifd, reverse_ifd
from loops.selectors.base import Budgeted, Choice, foremost, part_of, texts_of

__all__ = ["ByDifficulty"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ByDifficulty(Budgeted):
    """Keeps the top fraction by instruction-following difficulty, IFD = ppl(y | x) / ppl(y), of those below 1.

    Cherry (arXiv 2308.12032) first trains the scorer on about 1,000 items of a k-means over the data; that is left out
    here: the student that is taught has had its lessons, or scores as it is.
    """

    paper: ClassVar[str] = "arXiv:2308.12032"
    fraction: float = 0.1
    """Part of the candidates that is kept, in (0, 1]: 0.05 to 0.1 in the paper (as noted by others)."""
    below: float = 1.0
    """A lesson whose IFD is this or above is never kept: there the instruction does not help with the answer, so that
    the two do not belong together. 1 as in the paper's code."""
    reverse_below: float | None = None
    """The same bound for r-IFD = ppl(x | y, asked to guess the instruction) / ppl(x); null: not asked. 1 in Selective
    Reflection-Tuning (arXiv 2402.10110)."""
    scorer: str = "now"
    """Who scores: "now", the student that is taught; "base", the student before any lesson; or the id of a model, such
    as a far smaller one (Superfiltering, arXiv 2402.00530, scores with GPT-2 of 124M parameters)."""

    def __post_init__(self) -> None:
        Budgeted.__post_init__(self)
        if not 0 < self.fraction <= 1:
            raise ValueError("fraction must be in (0, 1]")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> list[Lesson]:
        """Take the hardest of those within the bounds, hardest first.

        Raises:
            RoundError: no candidate is within the bounds.
        """
        scores = choice.asked("select: ifd")
        worth = ifd(scores, texts_of(candidates), self.scorer)
        worth = [value if value < self.below else float("nan") for value in worth]
        if self.reverse_below is not None:
            reverse = reverse_ifd(scores, texts_of(candidates), self.scorer)
            worth = [v if r < self.reverse_below else float("nan") for v, r in zip(worth, reverse, strict=True)]
        chosen = foremost(candidates, worth, part_of(self.fraction, len(candidates), budget))
        if not chosen and budget:
            raise RoundError(f"select: ifd found none of {len(candidates)} candidates within its bounds")
        return chosen
