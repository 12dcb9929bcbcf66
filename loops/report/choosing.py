"""Which rows of a run a page carries: all where they are not too many, else an even choice over rounds and skills."""

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from lessons.ids import short_hash
from lessons.records import Check, Lesson
from loops.reading import RoundView, RunView

Standing = Literal["trained", "replayed", "kept, not chosen", "kept", "dropped", "candidate"]
"""`kept` where nothing has been chosen yet, `candidate` where no filter has judged yet."""
STANDINGS: tuple[Standing, ...] = ("trained", "replayed", "kept, not chosen", "kept", "dropped", "candidate")

MOST_TRAINED = 10_000
"""New lessons in a page at most; as many open in under two seconds (scripts/bench_report.py)."""
MOST_OTHERS = 5_000
"""Replayed, dropped and unchosen rows in a page at most."""

Group = tuple[Standing, int, str]
"""Where rows stand, their round, and the skill that they aim at."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a round, with where it stands."""

    place: int
    """Of the row in `rows_of`'s order: the same whenever the round's files are the same."""
    standing: Standing
    lesson: Lesson
    checks: tuple[Check, ...]
    """Every filter's verdict, the drop last."""

    @property
    def skill(self) -> str:
        """The skill that it aims at; "" where none is named."""
        return self.lesson.provenance.skill or ""


@dataclass(frozen=True)
class Choice:
    """Which rows a page carries."""

    places: Mapping[int, frozenset[int]] = field(default_factory=dict[int, frozenset[int]])
    """Round -> places of its chosen rows."""
    counted: Mapping[Standing, int] = field(default_factory=dict[Standing, int])
    """Rows of the run by where they stand."""
    chosen: Mapping[Standing, int] = field(default_factory=dict[Standing, int])


def rows_of(turn: RoundView) -> Iterator[Row]:
    """Yield every row of a round once. Rows of earlier rounds that are trained on again stand in their own round."""
    place = 0
    taken: set[int] = set()
    for lesson in turn.lessons():
        new = turn.is_new(lesson)
        if new:
            taken.add(_key(lesson))
        if new or lesson.provenance.method == "replay":
            yield Row(place, "trained" if new else "replayed", lesson, lesson.checks)
            place += 1
    kept: Standing = "kept, not chosen" if turn.has("lessons.jsonl") else "kept"
    for lesson in turn.kept():
        if _key(lesson) not in taken:
            yield Row(place, kept, lesson, lesson.checks)
            place += 1
    for drop in turn.dropped():
        yield Row(place, "dropped", drop.lesson, (*drop.lesson.checks, drop.check))
        place += 1
    if not turn.has("kept.jsonl"):
        for lesson in turn.candidates():
            yield Row(place, "candidate", lesson, lesson.checks)
            place += 1


def choose(run: RunView, *, trained: int = MOST_TRAINED, others: int = MOST_OTHERS) -> Choice:
    """Choose the rows of a page, as many of each round and skill as there is room for. Reads every row once.

    Within a round and skill rows are taken at equal distances, so that the choice is never one end of a file.
    """
    groups: dict[Group, array[int]] = {}
    for turn in run.rounds:
        for row in rows_of(turn):
            groups.setdefault((row.standing, turn.index, row.skill), array("q")).append(row.place)
    places: dict[int, set[int]] = {}
    counted: Counter[Standing] = Counter()
    chosen: Counter[Standing] = Counter()
    for most, own in ((trained, True), (others, False)):
        some = {group: found for group, found in groups.items() if (group[0] == "trained") is own}
        room = shares({group: len(found) for group, found in some.items()}, most)
        for group, found in some.items():
            standing, index, _ = group
            counted[standing] += len(found)
            chosen[standing] += room[group]
            places.setdefault(index, set()).update(spread(found, room[group]))
    return Choice({index: frozenset(found) for index, found in places.items()}, dict(counted), dict(chosen))


def shares(sizes: Mapping[Group, int], most: int) -> dict[Group, int]:
    """Return how many of each group are taken, at most `most` in all: small groups whole, the others nearly alike."""
    given = dict.fromkeys(sizes, 0)
    left, open_ = most, sorted(sizes, key=lambda group: (sizes[group], group))
    for number, group in enumerate(open_):
        given[group] = min(sizes[group], left // (len(open_) - number))
        left -= given[group]
    return given


def spread(found: Sequence[int], count: int) -> list[int]:
    """Return so many of the places, at equal distances."""
    return [found[(2 * number + 1) * len(found) // (2 * count)] for number in range(count)]


def _key(lesson: Lesson) -> int:
    """Return what tells a round's rows apart as their ids do, without the price of an id."""
    parts = [part for message in lesson.prompt for part in (message["role"], message["content"])]
    return short_hash(*parts, lesson.completion, lesson.rejected or "", "" if lesson.rejected is None else "pair")
