"""`tutelage why RUN LESSON`: the chain from a failure to a training row, or to the filter that dropped it, and on."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lessons.errors import InputError
from lessons.records import Attempt, Check, Dropped, Lesson, Message, Problem, Record
from loops.reading import RoundView, RunView
from loops.records import Change, SkillExam
from loops.views.show import Loss, loss_of
from loops.views.text import View, one_line
from teachers.ledger import Call

if TYPE_CHECKING:
    from rich.console import RenderableType

Status = Literal["trained", "kept, not chosen", "kept", "dropped", "candidate"]
"""`kept` where nothing has been chosen yet, `candidate` where no filter has judged yet."""

NEAR = 4
"""Ids named in an error."""


class Place(Record, frozen=True, kw_only=True):
    """Where a row with this id was found."""

    round: int
    status: Status
    reason: str = ""
    """For a dropped one: the filter and its reason."""


class Skills(Record, frozen=True, kw_only=True):
    """What became of the skill in the exam after the training."""

    skill: str
    before: SkillExam | None
    """The exam of the student that the round started with."""
    after: SkillExam | None
    change: Change | None


class Why(View, frozen=True, kw_only=True):
    """The whole chain of one row. What is None or empty is not in the run folder (yet)."""

    run: str
    id: str
    found: Place
    also: tuple[Place, ...]
    """Other places of the same content: dropped as a duplicate of itself, taught again in a later round."""
    lesson: Lesson
    seed: Problem | None
    """The problem that it was written from."""
    attempt_id: str | None
    attempt: Attempt | None
    """The student's attempt that caused it."""
    calls: tuple[Call, ...]
    """The diagnosis first, then the calls that made the lesson, in order."""
    calls_missing: tuple[str, ...]
    """Ids of calls that the ledger does not hold."""
    checks: tuple[Check, ...]
    """Every filter's verdict, in order; the last one may be the drop."""
    lessons_in_round: int | None
    training: Loss | None
    exam: Skills | None

    def render(self) -> "RenderableType":
        """Return the view for a terminal."""
        from loops.views.why_text import rendered

        return rendered(self)


class _Hit(Record, frozen=True, kw_only=True):
    lesson: Lesson
    place: Place
    checks: tuple[Check, ...]


def why(path: Path | str | RunView, lesson_id: str, *, dropped: bool = False) -> Why:
    """Walk from a row back to the failure and the calls, and on to the exam.

    `lesson_id` is an id or the beginning of one. The same content may have been both trained on and dropped as a
    duplicate; then the trained row is shown, or with `dropped` the dropped one.

    Raises:
        InputError: no row, or more than one, has an id that begins so; names near ones.
    """
    run = RunView.of(path)
    hits = _find(run, lesson_id.strip().lower())
    if dropped:
        gone = [hit for hit in hits if hit.place.status == "dropped"]
        if not gone:
            raise InputError(f"{run.path}: lesson {hits[0].lesson.id} was not dropped; ask without --dropped")
        hits = [*gone, *(hit for hit in hits if hit.place.status != "dropped")]
    hit, *others = hits
    lesson, origin = hit.lesson, hit.lesson.provenance
    turn, made_in = run.round(hit.place.round), run.round(origin.round)
    attempt = _attempt(made_in, origin.attempt)
    diagnosis = attempt.diagnosis.call if attempt and attempt.diagnosis else None
    wanted = tuple(dict.fromkeys(((diagnosis,) if diagnosis else ()) + origin.calls))
    calls = tuple(run.calls(wanted))
    held = {call.id for call in calls}
    trained = turn if turn is not None and hit.place.status == "trained" else None
    return Why(
        run=run.name,
        id=lesson.id,
        found=hit.place,
        also=tuple(other.place for other in others),
        lesson=lesson,
        seed=_seed(run, origin.seed, attempt),
        attempt_id=origin.attempt,
        attempt=attempt,
        calls=calls,
        calls_missing=tuple(call for call in wanted if call not in held),
        checks=hit.checks,
        lessons_in_round=sum(1 for _ in trained.lessons()) if trained else None,
        training=loss_of(trained) if trained else None,
        exam=_exam(run, trained, origin.skill) if trained else None,
    )


def rows(run: RunView) -> Iterator[tuple[Lesson, Place, tuple[Check, ...]]]:
    """Yield every row of every round with where it stands, each file's rows once; best standing first in a round."""
    for turn in run.rounds:
        trained: set[str] = set()
        for lesson in turn.lessons():
            trained.add(lesson.id)
            yield lesson, Place(round=turn.index, status="trained"), lesson.checks
        chosen = turn.has("lessons.jsonl")
        for lesson in turn.kept():
            if lesson.id not in trained:
                yield lesson, Place(round=turn.index, status="kept, not chosen" if chosen else "kept"), lesson.checks
        for drop in turn.dropped():
            yield drop.lesson, _dropped(turn, drop), (*drop.lesson.checks, drop.check)
        if not turn.has("kept.jsonl"):
            for lesson in turn.candidates():
                yield lesson, Place(round=turn.index, status="candidate"), lesson.checks


def _dropped(turn: RoundView, drop: Dropped) -> Place:
    return Place(round=turn.index, status="dropped", reason=f"{drop.check.filter}: {drop.check.reason}")


def _find(run: RunView, prefix: str) -> list[_Hit]:
    """Return all places of the one id that begins so, trained ones first."""
    hits: dict[str, list[_Hit]] = {}
    every: dict[str, None] = {}
    for lesson, place, checks in rows(run):
        every[lesson.id] = None
        if prefix and lesson.id.startswith(prefix):
            hits.setdefault(lesson.id, []).append(_Hit(lesson=lesson, place=place, checks=checks))
    if prefix in hits:
        hits = {prefix: hits[prefix]}
    if len(hits) == 1:
        order: tuple[Status, ...] = ("trained", "kept, not chosen", "kept", "dropped", "candidate")
        return sorted(next(iter(hits.values())), key=lambda hit: (order.index(hit.place.status), hit.place.round))
    told = one_line(prefix, 40)
    if hits:
        names = ", ".join(f"{name} ({found[0].place.status})" for name, found in list(hits.items())[:NEAR])
        more = ", ..." if len(hits) > NEAR else ""
        raise InputError(f"{run.path}: {len(hits)} ids begin with {told!r}: {names}{more}; give more of it")
    if not every:
        raise InputError(f"{run.path}: has no lesson and no candidate yet")
    near = sorted(every, key=lambda name: (-_shared(name, prefix), name))[:NEAR]
    raise InputError(f"{run.path}: no lesson and no dropped candidate has an id like {told!r}; near: {', '.join(near)}")


def _shared(name: str, other: str) -> int:
    return next((place for place, (a, b) in enumerate(zip(name, other, strict=False)) if a != b), len(other))


def _attempt(turn: RoundView | None, attempt_id: str | None) -> Attempt | None:
    if turn is None or attempt_id is None:
        return None
    return next((attempt for attempt in turn.attempts() if attempt.id == attempt_id), None)


def _seed(run: RunView, seed: str | None, attempt: Attempt | None) -> Problem | None:
    if attempt is not None and seed in (None, attempt.problem.id):
        return attempt.problem
    parts = (problem for part in ("train", "pool", "warm_up") for problem in run.problems(part))
    return next((problem for problem in parts if problem.id == seed), None) if seed else None


def _exam(run: RunView, turn: RoundView, skill: str | None) -> Skills | None:
    if skill is None or turn.metrics is None:
        return None
    earlier = [e for e in run.examined if e.index < turn.index and e.metrics is not None and e.metrics.promoted]
    before = earlier[-1].metrics.skills.get(skill) if earlier and earlier[-1].metrics else None
    after = turn.metrics.skills.get(skill)
    return Skills(skill=skill, before=before, after=after, change=after.change if after else None)


def prompt_text(messages: tuple[Message, ...]) -> str:
    """Return a chat as text, each turn under its role; a lone user turn as it is."""
    if len(messages) == 1 and messages[0]["role"] == "user":
        return messages[0]["content"]
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)
