"""`tutelage gaps RUN`: every skill over the rounds, with intervals, and what became better or worse beyond noise."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import msgspec

from lessons.pooling import Pooled
from lessons.records import Attempt, Record
from lessons.statistics import holm
from loops.exams.gate import compare
from loops.reading import RoundView, RunView
from loops.records import Change, ChosenOn, FinalExam, NoiseFloor
from loops.views.gap_rounds import RoundErrors, errors_of, shares_of
from loops.views.missing import missing
from loops.views.text import View
from loops.watching.standing import State, standing

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
    pooled: dict[int, Pooled]
    """Round -> the same with what the other skills tell, and its 95 % interval; nothing where nothing was tried."""
    attempts: dict[int, int]
    """Round -> graded attempts at train problems that need it."""
    shares: dict[int, float]
    """Round -> its share of the budget, in [0, 1]; empty where the selector does not go by the profile."""
    floor: float | None
    """How far its accuracy moves with nothing learned, 95 times in 100; None where that was not measured."""
    since_start: Change | None
    """The student that the run stands with, against round 0; p is Holm-corrected over all skills."""
    trend: Trend | None
    """Up or down where the interval of `since_start` leaves out 0; None where there is nothing to compare."""


class Gaps(View, frozen=True, kw_only=True):
    """What `gaps` shows."""

    run: str
    state: str
    standing: State
    """Whether a process works at it, and if not, how it ended."""
    missing: tuple[str, ...]
    """What the folder lacks, a sentence each; empty for a whole finished run."""
    student: str
    teacher: str
    method: str
    current: int | None
    """The round whose student the run stands with: the last promoted one; None before any exam."""
    rounds: tuple[RoundAccuracy, ...]
    skills: tuple[SkillGap, ...]
    """Widest pooled gap at the start first."""
    errors: tuple[RoundErrors, ...]
    """How the failures of each round went wrong."""
    noise: NoiseFloor | None
    """How far exams move with nothing learned; None where that was not measured."""
    final: FinalExam | None
    """The exam that nothing was chosen on: the figure to report. None where there is none, or not yet."""
    chosen_on: ChosenOn
    """By what the gate decides which student the run ends with; figures of `rounds` are of the held-out problems."""
    up: tuple[str, ...]
    """Skills that are better than in round 0 beyond noise, most gained first."""
    down: tuple[str, ...]
    """Skills that are worse than in round 0 beyond noise, most lost first."""
    labels: str = ""
    """How well the teacher's labels of skills agree; "" where the problems brought theirs along."""
    labels_note: str = ""
    """Why figures by skill are not to be trusted; "" where there is nothing against them."""

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
        InputError: there is no run at this path.
    """
    run = RunView.of(path)
    rounds = tuple(row for turn in run.examined if (row := _accuracy(turn)))
    current = max((row.round for row in rounds if row.promoted), default=None)
    since = _since_start(run, current)
    turns = [_Turn.of(run, turn) for turn in run.rounds]
    skills = sorted((_skill(turns, name, since.get(name)) for name in _names(run)), key=_widest_first)
    moved = [row for row in skills if row.since_start is not None]
    by_change = sorted(moved, key=lambda row: row.since_start.difference if row.since_start else 0.0)
    return Gaps(
        run=run.name,
        state=run.state,
        standing=standing(run).state,
        missing=missing(run),  # the files are read by now: what is damaged is known
        student=run.info.student if run.info else "",
        teacher=run.info.teacher if run.info else "",
        method=run.info.method if run.info else "",
        current=current,
        rounds=rounds,
        skills=tuple(skills),
        errors=tuple(row for turn in run.rounds if (row := errors_of(turn))),
        noise=turns[0].turn.noise if turns else None,
        final=run.final,
        chosen_on=run.chosen_on,
        up=tuple(row.skill for row in reversed(by_change) if row.trend == "up"),
        down=tuple(row.skill for row in by_change if row.trend == "down"),
        labels=run.catalog_info.told if run.catalog_info else "",
        labels_note=run.catalog_info.note if run.catalog_info else "",
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


class _Turn(NamedTuple):
    turn: RoundView
    pooled: dict[str, Pooled]
    shares: dict[str, float]

    @classmethod
    def of(cls, run: RunView, turn: RoundView) -> Self:
        profile = turn.profile
        return cls(turn, profile.pooled() if profile else {}, shares_of(run, profile) if profile else {})


def _skill(turns: Sequence[_Turn], name: str, since: Change | None) -> SkillGap:
    exams = [found for one in turns if (found := _examined(one.turn, name))]
    profiles = {one.turn.index: one.turn.profile for one in turns if one.turn.profile is not None}
    rows = {index: profile.rows[name] for index, profile in profiles.items() if name in profile.rows}
    noise = turns[0].turn.noise if turns else None
    return SkillGap(
        skill=name,
        exams=tuple(exams),
        gaps={index: profile.gap(name) for index, profile in profiles.items()},
        pooled={one.turn.index: one.pooled[name] for one in turns if (row := rows.get(one.turn.index)) and row.tried},
        attempts={index: row.attempts for index, row in rows.items()},
        shares={one.turn.index: one.shares[name] for one in turns if name in one.shares},
        floor=noise.skills[name].floor if noise and name in noise.skills else None,
        since_start=since,
        trend=trend_of(since),
    )


def _examined(turn: RoundView, name: str) -> SkillRound | None:
    exam = turn.metrics.skills.get(name) if turn.metrics else None
    if exam is None or turn.metrics is None:
        return None
    return SkillRound(
        round=turn.index,
        n=exam.row.attempts,
        right=exam.row.right,
        accuracy=exam.row.accuracy,
        low=exam.low,
        high=exam.high,
        change=exam.change,
        promoted=turn.metrics.promoted,
    )


def trend_of(change: Change | None) -> Trend | None:
    """Return whether a change is beyond noise: its 95 % interval leaves out 0."""
    if change is None:
        return None
    return "up" if change.low > 0 else "down" if change.high < 0 else "level"


def _widest_first(row: SkillGap) -> tuple[float, float, str]:
    gap = next((pooled.gap for pooled in row.pooled.values()), 0.0)
    accuracy = next((exam.accuracy for exam in row.exams if exam.accuracy is not None), 1.0)
    return (-gap, accuracy, row.skill)
