"""Drop what the student finds too easy or unrelated, by how much the instruction helps it with the answer (IFD)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.errors import InputError
from lessons.records import Lesson
from loops import ifd
from loops.filters.base import Context, Drop

__all__ = ["IFD"]


@dataclass(frozen=True, slots=True, kw_only=True)
class IFD:
    """Keeps candidates whose IFD is above one bound and below another, and whose reverse IFD is below a third.

    IFD = ppl(completion | prompt) / ppl(completion). From 1 on, the prompt does not help with the answer: the two do
    not belong together. Selective Reflection-Tuning (arXiv 2402.10110) asks for IFD < 1 and reverse IFD < 1 under the
    raw student; Cherry (arXiv 2308.12032) for IFD < 1 alone; in Superfiltering (arXiv 2402.00530) a small model scores.
    """

    paper: ClassVar[str] = "arXiv:2308.12032, arXiv:2402.10110, arXiv:2402.00530"
    student: ClassVar[str] = "token scores: 2 texts a candidate, 4 with reverse IFD"
    alone: ClassVar[bool] = True
    """It judges each candidate by itself."""
    needs_scores: ClassVar[bool] = True
    """The student scores, and needs room for it."""
    below: float | None = 1.0
    """IFD must be below this; 1 as in all three papers. null: no bound."""
    above: float = 0.0
    """IFD must be above this: below, the student can do it already. 0 sets no bound, as in the papers."""
    reverse_below: float | None = None
    """Reverse IFD must be below this; 1 in Selective Reflection-Tuning; null: it is not asked for."""
    scorer: str = "now"
    """Who scores: `now`, the student that is taught in this round; `base`, the student before any lesson (the papers'
    raw student); or the id of a model (Superfiltering took GPT-2, 124M)."""

    def __post_init__(self) -> None:
        if not 0 <= self.above < (math.inf if self.below is None else self.below):
            raise ValueError(f"above must be at least 0 and less than below, got {self.above} and {self.below}")
        if self.reverse_below is not None and not self.reverse_below > 0:
            raise ValueError(f"reverse_below must be above 0, got {self.reverse_below}")

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself.

        Raises:
            InputError: there is no student here (an estimate), or none of the scorer's name.
            StudentError: the scorer cannot take any of the candidates.
        """
        if context.scores is None:
            raise InputError("filter 'ifd' scores texts with a student, and there is none here")
        rows = [(lesson.prompt, lesson.completion) for lesson in lessons]
        plain = ifd.ifd(context.scores, rows, self.scorer)
        asked = [place for place, ratio in enumerate(plain) if self._by_ifd(ratio) is None]
        turned: dict[int, float] = {}
        if self.reverse_below is not None:
            found = ifd.reverse_ifd(context.scores, [rows[place] for place in asked], self.scorer)
            turned = dict(zip(asked, found, strict=True))
        return [
            self._by_ifd(ratio) or self._by_reverse(turned.get(place)) or lessons[place]
            for place, ratio in enumerate(plain)
        ]

    def _by_ifd(self, ratio: float) -> Drop | None:
        if math.isnan(ratio):
            return Drop("IFD cannot be told")
        if self.below is not None and ratio >= self.below:
            return Drop("IFD too high", f"{ratio:.3f}")
        return Drop("IFD too low", f"{ratio:.3f}") if ratio <= self.above and self.above > 0 else None

    def _by_reverse(self, ratio: float | None) -> Drop | None:
        if ratio is None or self.reverse_below is None or ratio < self.reverse_below:
            return None
        return Drop("reverse IFD cannot be told") if math.isnan(ratio) else Drop("reverse IFD too high", f"{ratio:.3f}")
