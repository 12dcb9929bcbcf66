"""Which skills the teacher's work goes to: pairs of a failed attempt and a skill that it lacked, by an aim."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Literal

from lessons.records import Attempt
from loops.selectors.base import allocate

Target = Literal["profile", "shuffled", "uniform"]
"""The aim, and its two controls: the profile with the names of its skills permuted, and all skills alike."""

Pair = tuple[Attempt | None, str]
"""A missed attempt, and a skill that it lacked; None where no attempt lacked the skill that is aimed at."""


def every_pair(missed: Sequence[Attempt]) -> list[Pair]:
    """Return each missed attempt with each skill that it lacked, in order: STAT's own list (arXiv 2510.10023, 3b)."""
    return [(attempt, skill) for attempt in missed for skill in attempt.missing]


def pairs_for(
    count: int, missed: Sequence[Attempt], shares: Mapping[str, float], target: Target, rng: Random
) -> list[Pair]:
    """Return `count` pairs, so that each skill's part is as near as can be to its share.

    A skill's pairs go round its missed attempts in random order; a skill that no attempt lacked has pairs without one.

    Args:
        count: pairs wanted, at least 0.
        missed: the attempts that call for lessons.
        shares: skill -> its part of the teacher's work, at least 0; they need not sum to 1. All 0 counts as all alike.
        target: whose part is whose.
        rng: what is drawn from.
    """
    names = list(shares)
    parts = [shares[name] for name in names]
    if target == "uniform" or not any(parts):
        parts = [1.0] * len(names)
    elif target == "shuffled":
        rng.shuffle(parts)
    quotas = allocate(dict.fromkeys(names, count), dict(zip(names, parts, strict=True)), count)
    pairs: list[Pair] = []
    for skill in names:
        lacking: list[Attempt | None] = [attempt for attempt in missed if skill in attempt.missing]
        rng.shuffle(lacking)
        lacking = lacking or [None]
        pairs += [(lacking[place % len(lacking)], skill) for place in range(quotas[skill])]
    rng.shuffle(pairs)
    return pairs
