"""`tutelage why RUN ID` for a problem, an attempt or a teacher's call: the rows that came of it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from lessons.jsonl import UNREADABLE
from lessons.records import Attempt, Problem, Record
from loops.reading import RunView
from loops.views.finding import (
    Line,
    Place,
    ambiguous,
    attempt_lines,
    attempt_of,
    decoded,
    lines,
    only_best,
    problem_id,
    row_lines,
)
from loops.views.text import View
from loops.watching.standing import State, standing
from teachers.ledger import Call, ids_like

if TYPE_CHECKING:
    from rich.console import RenderableType

Kind = Literal["problem", "attempt", "call"]


class Came(Record, frozen=True, kw_only=True):
    """A row that came of it."""

    id: str
    place: Place
    skill: str | None
    method: str


class Tried(Record, frozen=True, kw_only=True):
    """An answer of the student to the problem."""

    round: int
    id: str
    attempt: Attempt


class Traces(View, frozen=True, kw_only=True):
    """What came of a problem, an attempt or a call."""

    run: str
    state: str
    standing: State
    kind: Kind
    id: str
    problem: Problem | None
    """The problem itself, or the attempt's."""
    part: str
    """The part of the split that the problem stands in; "" where that is not known."""
    tried: tuple[Tried, ...]
    """The attempt, or all attempts at the problem in the examinations, first to last."""
    call: Call | None
    rows: tuple[Came, ...]
    """Lessons and candidates, best standing first in each round."""

    def render(self) -> "RenderableType":
        """Return the view for a terminal."""
        from loops.views.traces_text import rendered

        return rendered(self)


def traces(run: RunView, prefix: str) -> Traces | None:
    """Find the problem, attempt or call whose id begins so, and the rows that came of it; None where there is none.

    Raises:
        InputError: several have an id that begins so.
    """
    kinds: dict[str, Kind] = {}
    where: dict[str, str] = {}
    for path in sorted((run.path / "problems").glob("*.jsonl")):
        try:
            for raw in lines(path):
                if (identity := problem_id(raw)).startswith(prefix):
                    kinds[identity], where[identity] = "problem", path.stem
        except UNREADABLE as error:
            run.faults.refuse(path, f"a line of it: {error}")
    tried = [
        (line, problem)
        for line, problem in attempt_lines(run.rounds)
        if line.id.startswith(prefix) or problem.startswith(prefix)
    ]
    kinds |= {problem: "problem" for _, problem in tried if problem.startswith(prefix)}
    kinds |= {line.id: "attempt" for line, _ in tried if line.id.startswith(prefix)}
    ledger = run.path / "calls.sqlite"
    if ledger.is_file():
        kinds |= dict.fromkeys(run.faults.spare(ledger, lambda: ids_like(ledger, prefix), []), "call")
    if prefix in kinds:
        kinds = {prefix: kinds[prefix]}
    if len(kinds) > 1:
        raise ambiguous(run, prefix, dict(kinds))
    for identity, kind in kinds.items():
        attempts = [line for line, problem in tried if identity in (line.id, problem)]
        return _traced(run, identity, kind, where.get(identity, ""), attempts)
    return None


def _traced(run: RunView, identity: str, kind: Kind, part: str, attempts: list[Line]) -> Traces:
    tried = tuple(Tried(round=line.turn.index, id=line.id, attempt=attempt_of(line)) for line in attempts)
    problem = tried[0].attempt.problem if tried else None
    if kind == "problem" and problem is None:
        problem = next((found for found in run.problems(part) if found.id == identity), None)
    return Traces(
        run=run.name,
        state=run.state,
        standing=standing(run).state,
        kind=kind,
        id=identity,
        problem=problem,
        part=part,
        tried=tried,
        call=next(run.calls([identity]), None) if kind == "call" else None,
        rows=tuple(_rows(run, identity, kind, {line.id for line in attempts})),
    )


def _rows(run: RunView, identity: str, kind: Kind, attempts: set[str]) -> Iterator[Came]:
    for line in only_best(row_lines(run.rounds, naming=(identity, *attempts))):
        lesson, place = decoded(line)
        origin = lesson.provenance
        of_problem = identity in (origin.seed, lesson.problem.parent) or origin.attempt in attempts
        if identity in origin.calls if kind == "call" else of_problem or identity == origin.attempt:
            yield Came(id=line.id, place=place, skill=origin.skill, method=origin.method)
