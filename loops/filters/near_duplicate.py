"""Drop a candidate that is nearly the same as an earlier one, in this round or before: MinHash, then exact Jaccard."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import ClassVar

from lessons.records import Lesson
from loops.filters.base import Context, Drop, every
from loops.likeness.minhash import bands_for, near_duplicates
from loops.likeness.shingles import Of, Unit, parts_of

__all__ = ["NearDuplicate"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicate:
    """Keeps the first of candidates whose sets of n-grams are nearly one: the Jaccard index reaches the threshold.

    Each drop is near a lesson that is kept, which its detail names. A pair at the threshold is found with a probability
    of 0.98 at least, and no other pair is taken for one: see `loops.likeness.minhash`. Problems of one template with
    other numbers mostly stay: one changed word changes n n-grams.
    """

    paper: ClassVar[str] = "our own: MinHash (Broder 1997) with bands, each candidate pair checked exactly"
    threshold: float = 0.8
    """Jaccard index of two sets of n-grams, in (0, 1], from which two lessons are nearly the same. 0.8 is what large
    corpora are commonly cleaned with (recalled)."""
    n: int = 3
    """Words (or characters) of an n-gram, at least 1. Our choice for lessons of some ten words; for characters take 5
    to 9."""
    unit: Unit = "words"
    """What n-grams are of; case, white space and punctuation (for words) do not count."""
    of: Of = "both"
    """Which text is compared. With `prompt`, a second solution of one problem is a near-duplicate of the first."""
    permutations: int = 128
    """MinHash values of a text; more of them spare comparisons, and take time themselves."""
    earlier: bool = True
    """Drop what is nearly the same as a lesson of an earlier round, too."""

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be above 0 and at most 1, got {self.threshold}")
        if self.n < 1:
            raise ValueError(f"n must be at least 1, got {self.n}")
        bands_for(self.threshold, self.permutations)

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge the candidates in order."""
        return every(lessons, self.verdicts(lessons, context))

    def verdicts(self, lessons: Sequence[Lesson], context: Context) -> Iterator[Drop | None]:
        """Judge the candidates in order, by what is small of each."""
        known = context.earlier if self.earlier else ()
        nearest = near_duplicates(
            (parts_of(lesson, self.of) for lesson in chain(known, lessons)),
            threshold=self.threshold, n=self.n, unit=self.unit, permutations=self.permutations, known=len(known),
        )  # fmt: skip
        for near in islice(nearest, len(known), None):
            if near < 0:
                yield None
            elif near < len(known):
                yield Drop("nearly the same as a lesson of an earlier round", known[near].id)
            else:
                yield Drop("nearly the same as an earlier candidate", lessons[near - len(known)].id)
