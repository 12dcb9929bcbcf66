"""`tutelage why RUN LESSON`: the chain from a failure to a training row, or to the filter that dropped it, and on."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgspec

from lessons.errors import InputError
from lessons.jsonl import UNREADABLE
from lessons.records import Attempt, Check, Lesson, Message, Problem, Record
from loops.reading import RoundView, RunView
from loops.records import Change, SkillExam
from loops.views.finding import (
    Line,
    Place,
    Status,
    ambiguous,
    attempt_lines,
    attempt_of,
    decoded,
    lines,
    none_like,
    only_best,
    problem_id,
    row_lines,
)
from loops.views.show import Loss, loss_of
from loops.views.text import View
from loops.views.traces import Traces, traces
from loops.watching.standing import State, standing
from teachers.ledger import Call, were_paid

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Later", "Place", "Skills", "Status", "Why", "prompt_text", "rows", "why"]


class Skills(Record, frozen=True, kw_only=True):
    """What became of the skill in the exam after the training."""

    skill: str
    before: SkillExam | None
    """The exam of the student that the round started with."""
    after: SkillExam | None
    change: Change | None


class Later(Record, frozen=True, kw_only=True):
    """What the student of a later round answered to the seed problem."""

    round: int
    """Round that examined it: its student is that of the round before."""
    attempt: Attempt


class Why(View, frozen=True, kw_only=True):
    """The whole chain of one row. What is None or empty is not in the run folder (yet)."""

    run: str
    state: str
    standing: State
    id: str
    found: Place
    also: tuple[Place, ...]
    """Other places of the same content: dropped as a duplicate of itself, taught again in a later round."""
    lesson: Lesson
    seed: Problem | None
    """The problem that it was written from."""
    attempt_id: str | None
    attempt: Attempt | None
    """The student's attempt that caused it, with its diagnosis and process rewards."""
    calls: tuple[Call, ...]
    """The diagnosis first, then the calls that made the lesson, in order."""
    paid: dict[str, bool]
    """Call id -> whether this run bought the reply; False where the cache that runs share had it."""
    calls_missing: tuple[str, ...]
    """Ids of calls that the ledger does not hold."""
    checks: tuple[Check, ...]
    """Every filter's verdict, in order; the last one may be the drop."""
    lessons_in_round: int | None
    training: Loss | None
    objective: str
    """The loss that the round trained with; "" where the recipe is not there."""
    exam: Skills | None
    later: tuple[Later, ...]
    """The student's answers to the seed problem in the rounds after, where they examined it again."""

    def render(self) -> "RenderableType":
        """Return the view for a terminal."""
        from loops.views.why_text import rendered

        return rendered(self)


def why(path: Path | str | RunView, identity: str, *, dropped: bool = False) -> Why | Traces:
    """Walk from a row back to the failure and the calls, and on to the exam.

    `identity` is an id of a lesson or a candidate, or the beginning of one. The same content may have been both trained
    on and dropped as a duplicate; then the trained row is shown, or with `dropped` the dropped one. With the id of a
    problem, an attempt or a teacher's call, the rows that came of it are listed instead.

    Raises:
        InputError: nothing, or more than one thing, has an id that begins so; names near ones.
    """
    run = RunView.of(path)
    asked = identity.strip().lower()
    found = _find(run, asked)
    if isinstance(found, Traces):
        return found
    hits = [decoded(line) for line in found]
    order: tuple[Status, ...] = ("trained", "kept, not chosen", "kept", "dropped", "candidate")
    hits.sort(key=lambda hit: (order.index(hit[1].status), hit[1].round))
    if dropped:
        gone = [hit for hit in hits if hit[1].status == "dropped"]
        if not gone:
            raise InputError(f"{run.path}: lesson {found[0].id} was not dropped; ask without --dropped")
        hits = [*gone, *(hit for hit in hits if hit[1].status != "dropped")]
    (row, place), *others = hits
    # The drop stands last among the checks, and is no part of the lesson.
    lesson = msgspec.structs.replace(row, checks=row.checks[:-1]) if place.status == "dropped" else row
    origin = lesson.provenance
    turn, made_in = run.round(place.round), run.round(origin.round)
    attempt = _attempt(made_in, origin.attempt)
    diagnosis = attempt.diagnosis.call if attempt and attempt.diagnosis else None
    wanted = tuple(dict.fromkeys(((diagnosis,) if diagnosis else ()) + origin.calls))
    calls = tuple(run.calls(wanted))
    held = {call.id for call in calls}
    trained = turn if turn is not None and place.status == "trained" else None
    seed = _seed(run, origin.seed, attempt)
    return Why(
        run=run.name,
        state=run.state,
        standing=standing(run).state,
        id=lesson.id,
        found=place,
        also=tuple(other for _, other in others),
        lesson=lesson,
        seed=seed,
        attempt_id=origin.attempt,
        attempt=attempt,
        calls=calls,
        paid=_paid(run, held),
        calls_missing=tuple(call for call in wanted if call not in held),
        checks=row.checks,
        lessons_in_round=sum(1 for _ in lines(trained.folder / "lessons.jsonl")) if trained else None,
        training=loss_of(trained) if trained else None,
        objective=_objective(run),
        exam=_exam(run, trained, origin.skill) if trained else None,
        later=tuple(_later(run, seed.id, place.round)) if seed else (),
    )


def rows(run: RunView) -> Iterator[tuple[Lesson, Place, tuple[Check, ...]]]:
    """Yield every row of every round with where it stands, each file's rows once; best standing first in a round."""
    for turn in run.rounds:
        for line in only_best(row_lines([turn])):
            lesson, place = decoded(line)
            yield lesson, place, lesson.checks


def _find(run: RunView, prefix: str) -> list[Line] | Traces:
    """Return all places of the one row whose id begins so, or else what came of the problem, attempt or call."""
    hits: list[Line] = []
    every: list[str] = []
    for line in row_lines(run.rounds):
        every.append(line.id)
        if prefix and line.id.startswith(prefix):
            hits.append(line)
    if any(line.id == prefix for line in hits):
        hits = [line for line in hits if line.id == prefix]
    found = {line.id: line for line in reversed(hits)}
    if len(found) == 1:
        return only_best(hits)
    if found:
        raise ambiguous(run, prefix, {line.id: decoded(line)[1].status for line in reversed(found.values())})
    traced = traces(run, prefix) if prefix else None
    if traced is None:
        raise none_like(run, prefix, every)
    return traced


def _attempt(turn: RoundView | None, attempt_id: str | None) -> Attempt | None:
    if turn is None or attempt_id is None:
        return None
    found = (line for line, _ in attempt_lines([turn]) if line.id == attempt_id)
    return next((attempt_of(line) for line in found), None)


def _seed(run: RunView, seed: str | None, attempt: Attempt | None) -> Problem | None:
    if attempt is not None and seed in (None, attempt.problem.id):
        return attempt.problem
    for part in ("train", "pool", "warm_up") if seed else ():
        path = run.path / "problems" / f"{part}.jsonl"
        try:
            for raw in lines(path) if path.is_file() else ():
                if problem_id(raw) == seed:
                    return msgspec.json.decode(raw, type=Problem)
        except UNREADABLE as error:
            run.faults.refuse(path, f"a line of it: {error}")
    return None


def _later(run: RunView, problem: str, after: int) -> Iterator[Later]:
    """Yield the answers to a problem in the examinations after a round."""
    turns = (turn for turn in run.rounds if turn.index > after)
    for line, asked in attempt_lines(turns):
        if asked == problem:
            yield Later(round=line.turn.index, attempt=attempt_of(line))


def _exam(run: RunView, turn: RoundView, skill: str | None) -> Skills | None:
    if skill is None or turn.metrics is None:
        return None
    earlier = [e for e in run.examined if e.index < turn.index and e.metrics is not None and e.metrics.promoted]
    before = earlier[-1].metrics.skills.get(skill) if earlier and earlier[-1].metrics else None
    after = turn.metrics.skills.get(skill)
    return Skills(skill=skill, before=before, after=after, change=after.change if after else None)


def _paid(run: RunView, ids: set[str]) -> dict[str, bool]:
    return (
        run.faults.spare(run.path / "calls.sqlite", lambda: were_paid(run.path / "calls.sqlite", ids), {})
        if ids
        else {}
    )


def _objective(run: RunView) -> str:
    train = run.recipe.get("train")
    told: Any = cast(dict[str, Any], train).get("objective", "") if isinstance(train, dict) else ""
    return str(cast(dict[str, Any], told).get("id", "") if isinstance(told, dict) else told)


def prompt_text(messages: tuple[Message, ...]) -> str:
    """Return a chat as text, each turn under its role; a lone user turn as it is."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
