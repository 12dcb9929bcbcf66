"""The sentence that a report begins with, and the figures beside it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from lessons.records import Record
from loops.reading import RunView
from loops.views.gaps import Gaps, trend_of
from loops.views.show import Funnel, Show
from loops.views.text import count, duration, interval, p_value, percent, points


class Headline(Record, frozen=True, kw_only=True):
    """What became of the student, in one look."""

    tone: Literal["up", "down", "level"]
    before: str
    after: str
    """Accuracy before and after, for people; "" where there is none yet."""
    change: str
    sentence: str


class Tile(NamedTuple):
    """One figure with what it is."""

    value: str
    label: str
    note: str


def headline(view: Gaps) -> Headline:
    """Say what became of the student. Never claims a change that the paired interval does not leave 0 out of."""
    start, now = view.start, view.now
    if start is None or now is None:
        return Headline(tone="level", before="", after="", change="", sentence=f"No exam yet: the run is {view.state}.")
    before = percent(start.accuracy)
    interval_before = f"95 % interval {interval(start.low, start.high)}, {start.right:,} of {start.n:,} right"
    if now.round == 0:
        tried = len(view.rounds) - 1
        best = max((row.accuracy for row in view.rounds[1:]), default=0.0)
        told = f"Before any lesson the student answers {before} of the exam ({interval_before})."
        if tried:
            told = (
                f"No round's student was kept, so the run stands where it began: {before} ({interval_before}). "
                f"The best of {tried} {'tries' if tried > 1 else 'try'} reached {percent(best)}."
            )
        return Headline(tone="level", before=before, after="", change="", sentence=told)
    change = now.since_start
    if change is None:
        told = f"After round {now.round} the student answers {percent(now.accuracy)}; it began at {before}."
        return Headline(tone="level", before=before, after=percent(now.accuracy), change="", sentence=told)
    tone = trend_of(change) or "level"
    noise = "" if tone != "level" else " The interval holds 0: this may be chance."
    told = (
        f"On the same {change.n:,} held-out questions the student now has {change.gained:,} right that it had wrong, "
        f"and {change.lost:,} wrong that it had right: {points(change.difference)} points, 95 % interval "
        f"{interval(change.low, change.high)}, {p_value(change.p)} (McNemar's exact test).{noise}"
    )
    moved = f"{points(change.difference)} points"
    return Headline(tone=tone, before=before, after=percent(now.accuracy), change=moved, sentence=told)


def tiles(run: RunView, view: Show, in_exam: int | None) -> list[Tile]:
    """Return the figures that a reader asks for first; one that is not known is left out.

    `in_exam`: trained rows whose question stands in the exam; None where nothing has been trained on.
    """
    found: list[Tile] = []
    taught = [row for row in view.rounds if row.round > 0]
    new, replayed = _sum(taught, "new"), _sum(taught, "replayed")
    if new is not None:
        found.append(Tile(count(new), "new lessons trained on", f"and {count(replayed)} replayed rows"))
    candidates, kept = _sum(taught, "candidates"), _sum(taught, "kept")
    if candidates and kept is not None:
        found.append(Tile(percent(1 - kept / candidates, 0), "of candidates dropped", f"{count(candidates)} were made"))
    spent = [row for row in view.teacher if row.prompt is not None or row.completion is not None]
    if spent:
        tokens = sum((row.prompt or 0) + (row.completion or 0) for row in spent)
        calls = sum(row.calls for row in view.teacher)
        found.append(Tile(_short(tokens), "teacher tokens", f"in {count(calls)} calls"))
    seconds = sum(stage.seconds for row in view.rounds for stage in row.stages)
    if seconds:
        found.append(Tile(duration(seconds), "of work", f"in {len(taught)} round{'s' if len(taught) != 1 else ''}"))
    if in_exam is not None:
        left = f"{run.info.overlap:,} problems left out at the start" if run.info and run.info.overlap else "by text"
        found.append(Tile(count(in_exam), "trained rows with an exam question", left))
    return found


def _sum(rows: Sequence[Funnel], name: Literal["new", "replayed", "candidates", "kept"]) -> int | None:
    known = [value for row in rows if (value := getattr(row, name)) is not None]
    return sum(known) if known else None


def _short(number: int) -> str:
    for size, sign in ((1_000_000_000, "B"), (1_000_000, "M"), (10_000, "k")):
        if number >= size:
            return f"{number / (1000 if sign == 'k' else size):.{0 if sign == 'k' else 1}f}{sign}"
    return f"{number:,}"
