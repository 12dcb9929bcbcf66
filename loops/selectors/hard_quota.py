"""At least so many rows for each hard problem, at most so many for any: tail problems do not vanish among easy ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

import msgspec

from lessons.records import Lesson
from loops.hardness import by_success
from loops.selectors.base import Budgeted, Choice

__all__ = ["HardQuota"]

EXACT = 1e-9
"""Success rates this near are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HardQuota(Budgeted):
    """Gives every hard problem its quota before any easy one gets a row, and caps the rows of each problem.

    Methods that answer a problem many times (rft, rest_em, gsi) find most right answers on easy problems. First each
    hard problem gets rows one by one, up to `at_least_hard` or as many as it has; the rest of the budget is drawn at
    random from all rows that are left.
    """

    paper: ClassVar[str] = "arXiv:2411.00750"
    at_least_hard: int = 4
    """Rows of each hard problem that come before all others: 4 as in GSI; 0 sets no quota."""
    hard_below: float = 0.5
    """A problem is hard where the mean score of this round's attempts at it is below this, in [0, 1]: fewer than 4 of 8
    right answers in GSI's script. For a new problem: of the problem that it was written from, else of its skill."""
    per_problem: int = 10
    """Most rows of one problem, drawn at random: 10 as in ReST-EM (arXiv 2312.06585, as recalled); 0 sets no bound, as
    in GSI's script."""

    def __post_init__(self) -> None:
        Budgeted.__post_init__(self)
        if self.at_least_hard < 0 or self.per_problem < 0 or not 0 <= self.hard_below <= 1:
            raise ValueError("at_least_hard and per_problem must be at least 0, hard_below in [0, 1]")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> list[Lesson]:
        """Give the hard problems their quota, then draw from what is left."""
        groups: dict[str, list[Lesson]] = {}
        for lesson in candidates:
            groups.setdefault(lesson.problem.id, []).append(lesson)
        misses = by_success([rows[0] for rows in groups.values()], choice.attempts, choice.profile)
        hard = {name for name, miss in zip(groups, misses, strict=True) if 1 - miss < self.hard_below - EXACT}
        # Every problem's rows in random order, cut to the cap.
        decks = {name: choice.rng.sample(rows, self._most(rows)) for name, rows in groups.items()}
        quotas, expected = self._quotas({n: len(deck) for n, deck in decks.items() if n in hard}, budget, choice.rng)
        rest = [(name, place) for name, deck in decks.items() for place in range(quotas.get(name, 0), len(deck))]
        drawn = choice.rng.sample(rest, min(len(rest), budget - sum(quotas.values())))
        part = len(drawn) / len(rest) if rest else 0.0
        taken = [(name, place) for name, quota in quotas.items() for place in range(quota)] + drawn
        choice.rng.shuffle(taken)
        return [
            msgspec.structs.replace(
                decks[name][place],
                share=(expected.get(name, 0.0) + part * (len(decks[name]) - quotas.get(name, 0))) / len(groups[name]),
            )
            for name, place in taken
        ]

    def _most(self, rows: Sequence[Lesson]) -> int:
        return min(len(rows), self.per_problem or len(rows))

    def _quotas(self, rows: dict[str, int], budget: int, rng: Random) -> tuple[dict[str, int], dict[str, float]]:
        """Return the rows of each hard problem that come first, and how many were to be expected of a random tie.

        One row each, then a second one each, ...; where the budget does not reach for all of a turn, those who get one
        are drawn.
        """
        quotas, expected = dict.fromkeys(rows, 0), dict.fromkeys(rows, 0.0)
        for turn in range(self.at_least_hard):
            open_ones = [name for name, count in rows.items() if count > turn]
            left = budget - sum(quotas.values())
            if not open_ones or left <= 0:
                break
            served = open_ones if left >= len(open_ones) else rng.sample(open_ones, left)
            for name in open_ones:
                expected[name] += len(served) / len(open_ones)
            for name in served:
                quotas[name] += 1
        return quotas, expected
