"""A task of the user's own: problems from JSON lines files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, cast

from lessons.answers import question_key
from lessons.errors import InputError
from lessons.graders.base import Grader
from lessons.ids import seed_of
from lessons.records import Problem
from lessons.skills import SkillCatalog
from loops.plugins import build
from loops.tasks.base import Split
from loops.tasks.drawing import Row, rows_of, shuffled, take, text_of, unused

__all__ = ["Jsonl"]


@dataclass(frozen=True, kw_only=True)
class Jsonl:
    """One problem a line. A question that stands in both files is asked in the exam and never taught."""

    train: str
    """Path of the file to learn from; a relative one is taken from the current directory."""
    held_out: str | float = 0.2
    """Path of the exam's file; or a share of `train` between 0 and 1, drawn at random; or a number of its problems."""
    gate: int = 0
    """Problems of `train` that decide whether a round's student is kept; 0 leaves it to the held-out ones."""
    final: str | int = 0
    """Path of a file, or a number of problems of `train`, examined once, when the run is over, so that nothing was
    chosen on them; 0: no final exam."""
    limit: int = 0
    """Problems that the student is examined on, at most, drawn at random; 0 for all that are left."""
    question: str = "question"
    """Name of the field that holds the question."""
    answer: str = "answer"
    """Name of the field that holds the reference answer, text or a number."""
    skills: str = "skills"
    """Name of the field that holds the skills, a name or a list of names; a row may go without it."""
    choices: str = "choices"
    """Name of the field that holds the closed list of answers; a row may go without it."""
    solution: str = "solution"
    """Name of the field that holds a worked solution; a row may go without it."""
    tests: str = "tests"
    """Name of the field that holds unit tests for the `code` grader, Python text or a list of it."""
    entry_point: str = "entry_point"
    """Name of the field that holds the name of the function under test; a row may go without it."""
    graded_by: str | dict[str, Any] = "exact"
    """Id of the grader (`tutelage methods grader` lists them, or `package.module:Name`), or a mapping of `id` and its
    knobs."""
    system: str = ""
    """The system message that the student gets with every problem; empty for none."""

    def __post_init__(self) -> None:
        if not isinstance(self.held_out, str) and not (
            0 < self.held_out < 1 or (self.held_out >= 1 and float(self.held_out).is_integer())
        ):
            raise ValueError(f"held_out must be a path, a share between 0 and 1, or a number, got {self.held_out}")
        if self.gate < 0 or self.limit < 0 or (not isinstance(self.final, str) and self.final < 0):
            raise ValueError("gate, final and limit must be 0 or more")

    @cached_property
    def grader(self) -> Grader:
        """The grader that `graded_by` names."""
        return build("grader", self.graded_by, where="task.graded_by")

    @property
    def instruction(self) -> str:
        """The system message."""
        return self.system

    def split(self, seed: int) -> Split:
        """Return the problems, drawn at random.

        Raises:
            InputError: a file cannot be read, a line is broken, a field is missing, or there are too few problems.
        """
        path = Path(self.train)
        rows = list(self._problems(path))
        used: set[str] = set()
        final: tuple[Problem, ...] = ()
        if isinstance(self.final, str):
            final = tuple(unused(self._problems(Path(self.final)), used))  # first: what it asks, no other part may
        if isinstance(self.held_out, str):
            held_out = tuple(unused(self._problems(Path(self.held_out)), used))
            rest = unused(shuffled(rows, Random(seed_of("jsonl", seed))), used)
        else:
            rest = unused(shuffled(rows, Random(seed_of("jsonl", seed))), used)
            different = len({question_key(problem.question) for problem in rows} - used)
            count = round(different * self.held_out) if self.held_out < 1 else int(self.held_out)
            held_out = take(rest, max(1, count), part="held_out", source=path)
        gate = take(rest, self.gate, part="gate", source=path)
        if not isinstance(self.final, str):
            final = take(rest, self.final, part="final", source=path)
        train = tuple(rest)[: self.limit or None]
        if not train:
            raise InputError(f"{path}: no problems are left to learn from once the exam's are taken out")
        return Split(train=train, held_out=held_out, gate=gate, final=final)

    def catalog(self, problems: Sequence[Problem]) -> SkillCatalog:
        """Return the skills that the rows are labelled with; empty where they are still to be found."""
        return SkillCatalog.of_problems(problems)

    def reference(self, problem: Problem) -> str:
        """Return the solution and the answer, as far as they are there.

        Raises:
            InputError: neither of them is.
        """
        stated = None if problem.answer is None else f"Answer: {problem.answer}" if problem.solution else problem.answer
        said = "\n".join(part for part in (problem.solution, stated) if part)
        if not said:
            raise InputError(f"{problem.source}: a lesson taken from it needs {self.solution!r} or {self.answer!r}")
        return said

    def _problems(self, path: Path) -> Iterator[Problem]:
        optional = ("skills", "choices", "solution", "tests", "entry_point")
        renamed = {n for n in optional if getattr(self, n) not in (n, "")}
        missing = set(renamed)
        for line, row in rows_of(path):
            missing -= {name for name in missing if getattr(self, name) in row}
            yield self._problem(row, path, line)
        if missing:
            name = min(missing)
            raise InputError(f"{path}: no row has the field {getattr(self, name)!r} that task.{name} names")

    def _problem(self, row: Row, path: Path, line: int) -> Problem:
        answer = row.get(self.answer)
        if isinstance(answer, int | float) and not isinstance(answer, bool):
            row = {**row, self.answer: str(answer)}
        solution = text_of(row, self.solution, path, line) if row.get(self.solution) is not None else None
        return Problem(
            question=text_of(row, self.question, path, line).strip(),
            answer=self._answer(row, path, line),
            skills=_names(row, self.skills, path, line),
            choices=_names(row, self.choices, path, line),
            solution=solution,
            source=f"{path.name}:{line}",
            data=self._data(row),
        )

    def _answer(self, row: Row, path: Path, line: int) -> str | None:
        if row.get(self.answer) is None and not getattr(self.grader, "needs_answer", True):
            return None
        return text_of(row, self.answer, path, line).strip()

    def _data(self, row: Row) -> dict[str, Any]:
        """Return what the grader alone reads, under the names that it knows."""
        fields = (("tests", self.tests), ("entry_point", self.entry_point))
        return {name: row[field] for name, field in fields if row.get(field) is not None}


def _names(row: Mapping[str, Any], field: str, path: Path, line: int) -> tuple[str, ...]:
    value = row.get(field)
    if value is None:
        return ()
    names = cast(list[object], [value] if isinstance(value, str) else value)
    if not isinstance(value, str | list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise InputError(f"{path}: line {line}: field {field!r} must be a name or a list of names")
    return tuple(dict.fromkeys(str(name).strip() for name in names))
