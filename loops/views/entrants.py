"""The runs that are compared: what is read of each, which are seeds of one recipe, and who stands beside whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from lessons.errors import InputError
from lessons.ids import digest
from lessons.records import Attempt
from loops.reading import RoundView, RunView

Answers = list[Attempt]
"""An exam, without the answers' texts."""


@dataclass(frozen=True)
class Entrant:
    """One run, and what is read of it once."""

    run: RunView
    final: bool
    """Whether its end is taken from the final exam."""

    @cached_property
    def end(self) -> RoundView:
        """The round whose student the run ended with, or stands with."""
        best = self.run.final.round if self.final and self.run.final else None
        if best is None and self.run.finished is not None:
            best = self.run.finished.best
        examined = [turn for turn in self.run.examined if turn.index == best] or [
            turn for turn in self.run.examined if turn.metrics is not None and turn.metrics.promoted
        ]
        if not examined:
            raise InputError(f"{self.run.path}: has no exam yet; there is nothing to compare")
        return examined[-1]

    @cached_property
    def exams(self) -> dict[int, Answers]:
        """Round -> its held-out exam."""
        return {turn.index: [_slim(attempt) for attempt in turn.exam()] for turn in self.run.examined}

    @cached_property
    def ends(self) -> Answers:
        """The exam that its end is compared by."""
        return [_slim(attempt) for attempt in self.end.final()] if self.final else self.exams[self.end.index]

    @cached_property
    def starts(self) -> Answers:
        """The same exam of the student before any lesson; empty where it was not taken."""
        first = self.run.round(0)
        if self.final:
            return [_slim(attempt) for attempt in first.final()] if first else []
        return self.exams.get(0, [])

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """What its results depend on, without the seed."""
        return {key: value for key, value in _lasting(self.run).items() if key != "seed"}

    @property
    def seed(self) -> int | None:
        """The recipe's seed."""
        seed = self.run.recipe.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def base(self) -> str:
        """Digest of the student before any lesson."""
        first = self.run.round(0)
        return first.metrics.student if first and first.metrics else ""


Pairs = list[tuple[Entrant, Entrant]]


def grouped(entrants: Sequence[Entrant]) -> dict[str, list[Entrant]]:
    """Return letter -> runs of one recipe, in the order of first sight."""
    by_recipe: dict[str, list[Entrant]] = {}
    for place, one in enumerate(entrants):
        key = digest(one.recipe) if one.recipe else str(place)
        by_recipe.setdefault(key, []).append(one)
    return {_letter(place): ones for place, ones in enumerate(by_recipe.values())}


def _letter(place: int) -> str:
    return chr(ord("A") + place) if place < 26 else f"Z{place - 25}"


def named(groups: Mapping[str, Sequence[Entrant]]) -> dict[str, Entrant]:
    """Return the runs by name: the letter of the group, with a number where it has several."""
    return {
        group if len(ones) == 1 else f"{group}{number}": one
        for group, ones in groups.items()
        for number, one in enumerate(ones, start=1)
    }


def side_by_side(ones: Sequence[Entrant], others: Sequence[Entrant]) -> Pairs:
    """Put runs side by side by their seed, or in order where no seed is in both groups."""
    by_seed = {other.seed: other for other in others}
    same = [(one, by_seed[one.seed]) for one in ones if one.seed is not None and one.seed in by_seed]
    return same or list(zip(ones, others, strict=False))


def _slim(attempt: Attempt) -> Attempt:
    return msgspec.structs.replace(attempt, text="", note="")


def shared_problems(exams: Sequence[Answers]) -> frozenset[str]:
    """Return the ids of the problems that stand in every one of these exams."""
    first, *others = ({attempt.problem.id for attempt in exam} for exam in exams)
    return frozenset(first.intersection(*others))


def _lasting(run: RunView) -> Mapping[str, Any]:
    """Return the part of the recipe that results depend on, or all of it where it cannot be told apart here."""
    from loops.recipe import resolve

    try:
        return resolve(run.recipe, folder=run.path).lasting()
    except InputError:  # a plug-in of the user's, or a file, that is not on this machine
        return run.recipe
