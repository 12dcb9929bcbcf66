"""Drop what is not written in the expected language or script: teachers slip into another one, mostly in reasoning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from lessons.records import Lesson
from loops.filters.base import Context, Drop
from loops.likeness.languages import LANGUAGES, language_of, scripts_of
from loops.likeness.shingles import Of, parts_of

__all__ = ["Language"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Keeps candidates in one language, as told by Unicode's scripts and by function words, without any model.

    The prompt and the completion are judged each by itself. Formulas and short answers cannot be told and are kept.
    Languages that are close (Spanish and Portuguese, Russian and Ukrainian) may be taken for one another in one short
    sentence.
    """

    paper: ClassVar[str] = "our own: scripts and function words"
    alone: ClassVar[bool] = True
    """It judges each candidate by itself."""
    expected: str = "en"
    """Code of the language: one of ar bg bn de el en es fa fr he hi hy id it ja ka ko nl pl pt ru sv ta te th tr uk ur
    vi zh."""
    of: Of = "both"
    """Which text is judged."""
    foreign: float = 0.1
    """Share of a text's letters, in [0, 1], that other scripts may have. Our choice: a word that is quoted, Greek in a
    formula."""
    untold: Literal["keep", "drop"] = "keep"
    """What happens to a text of letters whose language cannot be told."""

    def __post_init__(self) -> None:
        if self.expected not in LANGUAGES:
            raise ValueError(f"expected must be one of {' '.join(sorted(LANGUAGES))}, got {self.expected!r}")
        if not 0 <= self.foreign <= 1:
            raise ValueError(f"foreign must lie in [0, 1], got {self.foreign}")

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        return [
            next((drop for part in parts_of(lesson, self.of) if (drop := self._wrong(part))), lesson)
            for lesson in lessons
        ]

    def _wrong(self, text: str) -> Drop | None:
        scripts = scripts_of(text)
        letters = scripts.total()
        if not letters:
            return None
        others = {name: count for name, count in scripts.items() if name not in LANGUAGES[self.expected].scripts}
        if sum(others.values()) > self.foreign * letters:
            return Drop("another script", max(others, key=lambda name: others[name]))
        told = language_of(text)
        if told is None:
            return Drop("language cannot be told") if self.untold == "drop" else None
        return None if told == self.expected else Drop("another language", f"{told} instead of {self.expected}")
