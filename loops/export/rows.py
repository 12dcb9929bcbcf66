"""A run's lessons as flat rows: what is trained on, in TRL's own columns, and beside it where each row comes from."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from lessons.errors import InputError
from lessons.records import Attempt, Lesson
from loops.reading import RoundView, RunView

AT_ONCE = 512
"""Rows whose calls are looked up together."""

Row = dict[str, Any]
T = TypeVar("T")


def batches(items: Iterable[T], size: int = AT_ONCE) -> Iterator[list[T]]:
    """Yield the items in lists of `size`; the last may be shorter."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some


def rounds_of(run: RunView, index: int | None) -> tuple[RoundView, ...]:
    """Return the rounds whose lessons are exported: one, or those whose student was kept.

    Raises:
        InputError: that round is not there or has no lessons yet, or no round has.
    """
    taught = [turn for turn in run.rounds if turn.has("lessons.jsonl")]
    if index is not None:
        found = [turn for turn in taught if turn.index == index]
        if not found:
            known = ", ".join(str(turn.index) for turn in taught) or "none yet"
            raise InputError(f"{run.path}: round {index} has no lessons; rounds that have: {known}")
        return tuple(found)
    kept = tuple(turn for turn in taught if turn.metrics is not None and turn.metrics.promoted)
    if not kept:
        hint = f"name one of them with --round ({', '.join(str(turn.index) for turn in taught)})" if taught else ""
        raise InputError(f"{run.path}: no round's student was kept{': ' + hint if hint else ', and none has lessons'}")
    return kept


def trained(run: RunView, turns: Sequence[RoundView]) -> Iterator[Row]:
    """Yield every row that these rounds trained on, each once, in the order of its first training."""
    rounds: dict[str, list[int]] = {}
    for turn in turns:
        for lesson in turn.lessons():
            rounds.setdefault(lesson.id, []).append(turn.index)
    seen: set[str] = set()
    for turn in turns:
        attempts = _Attempts(run)
        for some in batches(turn.lessons()):
            fresh: list[Lesson] = []
            for lesson in some:
                if lesson.id not in seen:
                    seen.add(lesson.id)
                    fresh.append(lesson)
            teachers = _teachers(run, fresh)
            for lesson in fresh:
                yield {
                    **_row(lesson, attempts.of(lesson), teachers),
                    "rounds": sorted(set(rounds[lesson.id])),
                    "weight": lesson.weight,
                    "draw_probability": lesson.share,
                }


def dropped(run: RunView, turns: Sequence[RoundView]) -> Iterator[Row]:
    """Yield every dropped candidate of these rounds, with the filter and its reason."""
    for turn in turns:
        attempts = _Attempts(run)
        for drops in batches(turn.dropped()):
            teachers = _teachers(run, [drop.lesson for drop in drops])
            for drop in drops:
                yield {
                    **_row(drop.lesson, attempts.of(drop.lesson), teachers),
                    "dropped_by": drop.check.filter,
                    "reason": drop.check.reason,
                    "detail": drop.check.detail,
                }


def _row(lesson: Lesson, attempt: Attempt | None, teachers: dict[str, str]) -> Row:
    origin, problem = lesson.provenance, lesson.problem
    diagnosis = attempt.diagnosis if attempt is not None else None
    return {
        "id": lesson.id,
        "prompt": [dict(message) for message in lesson.prompt],
        "completion": [{"role": "assistant", "content": lesson.completion}],
        "rejected": None if lesson.rejected is None else [{"role": "assistant", "content": lesson.rejected}],
        "method": origin.method,
        "round": origin.round,
        "skill": origin.skill,
        "skills": list(lesson.skills),
        "question": problem.question,
        "answer": problem.answer,
        "problem": problem.id,
        "source": problem.source,
        "seed_problem": origin.seed,
        "attempt": origin.attempt,
        "student_answer": attempt.text if attempt is not None else None,
        "student_score": attempt.score if attempt is not None else None,
        "missing_skills": list(attempt.missing) if attempt is not None else [],
        "error_kind": diagnosis.error if diagnosis is not None else None,
        "diagnosis": diagnosis.reason if diagnosis is not None else None,
        "calls": list(origin.calls),
        "teachers": sorted({teachers[call] for call in origin.calls if call in teachers}),
        "filters_passed": [check.filter for check in lesson.checks if check.passed],
    }


def _teachers(run: RunView, lessons: Iterable[Lesson]) -> dict[str, str]:
    """Return call id -> the model that answered it, as the endpoint or else the recipe names it."""
    ids = dict.fromkeys(call for lesson in lessons for call in lesson.provenance.calls)
    return {call.id: call.reply.model or call.teacher for call in run.calls(ids)}


class _Attempts:
    """The attempts behind lessons; those of one round are held at a time, without the others'."""

    def __init__(self, run: RunView) -> None:
        self.run = run
        self._held: dict[int, dict[str, Attempt]] = {}

    def of(self, lesson: Lesson) -> Attempt | None:
        """Return the attempt that caused a lesson; None where none did, or where it is not in the folder."""
        origin = lesson.provenance
        if origin.attempt is None:
            return None
        if origin.round not in self._held:
            turn = self.run.round(origin.round)
            self._held = {origin.round: {a.id: a for a in turn.attempts()} if turn is not None else {}}
        return self._held[origin.round].get(origin.attempt)
