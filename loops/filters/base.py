"""The filter's port. A filter is a module of this folder, named by its module, or `package.module:Name`."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from lessons.errors import GradeError
from lessons.graders.base import Grade, Grader
from lessons.records import Check, Dropped, Lesson, Problem

if TYPE_CHECKING:
    from loops.exams.index import ExamIndex
    from loops.scores import Scores
    from teachers.calls import Asker
    from teachers.prompts.rating import Rating


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What filters may look at beside the candidates."""

    grader: Grader
    held_out: frozenset[str] = frozenset()
    """Normalised questions of the held-out, gate and final problems."""
    trained: Set[str] = frozenset()
    """Ids of the lessons of earlier rounds."""
    exams: "ExamIndex | None" = None
    """The same problems by their runs of words; None where there is no exam to keep away from."""
    grades: Mapping[str, Grade | GradeError] = field(default_factory=dict[str, Grade | GradeError])
    """Id of a lesson -> what the grader says of it, where it was asked beforehand."""
    earlier: Sequence[Lesson] = ()
    """The lessons of earlier rounds whose student was kept, oldest first; `trained` are their ids."""
    problems: Sequence[Problem] = ()
    """The train problems."""
    ratings: "Mapping[str, Rating | str]" = field(default_factory=dict[str, "Rating | str"])
    """Id of a lesson -> how good a teacher finds it, or why it did not say, for a filter that has asked beforehand."""
    scores: "Scores | None" = None
    """How probable the student finds texts; None where there is no student to be asked (an estimate)."""

    def grade(self, lesson: Lesson) -> Grade:
        """Return how right a lesson's completion is.

        Raises:
            GradeError: the grader cannot tell.
        """
        known = self.grades.get(lesson.id)
        if isinstance(known, GradeError):
            raise known
        return known or self.grader.grade(lesson.problem, lesson.completion)


class Drop(str):
    """Why a candidate is dropped: a short countable phrase. `detail` says more of this one."""

    detail: str

    def __new__(cls, reason: str, detail: str = "") -> "Drop":
        """Make a reason with its detail."""
        made = super().__new__(cls, reason)
        made.detail = detail
        return made


class Filter(Protocol):
    """Says of each candidate whether it may become a lesson. Its fields are its knobs.

    One that judges each candidate by itself says so by `alone: ClassVar[bool] = True`: it is then given some of them at
    a time, so that memory does not grow with their number.
    """

    def judge(self, lessons: Sequence[Lesson], context: Context) -> Sequence[Lesson | Drop]:
        """Return for each candidate, in order, the candidate (changed where the filter adds something) or a Drop."""
        ...


@runtime_checkable
class ComparingFilter(Filter, Protocol):
    """A filter that holds candidates against one another, and keeps little of each: it need not hold their texts."""

    def verdicts(self, lessons: Sequence[Lesson], context: Context) -> "Iterator[Lesson | Drop | None]":
        """Yield for each candidate, in order, what `judge` returns for it, or None where it stays as it is.

        lessons: may be read as often as is needed; each time costs as much as decoding the file that they lie in.
        """
        ...


@runtime_checkable
class AskingFilter(Filter, Protocol):
    """A filter that asks a teacher. What the replies come to stands in `Context.ratings` when it judges."""

    async def ratings(self, lessons: Sequence[Lesson], asker: "Asker") -> "Mapping[str, Rating | str]":
        """Return for the id of each lesson what a teacher says of it, or why it says nothing.

        Raises:
            TeacherError: fatal: no call of this run can succeed.
        """
        ...


@runtime_checkable
class CheckedFilter(Filter, Protocol):
    """A filter that needs something of the machine: a model in a folder."""

    def check(self) -> None:
        """Refuse to begin where it is not there.

        Raises:
            InputError: says what is lacking.
        """
        ...


def apply(name: str, judge: Filter, lessons: Sequence[Lesson], context: Context) -> tuple[list[Lesson], list[Dropped]]:
    """Run one filter; the kept ones carry its check, the dropped ones its reason."""
    kept: list[Lesson] = []
    dropped: list[Dropped] = []
    for row in judged(name, judge, lessons, context):
        dropped.append(row) if isinstance(row, Dropped) else kept.append(row)
    return kept, dropped


def judged(name: str, judge: Filter, lessons: Sequence[Lesson], context: Context) -> Iterator[Lesson | Dropped]:
    """Yield what becomes of each candidate: the lesson with the filter's check, or what is dropped with its reason."""
    compares = isinstance(judge, ComparingFilter)
    verdicts = judge.verdicts(lessons, context) if compares else judge.judge(lessons, context)
    for lesson, verdict in zip(lessons, verdicts, strict=True):
        if isinstance(verdict, Drop):
            check = Check(filter=name, passed=False, reason=str(verdict), detail=verdict.detail)
            yield Dropped(lesson=lesson, check=check)
        else:
            kept = lesson if verdict is None else verdict
            yield msgspec.structs.replace(kept, checks=(*kept.checks, Check(filter=name, passed=True)))


def every(lessons: Iterable[Lesson], verdicts: Iterable[Lesson | Drop | None]) -> list[Lesson | Drop]:
    """Return a comparing filter's verdicts as `judge` returns them."""
    return [lesson if verdict is None else verdict for lesson, verdict in zip(lessons, verdicts, strict=True)]


_SPACES = re.compile(r"\s+")


def normal(text: str) -> str:
    """Return a text as duplicates are told by: case and white space do not count."""
    return _SPACES.sub(" ", text).strip().casefold()
