"""The grader's port. A grader is a module of this folder, named by its module, or `package.module:Name`."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from lessons.errors import GradeError
from lessons.records import Problem


class Grade(NamedTuple):
    """How right an attempt is."""

    score: float
    """In [0, 1]; 1 is wholly right."""
    answer: str | None = None
    """The final answer that was read in the text; None where the text has none."""
    note: str = ""
    """Worth knowing: "no final answer", "several answers"."""


class Grader(Protocol):
    """Says how right an attempt is, or raises that it cannot tell."""

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer text.

        Raises:
            GradeError: it cannot tell: no reference answer, one it cannot read, or time ran out. Never a guessed 0.
        """
        ...

    def read(self, text: str) -> str | None:
        """Return the final answer that the text states, or None where it states none (or several)."""
        ...

    def same(self, one: str, other: str) -> bool:
        """Whether two final answers are the same answer: what agreement among solutions is counted with.

        Raises:
            GradeError: it cannot tell.
        """
        ...


@runtime_checkable
class ManyGrader(Grader, Protocol):
    """A grader that grades several answers faster together than one by one."""

    def grade_many(self, asked: Sequence[tuple[Problem, str]]) -> list[Grade | GradeError]:  # [asked]
        """Grade several answer texts; what cannot be told is returned as its error."""
        ...


@runtime_checkable
class CheckedGrader(Grader, Protocol):
    """A grader that needs something of the machine that it runs on."""

    def check(self) -> None:
        """Look whether it is there, before a run begins.

        Raises:
            InputError: it is not; says what to do.
        """
        ...
