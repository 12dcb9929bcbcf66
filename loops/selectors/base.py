"""The selector's port, and what every selector shares: the budget, and the rows that replay what is mastered."""

import math
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from msgspec.structs import replace

from lessons.errors import InputError
from lessons.records import Attempt, Lesson, Problem
from lessons.skills import SkillProfile
from loops.stored import picked
from students.base import Student, Training

if TYPE_CHECKING:
    from loops.scores import Scores, Text
    from loops.tasks.base import Task


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
    """Where a selector may keep what it makes on the way, such as a pilot's weights; the round's own. It is there again
    when a stage that was stopped begins anew, so what lies in it is named by its content."""
    folders: Sequence[Path] = ()
    """The same of the earlier rounds, oldest first."""
    task: "Task | None" = None
    """What is learned; None where there is none (tests of selection alone)."""
    seed: int = 0

    def asked(self, who: str) -> "Scores":
        """Return what scores texts; `who` asks, for the error.

        Raises:
            InputError: there is no student to be asked.
        """
        if self.scores is None:
            raise InputError(f"{who} goes by how probable the student finds texts, and there is no student here")
        return self.scores


class Selector(Protocol):
    """Chooses, weighs and orders the lessons of a round. Its fields are its knobs."""

    @property
    def budget(self) -> int:
        """Rows of the round, replayed ones included; 0 sets no bound. Where training starts from the base model, the
        lessons of earlier rounds come on top."""
        ...

    @property
    def replay(self) -> float:
        """Share of the rows that replay what the student masters, in [0, 1)."""
        ...

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> Sequence[Lesson]:
        """Return at most `budget` of the candidates, weighed and in the order of training.

        Many candidates lie in a file, which is read each time that they are gone through.
        """
        ...


@runtime_checkable
class AimingSelector(Selector, Protocol):
    """A selector that gives each skill a part of the budget; methods may let the teacher's work go by the same."""

    def aim(self, choice: Choice, count: int) -> Mapping[str, float]:
        """Return each skill's part of `count` lessons, at least 0."""
        ...


def aim_of(selector: Selector, choice: Choice, count: int) -> Mapping[str, float]:
    """Return each skill's part of `count` lessons by a selector's aim; none where it aims at no skill."""
    return selector.aim(choice, count) if isinstance(selector, AimingSelector) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgeted:
    """The two knobs of every selector."""

    budget: int = 0
    """Rows of the round that the student is trained on, replayed ones included; 0 sets no bound."""
    replay: float = 0.3
    """Share of the round's rows that replay what the student masters, in [0, 1). Aiming at gaps without replay
    forgets."""

    def __post_init__(self) -> None:
        if not 0 <= self.replay < 1 or self.budget < 0:
            raise ValueError("budget must be at least 0, replay in [0, 1)")

    def replay_shares(self, choice: Choice) -> dict[str, float]:
        """Return each skill's part of the replayed rows, in [0, 1]; empty for every skill alike."""
        return {}


def new_rows(budget: int, replay: float, candidates: int) -> int:
    """Return how many new lessons a budget leaves room for."""
    return candidates if budget <= 0 else min(candidates, round(budget * (1 - replay)))


def replay_rows(new: int, replay: float) -> int:
    """Return how many replayed rows go with so many new ones, for a share in [0, 1)."""
    return round(new * replay / (1 - replay)) if 0 < replay < 1 else 0


def aimed_skill(lesson: Lesson) -> str:
    """Return the skill that a lesson aims at; "" where it aims at none."""
    return lesson.provenance.skill or ""


def by_shares(
    candidates: Sequence[Lesson],
    shares: Mapping[str, float],
    budget: int,
    rng: Random,
    kind: Callable[[Lesson], str] = aimed_skill,
) -> Sequence[Lesson]:
    """Return `budget` candidates so that each kind's part is as near as can be to its share.

    `kind`: what the shares are of, by default the skill that a lesson aims at. Parts are whole numbers by largest
    remainder; what a kind has not enough candidates for goes to the others by their shares. Within a kind the choice is
    uniform. The order is shuffled. Each lesson's `share` is the probability with which it was drawn.
    """
    groups: dict[str, array[int]] = {}  # kind -> places of its candidates
    for place, lesson in enumerate(candidates):
        groups.setdefault(kind(lesson), array("q")).append(place)
    quotas = allocate({name: len(places) for name, places in groups.items()}, shares, budget)
    chosen, of = array("q"), array("i", bytes(4 * len(candidates)))  # `of`: number of each candidate's kind
    for number, (name, places) in enumerate(groups.items()):
        for place in places:
            of[place] = number
        chosen.extend(places[index] for index in sorted(rng.sample(range(len(places)), quotas[name])))
    rng.shuffle(chosen)
    parts = [quotas[name] / len(places) for name, places in groups.items()]
    return picked(candidates, chosen, lambda row, lesson: replace(lesson, share=parts[of[chosen[row]]]))


def foremost(
    candidates: Sequence[Lesson], worth: Sequence[float], count: int, *, least: float = -math.inf
) -> list[Lesson]:
    """Return up to `count` candidates of the highest worth, highest first; in whatever order they came.

    worth: [candidate]; one of `least` or below, or nan, is never taken. Ties go by the lessons' ids.
    """
    places = [place for place, value in enumerate(worth) if value > least]
    names = {place: candidates[place].id for place in places}
    return [candidates[place] for place in sorted(places, key=lambda p: (-worth[p], names[p]))[:count]]


def part_of(fraction: float, candidates: int, budget: int) -> int:
    """Return how many rows a fraction of the candidates is within the budget: at least one of any."""
    return min(budget, math.ceil(fraction * candidates))


def texts_of(lessons: Sequence[Lesson]) -> "list[Text]":
    """Return what a student is asked to score of lessons: the prompt, and the completion after it."""
    return [(lesson.prompt, lesson.completion) for lesson in lessons]


def allocate(available: Mapping[str, int], shares: Mapping[str, float], budget: int) -> dict[str, int]:
    """Return how many of each skill (or other kind) to take: budget by shares, never more than there are.

    Kinds without a share get rows only when those with one have run out.
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
