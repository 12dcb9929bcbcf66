"""`tutelage show --time RUN`: where the wall time of a run went, and what of it is the loop's own."""

from pathlib import Path
from typing import TYPE_CHECKING

from lessons.records import Record
from loops.reading import RunView
from loops.records import STAGES, Clock, Marker
from loops.views.missing import lacks, missing, stands
from loops.views.text import View, duration, one_line, percent, styled
from loops.watching.standing import State, standing

if TYPE_CHECKING:
    from rich.console import RenderableType


class StageTime(Record, frozen=True, kw_only=True):
    """The wall time of one stage, in seconds. What lies beside each other here adds up to `seconds`."""

    round: int
    stage: str
    seconds: float
    answer: float
    """The student answered."""
    score: float
    """The student told how probable texts are."""
    learn: float
    """The student was trained."""
    teacher: float
    """Waiting for the teacher, and what its own code computed."""
    load: float
    """Imports of heavy libraries, and reading weights."""
    own: float
    """The loop's own: reading, writing, filters, bookkeeping."""

    @property
    def student(self) -> float:
        """Seconds inside the student's engine."""
        return self.answer + self.score + self.learn


class RunTime(View, frozen=True, kw_only=True):
    """What `show --time` shows."""

    run: str
    state: str
    standing: State
    """Whether a process works at it, and if not, how it ended."""
    missing: tuple[str, ...]
    """What the folder lacks, a sentence each; empty for a whole finished run."""
    stages: tuple[StageTime, ...]
    """Finished stages, in their order."""
    unmeasured: int
    """Stages among them that use the student and were done by an older version, which did not note where their time
    went: it stands under `own`, and no share of overhead is told."""
    seconds: float
    """That processes worked at the run, over every time that it was resumed; from when they took it up."""
    starting: float
    """Of these, until a process began its first stage."""
    between: float
    """Of these, between the stages, and in stages that were stopped before their end."""
    student: float
    """Of these, inside the student's engine."""
    teacher: float
    """Of these, waiting for the teacher."""
    load: float
    """Of these, imports of heavy libraries and reading weights, within the stages."""
    own: float
    """Of these, the loop's own: what is left, start-up and loading aside."""
    overhead: float | None
    """own / (seconds - starting - load), in [0, 1]; null where that was not measured."""
    overhead_with_loading: float | None
    """(seconds - student - teacher) / seconds, in [0, 1]: start-up and loading count as overhead."""

    def render(self) -> "RenderableType":
        """Return the view for a terminal."""
        return _rendered(self)


_ORDER = ("freeze", "catalog", "label", *STAGES, "noise", "preflight", "final")
_USES_THE_STUDENT = ("examine", "learn", "exam", "noise", "final")
"""Stages that are never done without the student."""


def run_time(path: Path | str | RunView) -> RunTime:
    """Add up where the wall time of a run went.

    Raises:
        InputError: there is no run at this path.
    """
    run = RunView.of(path)
    markers = sorted(
        (marker for turn in run.rounds for marker in turn.markers.values()),
        key=lambda marker: (marker.stage == "final", marker.round, _place(marker.stage)),
    )
    stages = tuple(_stage(marker) for marker in markers)
    clock = run.faults.record(run.path / "clock.json", Clock) or Clock(seconds=0.0)
    within = sum(stage.seconds for stage in stages)
    seconds = max(clock.seconds, clock.starting + within)  # while a run goes on, its clock is noted now and then
    student, teacher = sum(stage.student for stage in stages), sum(stage.teacher for stage in stages)
    load = sum(stage.load for stage in stages)
    own = max(0.0, seconds - clock.starting - load - student - teacher)
    unmeasured = sum(1 for marker in markers if not marker.times and marker.stage in _USES_THE_STUDENT)
    told = bool(stages) and not unmeasured
    return RunTime(
        run=run.name,
        state=run.state,
        standing=standing(run).state,
        missing=missing(run),
        stages=stages,
        unmeasured=unmeasured,
        seconds=seconds,
        starting=clock.starting,
        between=max(0.0, seconds - clock.starting - within),
        student=student,
        teacher=teacher,
        load=load,
        own=own,
        overhead=own / max(own, seconds - clock.starting - load) if told and own else 0.0 if told else None,
        overhead_with_loading=(seconds - student - teacher) / seconds if told and seconds else None,
    )


def _place(stage: str) -> int:
    return _ORDER.index(stage) if stage in _ORDER else len(_ORDER)


def _stage(marker: Marker) -> StageTime:
    took = marker.times
    return StageTime(
        round=marker.round,
        stage=marker.stage,
        seconds=marker.seconds,
        answer=took.get("answer", 0.0),
        score=took.get("score", 0.0),
        learn=took.get("learn", 0.0),
        teacher=took.get("teacher", 0.0),
        load=took.get("load", 0.0),
        own=round(max(0.0, marker.seconds - sum(took.values())), 3),
    )


def _rendered(view: RunTime) -> "RenderableType":
    from rich.console import Group

    parts: list[RenderableType] = [styled(f"run {one_line(view.run)}   {stands(view.standing, view.state)}")]
    parts += lacks(view.missing)
    parts.append(_row("", "", ("wall", "student", "teacher", "loading", "own"), "bold"))
    before: int | None = None
    for stage in view.stages:
        title = "" if stage.round == before else f"round {stage.round}" if stage.round else "start"
        before = stage.round
        parts.append(
            _row(title, stage.stage, _seconds(stage.seconds, stage.student, stage.teacher, stage.load, stage.own))
        )
    parts.append(_row("start-up", "", _seconds(view.starting)))
    parts.append(_row("between the stages", "", _seconds(view.between, 0, 0, 0, view.between)))
    parts.append(_row("all", "", _seconds(view.seconds, view.student, view.teacher, view.load, view.own), "bold"))
    if view.overhead is not None and view.overhead_with_loading is not None:
        parts.append(
            styled(
                f"overhead {percent(view.overhead)} of the wall time without start-up and loading, "
                f"{percent(view.overhead_with_loading)} with them"
            )
        )
    elif view.unmeasured:
        parts.append(
            styled(f"{view.unmeasured} stages were done by an older version: where their time went is not known")
        )
    return Group(*parts)


def _row(title: str, stage: str, cells: tuple[str, ...], style: str = "") -> "RenderableType":
    return styled(f"  {title:<19}{stage:<10}" + "".join(f"{cell:>11}" for cell in cells), style)


def _seconds(*seconds: float) -> tuple[str, ...]:
    return tuple("–" if value < 0.005 else f"{value:.2f} s" if value < 10 else duration(value) for value in seconds)
