"""The selector's port, and what every selector shares: the budget, and the rows that replay what is mastered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from lessons.records import Attempt, Lesson, Problem
from lessons.skills import SkillProfile
from students.base import Student, Training

if TYPE_CHECKING:
    from loops.scores import Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What a selector or an order may look at beside the candidates."""

    profile: SkillProfile
    rng: Random
    index: int = 1
    """The round, from 1."""
    rounds: int = 1
    """Rounds that the run is to have."""
    profiles: Sequence[SkillProfile] = ()
    """Of the rounds so far, oldest first; the last one is `profile`."""
    attempts: Sequence[Attempt] = ()
    """Of this round."""
    earlier: Sequence[Lesson] = ()
    """Lessons of earlier rounds whose student was kept, the warm-up's first."""
    problems: Sequence[Problem] = ()
    """The train problems."""
    scores: "Scores | None" = None
    """How probable the student finds texts; None where there is no student to be asked (an estimate)."""
    student: Student | None = None
    """The student that is taught in this round."""
    training: Training | None = None
    """How it is going to be trained, for selectors that train a pilot."""
    folder: Path | None = None
    """Where a selector may keep what it makes on the way, such as a pilot's weights; the round's own."""
    seed: int = 0


class Selector(Protocol):
    """Chooses, weighs and orders the lessons of a round. Its fields are its knobs."""

    @property
    def budget(self) -> int:
        """Rows that the student is trained on, replayed ones included; 0 sets no bound."""
        ...

    @property
    def replay(self) -> float:
        """Share of the rows that replay what the student masters, in [0, 1)."""
        ...

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> list[Lesson]:
        """Return at most `budget` of the candidates, weighed and in the order of training."""
        ...


@runtime_checkable
class AimingSelector(Selector, Protocol):
    """A selector that gives each skill a part of the budget; methods may let the teacher's work go by the same."""

    def shares(self, profile: SkillProfile) -> Mapping[str, float]:
        """Return each skill's part, at least 0."""
        ...


def aim_of(selector: Selector, profile: SkillProfile) -> Mapping[str, float]:
    """Return each skill's part of the budget by a selector's aim; none where it aims at no skill."""
    return selector.shares(profile) if isinstance(selector, AimingSelector) else {}


def new_rows(budget: int, replay: float, candidates: int) -> int:
    """Return how many new lessons a budget leaves room for."""
    return candidates if budget <= 0 else min(candidates, round(budget * (1 - replay)))


def replay_rows(new: int, replay: float) -> int:
    """Return how many replayed rows go with so many new ones, for a share in [0, 1)."""
    return round(new * replay / (1 - replay)) if 0 < replay < 1 else 0


def by_shares(candidates: Sequence[Lesson], shares: Mapping[str, float], budget: int, rng: Random) -> list[Lesson]:
    """Return `budget` candidates so that each skill's part is as near as can be to its share.

    Parts are whole numbers by largest remainder; what a skill has not enough candidates for goes to the others by
    their shares. Within a skill the choice is uniform. The order is shuffled. Each lesson's `share` is the
    probability with which it was drawn.
    """
    of_skill: dict[str, list[Lesson]] = {}
    for lesson in candidates:
        of_skill.setdefault(lesson.provenance.skill or "", []).append(lesson)
    quotas = allocate({skill: len(rows) for skill, rows in of_skill.items()}, shares, budget)
    chosen: list[Lesson] = []
    for skill, rows in of_skill.items():
        quota = quotas[skill]
        drawn = rng.sample(range(len(rows)), quota)
        chosen += [msgspec.structs.replace(rows[index], share=quota / len(rows)) for index in sorted(drawn)]
    rng.shuffle(chosen)
    return chosen


def allocate(available: Mapping[str, int], shares: Mapping[str, float], budget: int) -> dict[str, int]:
    """Return how many of each skill to take: budget by shares, never more than there are.

    Skills without a share get rows only when those with one have run out.
    """
    budget = min(budget, sum(available.values()))
    taken = dict.fromkeys(available, 0)
    while (left := budget - sum(taken.values())) > 0:
        room = {skill: count - taken[skill] for skill, count in available.items() if count > taken[skill]}
        mass = sum(shares.get(skill, 0.0) for skill in room)
        wanted = {skill: left * (shares.get(skill, 0.0) / mass if mass else 1 / len(room)) for skill in room}
        whole = {skill: min(int(want), room[skill]) for skill, want in wanted.items()}
        for skill, count in whole.items():
            taken[skill] += count
        if any(int(want) > whole[skill] for skill, want in wanted.items()):
            continue  # a skill has run out: what it leaves is shared again
        # The largest remainders get one each, ties in order of name.
        rest = left - sum(whole.values())
        open_skills = [skill for skill in room if whole[skill] < room[skill]]
        for skill in sorted(open_skills, key=lambda s: (whole[s] - wanted[s], s))[:rest]:
            taken[skill] += 1
    return taken
