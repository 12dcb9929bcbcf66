"""Lessons by a given mixture of skills or subjects, whatever the student lacks (TAPIR, arXiv 2405.13448)."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import msgspec

from lessons.records import Lesson
from loops.selectors.base import Budgeted, Choice, aimed_skill, by_shares

__all__ = ["Balance"]

OTHERS = "others"
"""The share of all kinds that a mixture does not name."""
_RARE = (
    "writing", "computer science", "complex format", "common-sense", "counterfactual", "multilingual", "roleplay",
    "biology", "technology", "ethics", "sport", "law", "medicine", "literature", "entertainment", "art", "music",
    "toxicity", "economy", "physics", "history", "chemistry", "philosophy", "health", "ecology", "grammar",
    "paraphrase",
)  # fmt: skip
TAPIR: Mapping[str, float] = {
    "math": 0.167, "reasoning": 0.167, "code generation": 0.083, "code debug": 0.083, **dict.fromkeys(_RARE, 0.017),
    OTHERS: 0.041,
}  # fmt: skip
"""Task type -> share, as the authors' released operator has it (EasyDistill's `instruction_balance`); sums to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance(Budgeted):
    """Resamples the lessons to a target mixture: what is too frequent is thinned, what is too rare weighs more."""

    paper: ClassVar[str] = "arXiv:2405.13448"
    of: Literal["skill", "subject"] = "skill"
    """What the mixture is of: the skill that a lesson aims at (TAPIR's task types, where its method names them), or the
    subject of its problem."""
    mixture: Literal["even", "tapir"] = "even"
    """The target where `target` is not given: every kind that there are candidates of alike, or the shares of task
    types of TAPIR's released operator (mathematics and reasoning 16.7 % each, code generation and debugging 8.3 % each,
    27 others 1.7 % each, the rest 4.1 %)."""
    target: dict[str, float] = field(default_factory=dict[str, float])
    """Name -> share, at least 0; made to sum to 1. "others" is for all names that it does not have; without it, those
    are taken only when the named ones have run out. Case, hyphens and underscores do not matter."""
    short: Literal["spread", "weigh"] = "weigh"
    """What becomes of the rows that a kind has too few candidates for. "weigh": they go to the others, and the weights
    in the loss make up for it, each kind's share / its part of the rows (the paper's 1 / imbalance; the released
    operator repeats the rows instead, which is the same in whole numbers). "spread": they go to the others, and that is
    all."""

    def __post_init__(self) -> None:
        Budgeted.__post_init__(self)
        if any(not 0 <= share < math.inf for share in self.target.values()):
            raise ValueError("target: every share must be at least 0")
        if self.target and not any(self.target.values()):
            raise ValueError("target: some share must be above 0")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> Sequence[Lesson]:
        """Draw by the mixture's shares, and weigh what is still out of balance."""
        shares = self.shares_of(sorted({self.kind(lesson) for lesson in candidates}))
        chosen = by_shares(candidates, shares, budget, choice.rng, self.kind)
        return self._weighed(chosen) if self.short == "weigh" else chosen

    def kind(self, lesson: Lesson) -> str:
        """Return what counts as a lesson's kind, as names are compared."""
        return _key(aimed_skill(lesson) if self.of == "skill" else lesson.problem.subject)

    def shares_of(self, kinds: Sequence[str]) -> dict[str, float]:
        """Return the share of each kind that there are candidates of; sums to 1, or all 0 where none is wanted.

        kinds: as `kind` names them. Those that the mixture does not name have its "others" together, each alike.
        """
        target = {_key(name): share for name, share in self._target(kinds).items()}
        unnamed = [kind for kind in kinds if kind not in target or kind == OTHERS]
        rest = target.get(OTHERS, 0.0) / len(unnamed) if unnamed else 0.0
        shares = {kind: rest if kind in unnamed else target[kind] for kind in kinds}
        whole = math.fsum(shares.values())
        return {kind: share / whole if whole else 0.0 for kind, share in shares.items()}

    def _target(self, kinds: Sequence[str]) -> Mapping[str, float]:
        if self.target:
            return self.target
        return TAPIR if self.mixture == "tapir" else dict.fromkeys(kinds, 1.0)

    def _weighed(self, chosen: Sequence[Lesson]) -> list[Lesson]:
        """Weigh each kind's rows by share / part of the rows; kinds without a share, and the mean weight, stay."""
        shares = self.shares_of(sorted({self.kind(lesson) for lesson in chosen}))
        rows = Counter(self.kind(lesson) for lesson in chosen if shares[self.kind(lesson)] > 0)
        wanted = math.fsum(shares[kind] for kind in rows)
        every = sum(rows.values())
        scale = {kind: shares[kind] / wanted * every / count for kind, count in rows.items()}
        return [
            msgspec.structs.replace(lesson, weight=lesson.weight * scale.get(self.kind(lesson), 1.0))
            for lesson in chosen
        ]


def _key(name: str) -> str:
    return " ".join(name.replace("_", " ").replace("-", " ").split()).casefold()
