"""The lessons that the student learns late: the smallest share of what it learned of them came early."""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import msgspec

from lessons.errors import InputError
from lessons.records import Lesson
from loops.selectors.base import Budgeted, Choice, foremost, part_of, texts_of
from loops.selectors.pilot import origin_of, pilot
from students.base import Student

__all__ = ["LearningPercentage"]

LAST = -sys.float_info.max
"""The worth of a lesson that has no learning percentage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningPercentage(Budgeted):
    """Keeps the hardest fraction by learning percentage, LP = (ppl_0 - ppl_early) / (ppl_0 - ppl_late).

    A low LP: little was learned early, so the lesson is hard. A lesson of which nothing is learned even late
    (ppl_late >= ppl_0) has no LP and comes last.
    """

    paper: ClassVar[str] = "arXiv:2402.10430"
    of: Literal["rounds", "pilot", "first_epoch"] = "rounds"
    """The checkpoints. "rounds": 0 is the student before any lesson, early the one that the last round began with, late
    the one that is taught now; costs no training. Before the student has learned twice early and late say nothing, and
    lessons are drawn at random. "pilot": as in the paper, the epochs of a training on all candidates: early after one
    epoch, late after all of them; costs two trainings. "first_epoch": the paper's cheaper form (as recalled),
    (ppl_0 - ppl_early) / ppl_0; costs one training of one epoch."""
    fraction: float = 0.33
    """Part of the candidates that is kept, in (0, 1]: a third, as recalled of the paper."""

    def __post_init__(self) -> None:
        Budgeted.__post_init__(self)
        if not 0 < self.fraction <= 1:
            raise ValueError("fraction must be in (0, 1]")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> list[Lesson]:
        """Take those of the lowest LP, lowest first.

        Raises:
            InputError: there is no student; or the checkpoints are epochs of a training of one epoch.
        """
        scores = choice.asked("select: learning_percentage")
        count = part_of(self.fraction, len(candidates), budget)
        if self.of == "rounds":
            seen = [scores.student(name) for name in ("base", "last", "now")]
            if len({student.digest for student in seen}) < 3:
                drawn = choice.rng.sample(list(candidates), count)
                return [msgspec.structs.replace(lesson, share=count / len(candidates)) for lesson in drawn]
        else:
            seen = [origin_of(choice), pilot(candidates, choice, epochs=1.0)]
            seen += [self._after_all(candidates, choice)] if self.of == "pilot" else []
        texts = texts_of(candidates)
        found = [[score.perplexity for score in scores.of(texts, one)] for one in seen]
        learned = [learning_percentage(*row) for row in zip(*found, strict=True)]
        return foremost(candidates, [LAST if math.isnan(value) else -value for value in learned], count)

    def _after_all(self, candidates: Sequence[Lesson], choice: Choice) -> Student:
        if choice.training is not None and choice.training.epochs <= 1:
            raise InputError(
                "select.of: pilot compares the first epoch with the last, and train.epochs is "
                f"{choice.training.epochs:g}; give it more, or take first_epoch"
            )
        return pilot(candidates, choice)


def learning_percentage(start: float, early: float, late: float = 0.0) -> float:
    """Return (start - early) / (start - late) of three perplexities; nan where late is not below start.

    Without `late`: the cheaper (start - early) / start.
    """
    return (start - early) / (start - late) if late < start < math.inf else math.nan
