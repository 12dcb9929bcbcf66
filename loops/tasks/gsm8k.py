"""GSM8K, grade-school maths word problems (Cobbe et al. 2021, arXiv 2110.14168; MIT licence)."""

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import cast

from lessons.answers import question_key
from lessons.errors import InputError
from lessons.graders.numeric import NumericGrader
from lessons.ids import seed_of
from lessons.records import Problem
from lessons.skills import SkillCatalog
from loops.tasks.base import Split
from loops.tasks.drawing import checked_counts, rows_of, shuffled, take, text_of, unused

__all__ = ["Gsm8k"]

ADVICE = "get train.jsonl and test.jsonl from https://github.com/openai/grade-school-math (grade_school_math/data)"

_CALCULATOR_MARK = re.compile(r"<<[^<>]*>>")


@dataclass(frozen=True, kw_only=True)
class Gsm8k:
    """Word problems with worked solutions. The exam comes from test.jsonl, everything else from train.jsonl."""

    folder: str = "data/gsm8k"
    """Folder that holds train.jsonl and test.jsonl; a relative one is taken from the current directory."""
    train: int = 2000
    """Problems that the student is examined on, 1 to 7,473."""
    held_out: int = 500
    """Problems of the exam that is reported, 1 to 1,319."""
    gate: int = 0
    """Problems, from train.jsonl, that decide whether a round's student is kept; 0 leaves it to the held-out ones."""
    final: int = 0
    """Problems, from test.jsonl like the exam's, that are examined once, when the run is over, so that nothing was
    chosen on them; 0: no final exam. With held_out 1 to 1,319 in all."""
    skills: str = ""
    """JSON lines file that labels problems: `skills` (a list of names) with the `id` or the `question` of a problem.
    The data itself names none."""

    def __post_init__(self) -> None:
        checked_counts(train=self.train, held_out=self.held_out, gate=self.gate, final=self.final)

    @property
    def grader(self) -> NumericGrader:
        """Compares the final numbers."""
        return NumericGrader()

    @property
    def instruction(self) -> str:
        """The system message."""
        return 'Solve the problem. Think step by step, and end with a line "Answer: N", where N is a number.'

    def split(self, seed: int) -> Split:
        """Return the problems, drawn at random.

        Raises:
            InputError: the data is not there or not as it should be, or there are not so many problems.
        """
        labels = _labels(Path(self.skills)) if self.skills else {}
        test, train = Path(self.folder) / "test.jsonl", Path(self.folder) / "train.jsonl"
        used: set[str] = set()
        exam = unused(shuffled(_problems(test, labels), Random(seed_of("gsm8k", "test", seed))), used)
        held_out = take(exam, self.held_out, part="held_out", source=test)
        final = take(exam, self.final, part="final", source=test)
        deque(exam, maxlen=0)  # what was not drawn for the exam is used up too, and never taught
        rest = unused(shuffled(_problems(train, labels), Random(seed_of("gsm8k", "train", seed))), used)
        taught = take(rest, self.train, part="train", source=train)
        gate = take(rest, self.gate, part="gate", source=train)
        return Split(train=taught, held_out=held_out, gate=gate, final=final)

    def catalog(self, problems: Sequence[Problem]) -> SkillCatalog:
        """Return the skills of the `skills` file; without one they are still to be found."""
        return SkillCatalog.of_problems(problems)

    def reference(self, problem: Problem) -> str:
        """Return the worked solution and the answer line."""
        solution = f"{problem.solution}\n" if problem.solution else ""
        return f"{solution}Answer: {problem.answer}"


def _problems(path: Path, labels: Mapping[str, tuple[str, ...]]) -> Iterator[Problem]:
    for line, row in rows_of(path, advice=ADVICE):
        question = text_of(row, "question", path, line).strip()
        solution, mark, answer = text_of(row, "answer", path, line).rpartition("####")
        if not mark or not answer.strip():
            raise InputError(f"{path}: line {line}: field 'answer' does not end with '#### N'")
        problem = Problem(
            question=question,
            answer=answer.strip().replace(",", ""),
            solution=_CALCULATOR_MARK.sub("", solution).strip(),
            source=f"gsm8k/{path.name}:{line}",
        )
        skills = labels.get(problem.id) or labels.get(question_key(question)) or ()
        yield Problem(
            question=question, answer=problem.answer, solution=problem.solution, source=problem.source, skills=skills
        )


def _labels(path: Path) -> dict[str, tuple[str, ...]]:
    """Return the skills of each problem, by its id or the key of its question."""
    labels: dict[str, tuple[str, ...]] = {}
    for line, row in rows_of(path):
        field = "id" if "id" in row else "question"
        text = text_of(row, field, path, line)
        names = row.get("skills")
        if not isinstance(names, list) or not all(isinstance(name, str) and name for name in cast(list[object], names)):
            raise InputError(f"{path}: line {line}: field 'skills' must be a list of names")
        labels[text if field == "id" else question_key(text)] = tuple(cast(list[str], names))
    return labels
