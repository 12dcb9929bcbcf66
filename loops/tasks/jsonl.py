"""A task of the user's own: problems from JSON lines files."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    graded_by: str | dict[str, Any] = "exact"
    """Id of the grader (exact, numeric, choice, math, or `package.module:Name`), or a mapping of `id` and its knobs."""
    system: str = ""
    """The system message that the student gets with every problem; empty for none."""

    def __post_init__(self) -> None:
        if not isinstance(self.held_out, str) and not (
            0 < self.held_out < 1 or (self.held_out >= 1 and float(self.held_out).is_integer())
        ):
            raise ValueError(f"held_out must be a path, a share between 0 and 1, or a number, got {self.held_out}")
        if self.gate < 0 or self.limit < 0:
            raise ValueError("gate and limit must be 0 or more")

    @property
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
        if isinstance(self.held_out, str):
            held_out = tuple(unused(self._problems(Path(self.held_out)), used))
            rest = unused(shuffled(rows, Random(seed_of("jsonl", seed))), used)
        else:
            rest = unused(shuffled(rows, Random(seed_of("jsonl", seed))), used)
            different = len({question_key(problem.question) for problem in rows})
            count = round(different * self.held_out) if self.held_out < 1 else int(self.held_out)
            held_out = take(rest, max(1, count), part="held_out", source=path)
        gate = take(rest, self.gate, part="gate", source=path)
        train = tuple(rest)[: self.limit or None]
        if not train:
            raise InputError(f"{path}: no problems are left to learn from once the exam's are taken out")
        return Split(train=train, held_out=held_out, gate=gate)

    def catalog(self, problems: Sequence[Problem]) -> SkillCatalog:
        """Return the skills that the rows are labelled with; empty where they are still to be found."""
        return SkillCatalog.of_problems(problems)

    def reference(self, problem: Problem) -> str:
        """Return the solution, where there is one, and the answer."""
        return f"{problem.solution}\nAnswer: {problem.answer}" if problem.solution else str(problem.answer)

    def _problems(self, path: Path) -> Iterator[Problem]:
        renamed = {n for n in ("skills", "choices", "solution") if getattr(self, n) not in (n, "")}
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
            answer=text_of(row, self.answer, path, line).strip(),
            skills=_names(row, self.skills, path, line),
            choices=_names(row, self.choices, path, line),
            solution=solution,
            source=f"{path.name}:{line}",
        )


def _names(row: Mapping[str, Any], field: str, path: Path, line: int) -> tuple[str, ...]:
    value = row.get(field)
    if value is None:
        return ()
    names = cast(list[object], [value] if isinstance(value, str) else value)
    if not isinstance(value, str | list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise InputError(f"{path}: line {line}: field {field!r} must be a name or a list of names")
    return tuple(dict.fromkeys(str(name).strip() for name in names))
