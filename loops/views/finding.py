"""Rows and attempts of a run by id. Ids are computed from what they are made of, without decoding whole records.

Every line is read, and nothing is written beside the files: a run of any age and state can be searched.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import msgspec

from lessons.errors import InputError
from lessons.ids import ID_LENGTH
from lessons.jsonl import UNREADABLE
from lessons.records import Attempt, Dropped, Lesson, Record
from loops.reading import RoundView, RunView
from loops.views.text import one_line

T = TypeVar("T")
R = TypeVar("R", bound=Record)

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


class Line(NamedTuple):
    """One row of a round's file, not decoded yet."""

    id: str
    turn: RoundView
    file: str
    raw: bytes


# The fields that ids are made of (see `lessons/records.py`), sorted by name as `lessons.ids.canonical` has them.


class _Message(msgspec.Struct):
    content: str
    role: str


class _Lesson(msgspec.Struct):
    completion: str
    prompt: list[_Message]
    rejected: str | None = None


class _Dropped(msgspec.Struct):
    lesson: _Lesson


class _Problem(msgspec.Struct):
    question: str
    answer: str | None = None
    choices: list[str] = []


class _ProblemKey(msgspec.Struct):
    answer: str | None
    choices: list[str]
    question: str


class _Attempt(msgspec.Struct):
    problem: _Problem
    student: str
    text: str
    sample: int = 0


class _AttemptKey(msgspec.Struct):
    problem: str
    sample: int
    student: str
    text: str


_encode = msgspec.json.Encoder().encode
_lesson = msgspec.json.Decoder(_Lesson).decode
_dropped = msgspec.json.Decoder(_Dropped).decode
_attempt = msgspec.json.Decoder(_Attempt).decode
_problem = msgspec.json.Decoder(_Problem).decode


def _hash(kind: str, fields: msgspec.Struct) -> str:
    return hashlib.sha256(b'["%s",%s]' % (kind.encode(), _encode(fields))).hexdigest()[:ID_LENGTH]


def lesson_id(raw: bytes) -> str:
    """Return the id of a lesson from its line: as `Lesson.id`, several times as fast."""
    return _hash("lesson", _lesson(raw))


def dropped_id(raw: bytes) -> str:
    """Return the id of a dropped candidate from its line."""
    return _hash("lesson", _dropped(raw).lesson)


def problem_id(raw: bytes) -> str:
    """Return the id of a problem from its line."""
    return _of_problem(_problem(raw))


def attempt_ids(raw: bytes) -> tuple[str, str]:
    """Return the ids of an attempt and of its problem from the attempt's line."""
    it = _attempt(raw)
    problem = _of_problem(it.problem)
    return _hash("attempt", _AttemptKey(problem, it.sample, it.student, it.text)), problem


def _of_problem(it: _Problem) -> str:
    return _hash("problem", _ProblemKey(it.answer, it.choices, it.question))


def files_of(turn: RoundView) -> tuple[str, ...]:
    """Return the files of a round that its rows stand in, best standing first."""
    later = "dropped.jsonl" if turn.has("dropped.jsonl") else "dropped_by_method.jsonl"
    names = ("lessons.jsonl", "kept.jsonl", later, *(() if turn.has("kept.jsonl") else ("candidates.jsonl",)))
    return tuple(name for name in names if turn.has(name))


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file that are not blank."""
    with path.open("rb") as file:
        yield from (line for line in file if not line.isspace())


def row_lines(turns: Iterable[RoundView], naming: Iterable[str] = ()) -> Iterator[Line]:
    """Yield every row of these rounds, or those that name one of these ids.

    A row that was kept and trained on stands in both files.
    """
    wanted = re.compile("|".join(f'"{name}"' for name in naming).encode()).search
    for turn in turns:
        for name in files_of(turn):
            made = dropped_id if name.startswith("dropped") else lesson_id
            for raw, identity in _identified(turn, name, made, wanted):
                yield Line(identity, turn, name, raw)


def attempt_lines(turns: Iterable[RoundView]) -> Iterator[tuple[Line, str]]:
    """Yield every attempt at a train problem in these rounds, with the id of its problem."""
    for turn in turns:
        name = "attempts.jsonl" if turn.has("attempts.jsonl") else "answers.jsonl"
        for raw, (identity, problem) in _identified(turn, name, attempt_ids):
            yield Line(identity, turn, name, raw), problem


def _identified(
    turn: RoundView, name: str, made: Callable[[bytes], T], wanted: Callable[[bytes], object] = bool
) -> Iterator[tuple[bytes, T]]:
    if not turn.has(name):
        return
    for number, raw in enumerate(lines(turn.folder / name), start=1):
        if not wanted(raw):
            continue
        try:
            yield raw, made(raw)
        except UNREADABLE as error:
            turn.faults.refuse(turn.folder / name, f"line {number}: {error}")
            return  # as whoever reads whole records does


def decoded(line: Line) -> tuple[Lesson, Place]:
    """Return a row as a record, its checks with the drop as the last one, and where it stands.

    Raises:
        InputError: the line is not a whole record.
    """
    index = line.turn.index
    if line.file.startswith("dropped"):
        drop = _whole(line, Dropped)
        lesson = msgspec.structs.replace(drop.lesson, checks=(*drop.lesson.checks, drop.check))
        reason = f"{drop.check.filter}: {drop.check.reason}"
        return lesson, Place(round=index, status="dropped", reason=reason)
    lesson = _whole(line, Lesson)
    if line.file == "lessons.jsonl":
        return lesson, Place(round=index, status="trained")
    if line.file == "candidates.jsonl":
        return lesson, Place(round=index, status="candidate")
    return lesson, Place(round=index, status="kept, not chosen" if line.turn.has("lessons.jsonl") else "kept")


def only_best(found: Iterable[Line]) -> list[Line]:
    """Leave out the kept rows that were trained on in the same round, and repetitions within a file."""
    kept: dict[tuple[str, int, bool], Line] = {}
    for line in found:
        kept.setdefault((line.id, line.turn.index, line.file.startswith("dropped")), line)
    return list(kept.values())


def attempt_of(line: Line) -> Attempt:
    """Return an attempt's line as a record.

    Raises:
        InputError: the line is not a whole record.
    """
    return _whole(line, Attempt)


def _whole(line: Line, kind: type[R]) -> R:
    try:
        return msgspec.json.decode(line.raw, type=kind)
    except UNREADABLE as error:
        raise InputError(f"{line.turn.folder / line.file}: the line of {line.id}: {error}") from error


def none_like(run: RunView, told: str, names: Iterable[str]) -> InputError:
    """Return the error of an id that nothing has, with the lessons' ids that are nearest to it."""
    ids = dict.fromkeys(names)
    if not ids:
        return InputError(f"{run.path}: has no lesson and no candidate yet, and nothing else with an id like {told!r}")
    near = sorted(ids, key=lambda name: (-_shared(name, told), name))[:NEAR]
    return InputError(
        f"{run.path}: no lesson and no dropped candidate has an id like {one_line(told, 40)!r}, and no problem, "
        f"attempt or call; near: {', '.join(near)}"
    )


def ambiguous(run: RunView, told: str, found: dict[str, str]) -> InputError:
    """Return the error of a beginning that several ids have; `found` is id -> where it stands."""
    names = ", ".join(f"{name} ({where})" for name, where in list(found.items())[:NEAR])
    more = ", ..." if len(found) > NEAR else ""
    return InputError(f"{run.path}: {len(found)} ids begin with {one_line(told, 40)!r}: {names}{more}; give more of it")


def _shared(name: str, other: str) -> int:
    return next((place for place, (a, b) in enumerate(zip(name, other, strict=False)) if a != b), len(other))
