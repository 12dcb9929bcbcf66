"""The sentence that a report begins with, and the figures beside it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from lessons.records import Record
from loops.reading import RunView
from loops.records import Change, FinalExam
from loops.views.gaps import Gaps, trend_of
from loops.views.show import Funnel, Show, Spent
from loops.views.text import count, dollars, duration, interval, p_value, percent, points


class Headline(Record, frozen=True, kw_only=True):
    """What became of the student, in one look."""

    tone: Literal["up", "down", "level"]
    before: str
    after: str
    """Accuracy before and after, for people; "" where there is none yet."""
    change: str
    what: str
    """What the figures are of, as a line below them; "" where there is nothing to compare."""
    sentence: str


class Tile(NamedTuple):
    """One figure with what it is."""

    value: str
    label: str
    note: str


def headline(view: Gaps, final: FinalExam | None = None) -> Headline:
    """Say what became of the student. Never claims a change that the paired interval does not leave 0 out of.

    Where there is a final exam its figures come first: nothing was chosen on them.
    """
    if final is not None:
        return _of_final(final)
    start, now = view.start, view.now
    if start is None or now is None:
        told = f"No exam yet: the run is {view.state}."
        return Headline(tone="level", before="", after="", change="", what="", sentence=told)
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
        return Headline(tone="level", before=before, after="", change="", what="", sentence=told)
    after, change = percent(now.accuracy), now.since_start
    what = f"accuracy on {now.n:,} held-out questions, before any lesson and after round {view.current}"
    if change is None:
        told = f"After round {now.round} the student answers {after}; it began at {before}."
        return Headline(tone="level", before=before, after=after, change="", what=what, sentence=told)
    return _moved(before, after, change, what, "held-out questions")


def _of_final(final: FinalExam) -> Headline:
    base, now = final.base, final.metrics
    what = f"accuracy in the final exam, {now.n:,} questions that nothing was chosen on"
    before = percent(base.accuracy)
    if final.round == 0 or now.since_start is None:
        told = (
            f"The run ended with the student that it began with: {before} of the final exam, 95 % interval "
            f"{interval(base.low, base.high)}, {base.right:,} of {base.n:,} right."
        )
        return Headline(tone="level", before=before, after="", change="", what="", sentence=told)
    what += f", before any lesson and after round {final.round}"
    return _moved(before, percent(now.accuracy), now.since_start, what, "questions of the final exam")


def _moved(before: str, after: str, change: Change, what: str, questions: str) -> Headline:
    tone = trend_of(change) or "level"
    noise = "" if tone != "level" else " The interval holds 0: this may be chance."
    told = (
        f"On the same {change.n:,} {questions} the student now has {change.gained:,} right that it had wrong, "
        f"and {change.lost:,} wrong that it had right: {points(change.difference)} points, 95 % interval "
        f"{interval(change.low, change.high)}, {p_value(change.p)} (McNemar's exact test).{noise}"
    )
    moved = f"{points(change.difference)} points"
    return Headline(tone=tone, before=before, after=after, change=moved, what=what, sentence=told)


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
    known = [row.usd for row in view.teacher if row.usd is not None]
    if known and sum(known) > 0:
        unpriced = sum(row.unpriced for row in view.teacher)
        note = f"and {count(unpriced)} calls of unknown price" if unpriced else "for the teacher"
        found.append(Tile(dollars(sum(known)), "paid", note))
    seconds = sum(stage.seconds for row in view.rounds for stage in row.stages)
    if seconds:
        found.append(Tile(duration(seconds), "of work", f"in {len(taught)} round{'s' if len(taught) != 1 else ''}"))
    if in_exam is not None:
        left = f"{run.info.overlap:,} problems left out at the start" if run.info and run.info.overlap else "by text"
        found.append(Tile(count(in_exam), "trained rows with an exam question", left))
    return found


def paid(row: Spent) -> str:
    """Return what the calls of one purpose cost; a price that nobody knows is said, and no zero."""
    if row.calls == row.saved:
        return "nothing, all from the cache"
    if row.usd is None:
        return "unknown"
    return dollars(row.usd) + (f" and {row.unpriced:,} calls of unknown price" if row.unpriced else "")


def _sum(rows: Sequence[Funnel], name: Literal["new", "replayed", "candidates", "kept"]) -> int | None:
    known = [value for row in rows if (value := getattr(row, name)) is not None]
    return sum(known) if known else None


def _short(number: int) -> str:
    for size, sign in ((1_000_000_000, "B"), (1_000_000, "M"), (10_000, "k")):
        if number >= size:
            return f"{number / (1000 if sign == 'k' else size):.{0 if sign == 'k' else 1}f}{sign}"
    return f"{number:,}"
