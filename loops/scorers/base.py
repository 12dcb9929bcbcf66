"""The scorer's port: rewards for the steps of a solution. A module of this folder, or `package.module:Name`.

Process rewards tell which attempts call for lessons without any reference answer (STAT, arXiv 2510.10023, step 1).
"""

import re
from collections.abc import Sequence
from statistics import fmean
from typing import Literal, NamedTuple, Protocol

from students.base import Progress

Cut = Literal["auto", "paragraphs", "lines", "sentences"]
"""Where a solution is cut into steps."""

LAST = 0.85
"""tau1: the reward that the last step and the mean must pass (STAT, arXiv 2510.10023, step 1)."""
ANY = 0.7
"""tau2: the reward that every other step must pass (STAT, as above)."""

_BLANK_LINES = re.compile(r"\n[ \t\r]*\n\s*")
_SENTENCE_END = re.compile(r"(?<=[.!?])[ \t]+(?=[A-Z])")


class Solution(NamedTuple):
    """What a scorer judges: never the reference answer."""

    question: str
    steps: tuple[str, ...]
    """At least one, each with words."""


class StepScorer(Protocol):
    """Says how good each step of a solution is. Its fields are its knobs."""

    async def score(
        self, solutions: Sequence[Solution], *, progress: Progress | None = None
    ) -> list[list[float]]:  # [solution][step]
        """Return a reward in [0, 1] for each step, first to last; an empty list where it cannot tell.

        Raises:
            TutelageError: it can score nothing at all: no such model, an endpoint that has no scores.
        """
        ...

    def close(self) -> None:
        """Give back models and connections; may be called twice. The next call brings them back."""
        ...


def steps_of(text: str, cut: Cut = "auto") -> tuple[str, ...]:
    """Return the steps of a solution, in order, none of them blank; empty for a blank text.

    `paragraphs` cuts at blank lines, as RLHFlow's reward models were trained (they split at two line ends), `lines` at
    every line end, `sentences` at both and behind a full stop before a capital. `auto` takes paragraphs where the text
    has a blank line inside, else lines.
    """
    whole = text.strip()
    paragraphs = _BLANK_LINES.split(whole)
    has_paragraphs = cut == "paragraphs" or (cut == "auto" and len(paragraphs) > 1)
    pieces = paragraphs if has_paragraphs else whole.splitlines()
    if cut == "sentences":
        pieces = [sentence for line in pieces for sentence in _SENTENCE_END.split(line)]
    return tuple(piece.strip() for piece in pieces if piece.strip())


def is_difficult(rewards: Sequence[float], *, last: float = LAST, any_: float = ANY) -> bool | None:
    """Return whether a solution calls for lessons by its steps' rewards; None where there is no reward.

    It does where the last reward or the mean of all is at most `last` (tau1), or one before the last is at most `any_`
    (tau2): STAT, arXiv 2510.10023, step 1.
    """
    if not rewards:
        return None
    return rewards[-1] <= last or fmean(rewards) <= last or any(reward <= any_ for reward in rewards[:-1])
