"""Answers that must name something: the reference answer, or phrases, stand somewhere in the text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from lessons.answers import fold, spelled_plainly, without_thoughts
from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.records import Problem

__all__ = ["ContainsGrader"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainsGrader:
    """Looks whether the reference answer, or one of several phrases, stands in the text, as whole words.

    It does not read: "not Paris" and a list of every town contain Paris too. Use it where the form of the answer makes
    that unlikely.
    """

    phrases: tuple[str, ...] = ()
    """What is looked for in every answer; none: the problem's reference answer, and behind `separator` what else may
    stand in its place."""
    separator: str = "|"
    """What separates the alternatives of a reference answer, such as "Paris|City of Light"; "" takes it whole."""
    need: Literal["any", "all"] = "any"
    """`any`: one of the phrases must stand in the text; `all`: every one, and the score is the share that does."""
    case: bool = False
    """Whether upper and lower case differ."""
    whole_words: bool = True
    """Whether a phrase must stand alone: "art" does not stand in "party"."""

    def __post_init__(self) -> None:
        if not all(_key(phrase, case=self.case) for phrase in self.phrases):
            raise ValueError("phrases: an empty phrase stands in every text")

    @property
    def needs_answer(self) -> bool:
        """Whether every problem must have a reference answer."""
        return not self.phrases

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer text: 1 or 0, with `need: all` the share of the phrases that stand in it.

        Raises:
            GradeError: the problem has no reference answer to look for, and there are no phrases.
        """
        wanted = self.phrases or self._alternatives(problem)
        where = _key(without_thoughts(text), case=self.case)
        found = [phrase for phrase in wanted if self._stands(_key(phrase, case=self.case), where)]
        lacking = [phrase for phrase in wanted if phrase not in found]
        said = " | ".join(found) or None
        if self.need == "any":
            return Grade(1.0, said) if found else Grade(0.0, None, "none of the phrases stands in it")
        return Grade(len(found) / len(wanted), said, f"lacks {' | '.join(lacking)}"[:200] if lacking else "")

    def read(self, text: str) -> str | None:
        """Return the whole text, or None where it is empty: what is looked for may stand anywhere."""
        return without_thoughts(text).strip() or None

    def same(self, one: str, other: str) -> bool:
        """Whether two texts are spelled alike, but for spaces and edge marks.

        Raises:
            GradeError: one of them is empty.
        """
        keys = spelled_plainly(one, case=self.case), spelled_plainly(other, case=self.case)
        if not all(keys):
            raise GradeError("an empty answer cannot be compared")
        return keys[0] == keys[1]

    def _alternatives(self, problem: Problem) -> Sequence[str]:
        answer = problem.answer or ""
        parts = answer.split(self.separator) if self.separator else [answer]
        kept = tuple(part.strip() for part in parts if _key(part, case=self.case))
        if not kept:
            raise GradeError(f"problem {problem.id} has no reference answer to look for")
        return kept

    def _stands(self, phrase: str, text: str) -> bool:
        return bool(_alone(phrase).search(text)) if self.whole_words else phrase in text


def _key(text: str, *, case: bool) -> str:
    """Return a text with plain signs and one space between words; what stands at its edges counts."""
    plain = " ".join(fold(text).split())
    return plain if case else plain.casefold()


@lru_cache(maxsize=4096)
def _alone(phrase: str) -> re.Pattern[str]:
    """Return what finds a phrase as whole words: a letter or digit at its edge has none beside it, and 3 is not 3.5."""
    before = r"(?<![\w])(?<!\d[.,])" if phrase[0].isalnum() else ""
    behind = r"(?![\w])(?![.,]\d)" if phrase[-1].isalnum() else ""
    return re.compile(before + re.escape(phrase) + behind)
