"""Answers that are programs: unit tests decide, run in confined processes of their own."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import BoundedSemaphore
from typing import Any, ClassVar, NoReturn, cast

from lessons.answers import without_thoughts
from lessons.errors import GradeError, InputError
from lessons.graders.base import Grade
from lessons.knobs import operational
from lessons.numbers import NO_ANSWER
from lessons.records import Problem
from lessons.sandbox.confine import confinement
from lessons.sandbox.start import Bounds, run_tests

__all__ = ["CodeGrader"]

CODE_LIMIT = 100_000
"""Characters of a program that are run at most, our own bound: a longer one is no answer to an exercise."""

_FENCE = re.compile(r"^[ \t]{0,3}(`{3,}|~{3,})[ \t]*([\w+.-]*)[^`\n]*$", re.MULTILINE)
_LANGUAGES = frozenset(("", "python", "python3", "py", "py3"))
_PROGRAM = re.compile(r"^(?:def|class|import|from|async def|@\w)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeGrader:
    """Runs the code of an answer against the problem's unit tests, where this machine can confine it, and only there.

    The tests stand in `problem.data["tests"]`: Python text, or a list of it (assert lines, a `check(candidate)` or
    `test_...` functions, a unittest.TestCase); `problem.data["entry_point"]` may name the function under test.
    The code is the last fenced block of the answer. It runs in another process than the tests, see docs/graders.md.
    """

    partial: bool = False
    """Whether an answer that passes some of the tests gets the share that it passes, else 0."""
    seconds: int = 10
    """Of computing that the code has for all of its tests, and of waiting, 1 or more."""
    memory_mb: int = 512
    """Megabytes of address space that the code has, 64 or more."""
    file_mb: int = 4
    """Megabytes of one file that the code may write in its folder, which vanishes, 1 or more."""
    packages: bool = False
    """Whether the code may import the packages that are installed beside tutelage, not Python's own modules alone."""
    workers: int = operational(2)
    """Answers that are run at once, each in two processes, 1 or more."""
    comparable: ClassVar[bool] = False
    """Two programs cannot be compared for being the same answer."""
    needs_answer: ClassVar[bool] = False
    """The tests tell, not a reference answer."""

    def __post_init__(self) -> None:
        if self.seconds < 1 or self.memory_mb < 64 or self.file_mb < 1 or self.workers < 1:
            raise ValueError("seconds, file_mb and workers must be 1 or more, memory_mb 64 or more")

    def check(self) -> None:
        """Look whether code can be confined here.

        Raises:
            InputError: it cannot, and so is never run.
        """
        found = confinement()
        if not found.possible:
            raise InputError(f"the grader 'code' runs no code that it cannot confine: {found.told}")

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer text: 1 where all tests pass, else 0, or with `partial` the share that passes.

        Raises:
            GradeError: the problem has no tests or broken ones, the code cannot be confined here, or the verdict would
                rest on the word of the code under test.
        """
        tests, entry_point = _tests_of(problem)
        code = self.read(text)
        if code is None:
            return Grade(0.0, None, NO_ANSWER)  # a failure of form, as of any answer that states none
        bounds = Bounds(self.seconds, self.memory_mb * 2**20, self.file_mb * 2**20, self.packages)
        with _places(self.workers):
            passed, failed, why = run_tests(code, tests, entry_point, bounds)
        score = passed / (passed + failed) if self.partial else float(not failed)
        return Grade(score, code, f"{passed} of {passed + failed} tests passed; {why}" if failed else "")

    def grade_many(self, asked: Sequence[tuple[Problem, str]]) -> list[Grade | GradeError]:  # [asked]
        """Grade several answers, `workers` at once; what cannot be told is returned as its error."""

        def one(pair: tuple[Problem, str]) -> Grade | GradeError:
            try:
                return self.grade(*pair)
            except GradeError as error:
                return error

        with ThreadPoolExecutor(max_workers=self.workers) as pool:
            return list(pool.map(one, asked))

    def read(self, text: str) -> str | None:
        """Return the code of an answer: its last fenced block that may be Python, or None.

        A text without any fence is code where a line of it begins like a program.
        """
        blocks = fenced_blocks(without_thoughts(text))
        if blocks is None:
            found = text if _PROGRAM.search(text) else None
        else:
            found = next((code for language, code in reversed(blocks) if language.casefold() in _LANGUAGES), None)
        return found if found and found.strip() and len(found) <= CODE_LIMIT else None

    def same(self, one: str, other: str) -> NoReturn:
        """Programs are not compared.

        Raises:
            GradeError: always.
        """
        raise GradeError("whether two programs are the same cannot be told")


def fenced_blocks(text: str) -> list[tuple[str, str]] | None:  # (language, code)
    """Return the fenced blocks of a text, in order; None where it has no fence. One that is cut off goes to the end.

    A block ends at a fence of the same sign that is at least as long and names no language (CommonMark 0.31, section
    4.5).
    """
    blocks: list[tuple[str, str]] = []
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence[1].startswith(opened[1]) and not fence[0].strip().strip(opened[1][0]):
            blocks.append((opened[2], text[opened.end() + 1 : max(opened.end() + 1, fence.start())]))
            opened = None
    if opened is not None:
        blocks.append((opened[2], text[opened.end() + 1 :]))
    return blocks or None


def _tests_of(problem: Problem) -> tuple[str, str]:
    given: Any = problem.data.get("tests")
    lines = cast("list[Any]", given) if isinstance(given, list) else [given]
    if not lines or not all(isinstance(line, str) and line.strip() for line in lines):
        raise GradeError(f"problem {problem.id} has no tests: data.tests must be Python text, or a list of it")
    entry_point: Any = problem.data.get("entry_point") or ""
    if not isinstance(entry_point, str) or not (entry_point == "" or entry_point.isidentifier()):
        raise GradeError(f"problem {problem.id}: data.entry_point must be the name of a function")
    return "\n".join(lines), entry_point


@cache
def _places(workers: int) -> BoundedSemaphore:
    """Return what all graders of so many workers share, whichever threads they grade in."""
    return BoundedSemaphore(workers)
