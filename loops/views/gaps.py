"""`tutelage gaps RUN`: every skill over the rounds, with intervals, and what became better or worse beyond noise."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from lessons.records import Attempt, Record
from lessons.statistics import holm
from loops.gate import compare
from loops.reading import RoundView, RunView
from loops.records import Change
from loops.views.text import View

if TYPE_CHECKING:
    from rich.console import RenderableType

Trend = Literal["up", "down", "level"]


class RoundAccuracy(Record, frozen=True, kw_only=True):
    """The exam of one round. Shares in [0, 1]."""

    round: int
    n: int
    right: int
    ungraded: int
    accuracy: float
    low: float
    high: float
    """Wilson's 95 % interval."""
    change: Change | None
    """Against the student that the round started with."""
    since_start: Change | None
    promoted: bool
    verdict: str


class SkillRound(Record, frozen=True, kw_only=True):
    """One skill in one round's exam. Shares in [0, 1]."""

    round: int
    n: int
    right: int
    accuracy: float | None
    """None where the exam has no problem that needs it."""
    low: float
    high: float
    change: Change | None
    promoted: bool


class SkillGap(Record, frozen=True, kw_only=True):
    """One skill over the run."""

    skill: str
    exams: tuple[SkillRound, ...]
    gaps: dict[int, float]
    """Round -> share of the attempts that needed the skill and lacked it, measured when that round began."""
    since_start: Change | None
    """The student that the run stands with, against round 0; p is Holm-corrected over all skills."""
    trend: Trend | None
    """Up or down where the interval of `since_start` leaves out 0; None where there is nothing to compare."""


class Gaps(View, frozen=True, kw_only=True):
    """What `gaps` shows."""

    run: str
    state: str
    student: str
    teacher: str
    method: str
    current: int | None
    """The round whose student the run stands with: the last promoted one; None before any exam."""
    rounds: tuple[RoundAccuracy, ...]
    skills: tuple[SkillGap, ...]
    """Widest gap at the start first."""
    up: tuple[str, ...]
    """Skills that are better than in round 0 beyond noise, most gained first."""
    down: tuple[str, ...]
    """Skills that are worse than in round 0 beyond noise, most lost first."""

    @property
    def start(self) -> RoundAccuracy | None:
        """The student before any lesson."""
        return next((row for row in self.rounds if row.round == 0), None)

    @property
    def now(self) -> RoundAccuracy | None:
        """The student that the run stands with."""
        return next((row for row in self.rounds if row.round == self.current), None)

    def render(self) -> "RenderableType":
        """Return the view for a terminal."""
        from loops.views.gaps_text import rendered

        return rendered(self)


def gaps(path: Path | str | RunView) -> Gaps:
    """Sum up a run by skill and round.

    Raises:
        InputError: there is no run at this path, or a file of it is damaged.
    """
    run = RunView.of(path)
    rounds = tuple(row for turn in run.examined if (row := _accuracy(turn)))
    current = max((row.round for row in rounds if row.promoted), default=None)
    since = _since_start(run, current)
    skills = sorted((_skill(run, name, since.get(name)) for name in _names(run)), key=_widest_first)
    moved = [row for row in skills if row.since_start is not None]
    by_change = sorted(moved, key=lambda row: row.since_start.difference if row.since_start else 0.0)
    return Gaps(
        run=run.name,
        state=run.state,
        student=run.info.student if run.info else "",
        teacher=run.info.teacher if run.info else "",
        method=run.info.method if run.info else "",
        current=current,
        rounds=rounds,
        skills=tuple(skills),
        up=tuple(row.skill for row in reversed(by_change) if row.trend == "up"),
        down=tuple(row.skill for row in by_change if row.trend == "down"),
    )


def _accuracy(turn: RoundView) -> RoundAccuracy | None:
    exam = turn.metrics
    if exam is None:
        return None
    return RoundAccuracy(
        round=turn.index,
        n=exam.n,
        right=exam.right,
        ungraded=exam.ungraded,
        accuracy=exam.accuracy,
        low=exam.low,
        high=exam.high,
        change=exam.change,
        since_start=exam.since_start,
        promoted=exam.promoted,
        verdict=exam.verdict,
    )


def _names(run: RunView) -> list[str]:
    found: dict[str, None] = {}
    for turn in run.rounds:
        found |= dict.fromkeys(turn.profile.rows if turn.profile else ())
        found |= dict.fromkeys(turn.metrics.skills if turn.metrics else ())
    return list(found)


def _since_start(run: RunView, current: int | None) -> dict[str, Change]:
    """Compare the current student with round 0, skill by skill, from the two exams; empty where one is not there."""
    first, last = run.round(0), run.round(current) if current else None
    if first is None or last is None or last.metrics is None:
        return {}
    before, after = _slim(first.exam()), _slim(last.exam())
    by_name: dict[str, list[Attempt]] = {}
    for attempt in after:
        for skill in attempt.problem.skills:
            by_name.setdefault(skill, []).append(attempt)
    changes = {skill: compare(before, attempts) for skill, attempts in by_name.items()}
    changes = {skill: change for skill, change in changes.items() if change.n}
    adjusted = holm({skill: change.p for skill, change in changes.items()})
    return {skill: msgspec.structs.replace(change, p=adjusted[skill]) for skill, change in changes.items()}


def _slim(attempts: Iterable[Attempt]) -> Sequence[Attempt]:
    return [msgspec.structs.replace(attempt, text="", note="") for attempt in attempts]


def _skill(run: RunView, name: str, since: Change | None) -> SkillGap:
    exams: list[SkillRound] = []
    for turn in run.examined:
        exam = turn.metrics.skills.get(name) if turn.metrics else None
        if exam is not None and turn.metrics is not None:
            exams.append(
                SkillRound(
                    round=turn.index,
                    n=exam.row.attempts,
                    right=exam.row.right,
                    accuracy=exam.row.accuracy,
                    low=exam.low,
                    high=exam.high,
                    change=exam.change,
                    promoted=turn.metrics.promoted,
                )
            )
    found = {turn.index: turn.profile.gap(name) for turn in run.rounds if turn.profile is not None}
    return SkillGap(skill=name, exams=tuple(exams), gaps=found, since_start=since, trend=trend_of(since))


def trend_of(change: Change | None) -> Trend | None:
    """Return whether a change is beyond noise: its 95 % interval leaves out 0."""
    if change is None:
        return None
    return "up" if change.low > 0 else "down" if change.high < 0 else "level"


def _widest_first(row: SkillGap) -> tuple[float, float, str]:
    gap = next(iter(row.gaps.values()), 0.0)
    accuracy = next((exam.accuracy for exam in row.exams if exam.accuracy is not None), 1.0)
    return (-gap, accuracy, row.skill)
