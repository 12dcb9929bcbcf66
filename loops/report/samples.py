"""A few rows to read: lessons of every skill with what led to them, and dropped candidates of every reason."""

from collections.abc import Iterable
from heapq import nsmallest

from lessons.records import Attempt, Dropped, Lesson, Record
from loops.reading import RoundView, RunView
from loops.views.why import prompt_text

PER_SKILL = 2
PER_REASON = 2
MOST = 48
"""Lessons in the file at most, however many skills there are."""
LONGEST = 1600
"""Characters of one text; `tutelage why` shows the whole."""

Row = tuple[str, RoundView, Lesson]
"""Id, round that trained on it, lesson."""


class SampleCall(Record, frozen=True, kw_only=True):
    """A teacher's call that made a lesson."""

    purpose: str
    id: str


class Sample(Record, frozen=True, kw_only=True):
    """One lesson with what led to it; texts are clipped."""

    id: str
    round: int
    skill: str
    prompt: str
    completion: str
    rejected: str | None
    reference: str | None
    weight: float
    share: float | None
    passed: tuple[str, ...]
    """The filters that it passed."""
    attempt: str | None
    """What the student had said; None where no attempt caused it."""
    attempt_question: str
    attempt_score: float | None
    missing: tuple[str, ...]
    reason: str
    """The diagnosis."""
    calls: tuple[SampleCall, ...]


class SampleDrop(Record, frozen=True, kw_only=True):
    """One dropped candidate."""

    id: str
    round: int
    by: str
    reason: str
    detail: str
    prompt: str
    completion: str


class Samples(Record, frozen=True, kw_only=True):
    """The rows that the report shows."""

    by_skill: dict[str, tuple[Sample, ...]]
    lessons: int
    """Different new lessons of the whole run, of which these are a sample."""
    drops: tuple[SampleDrop, ...]
    dropped: int

    @property
    def shown(self) -> int:
        """How many lessons are in the sample."""
        return sum(len(samples) for samples in self.by_skill.values())


def samples(run: RunView, skills: Iterable[str]) -> Samples:
    """Choose a few rows of each skill (in the order given) and each reason. The same run gives the same rows.

    Rows are chosen by the smallest ids: ids are content hashes, so this is a random choice that never changes.
    """
    chosen: dict[str, list[Row]] = {skill: [] for skill in skills}
    seen: set[str] = set()
    for turn in run.rounds:
        for lesson in turn.lessons():
            if not turn.is_new(lesson) or (name := lesson.id) in seen:
                continue
            seen.add(name)
            rows = chosen.setdefault(lesson.provenance.skill or "no skill named", [])
            rows.append((name, turn, lesson))
            if len(rows) > PER_SKILL:
                rows.remove(max(rows, key=lambda row: row[0]))
    picked = {skill: sorted(rows, key=lambda row: row[0]) for skill, rows in chosen.items() if rows}
    short = _at_most(picked, MOST)
    attempts = _attempts(row for rows in short.values() for row in rows)
    drops, dropped = _drops(run)
    by_skill = {skill: tuple(_sample(run, skill, row, attempts) for row in rows) for skill, rows in short.items()}
    return Samples(by_skill=by_skill, lessons=len(seen), drops=drops, dropped=dropped)


def _at_most(picked: dict[str, list[Row]], most: int) -> dict[str, list[Row]]:
    """Keep one of each skill before a second of any."""
    each = PER_SKILL if sum(map(len, picked.values())) <= most else 1
    return {skill: rows[:each] for skill, rows in list(picked.items())[: most // each]}


def _attempts(rows: Iterable[Row]) -> dict[str, Attempt]:
    wanted: dict[int, tuple[RoundView, set[str]]] = {}
    for _, turn, lesson in rows:
        if lesson.provenance.attempt is not None:
            wanted.setdefault(turn.index, (turn, set()))[1].add(lesson.provenance.attempt)
    return {a.id: a for turn, ids in wanted.values() for a in turn.attempts() if a.id in ids}


def _sample(run: RunView, skill: str, row: Row, attempts: dict[str, Attempt]) -> Sample:
    name, turn, lesson = row
    attempt = attempts.get(lesson.provenance.attempt or "")
    return Sample(
        id=name,
        round=turn.index,
        skill=skill,
        prompt=_short(prompt_text(lesson.prompt)),
        completion=_short(lesson.completion),
        rejected=None if lesson.rejected is None else _short(lesson.rejected),
        reference=None if lesson.problem.answer is None else _short(lesson.problem.answer),
        weight=lesson.weight,
        share=lesson.share,
        passed=tuple(check.filter for check in lesson.checks if check.passed),
        attempt=None if attempt is None else _short(attempt.text),
        attempt_question="" if attempt is None else _short(attempt.problem.question),
        attempt_score=None if attempt is None else attempt.score,
        missing=() if attempt is None else attempt.missing,
        reason=_short(attempt.diagnosis.reason) if attempt is not None and attempt.diagnosis is not None else "",
        calls=tuple(SampleCall(purpose=call.purpose, id=call.id) for call in run.calls(lesson.provenance.calls)),
    )


def _drops(run: RunView) -> tuple[tuple[SampleDrop, ...], int]:
    chosen: dict[tuple[str, str], list[tuple[str, int, Dropped]]] = {}
    count = 0
    for turn in run.rounds:
        for drop in turn.dropped():
            count += 1
            rows = chosen.setdefault((drop.check.filter, drop.check.reason), [])
            rows.append((drop.lesson.id, turn.index, drop))
            if len(rows) > PER_REASON:
                rows.remove(max(rows, key=lambda row: row[0]))
    rows = [row for key in sorted(chosen) for row in nsmallest(PER_REASON, chosen[key], key=lambda row: row[0])]
    return tuple(_drop(*row) for row in rows[:MOST]), count


def _drop(name: str, index: int, drop: Dropped) -> SampleDrop:
    return SampleDrop(
        id=name,
        round=index,
        by=drop.check.filter,
        reason=drop.check.reason,
        detail=_short(drop.check.detail),
        prompt=_short(prompt_text(drop.lesson.prompt)),
        completion=_short(drop.lesson.completion),
    )


def _short(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}\n… {len(text) - LONGEST:,} more characters"
