"""Selective Reflection-Tuning: the teacher rewrites question and answer, the student chooses (arXiv 2402.10110)."""

import asyncio
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from lessons.records import Attempt, Lesson, Problem
from loops import ifd
from loops.filters.ifd import IFD
from loops.methods.base import together
from loops.rolling import gold, one_each
from loops.round import Round
from teachers.prompts.reflected_answer import REFLECTED_ANSWER
from teachers.prompts.reflected_problem import REFLECTED_PROBLEM

__all__ = ["Reflection"]

Kind = Literal["original", "answer", "question", "both"]
"""What the teacher has rewritten in a version: nothing, the answer (A), the question with an answer (Q), or also the
answer to the new question (QA)."""


class Version(NamedTuple):
    """One version of a problem and its answer."""

    problem: Problem
    answer: str
    calls: tuple[str, ...] = ()


class Scored(NamedTuple):
    """What a student makes of a version; nan where that cannot be told, which no comparison is true of."""

    ifd: float
    reverse: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reflection:
    """References rewritten by the teacher, of which the student takes what is harder asked and clearer answered.

    The rewritten question is taken where it raises IFD, the rewritten answer where it lowers reverse IFD; what is taken
    must have both below 1. A new question has no reference, so that the filter `verified` would drop it.
    """

    paper: ClassVar[str] = "arXiv:2402.10110"
    teacher: ClassVar[str] = "a better question with its answer, better answers to both questions"
    student: ClassVar[str] = "token scores of 4 versions of each problem"
    cost: ClassVar[str] = "3 calls a problem"
    unverifiable: ClassVar[str] = "its new questions have no reference answer"
    of: Literal["all", "missed"] = "all"
    """`all` reflects on every examined problem that has a reference, as the paper does on its whole data set; `missed`
    on those that call for lessons."""
    released: bool = False
    """Whether to leave out what has no rewritten answer (original, and question alone), as the released code does: two
    of its four branches are commented out."""
    scorer: str = "base"
    """Who scores: `base`, the student before any lesson (the paper's raw student); `now`, the one that is taught; or
    the id of a model."""
    bound: float | None = 1.0
    """IFD and reverse IFD of what is taken must be below this; 1 in the paper. null sets no bound."""

    def __post_init__(self) -> None:
        if self.bound is not None and not self.bound > 0:
            raise ValueError(f"bound must be above 0, got {self.bound}")

    async def teach(self, round: Round) -> list[Lesson]:  # noqa: A002 - the design's word
        """Have every version written, score them, and take one of each problem."""
        attempts = [a for a in one_each(round, self.of) if gold(round, a.problem)]
        told = await together(self.versions(round, attempt.problem) for attempt in attempts)
        if round.scores is None:
            return []  # an estimate reckons the calls alone
        scored = self._scored(round, told)
        lessons: list[Lesson] = []
        for attempt, versions, of_versions in zip(attempts, told, scored, strict=True):
            kind = chosen(of_versions)
            round.counts[f"took {kind}"] += 1
            if not self.released or kind in ("answer", "both"):
                lessons.append(_lesson(round, attempt, versions[kind]))
        if self.bound is None:
            return lessons
        return round.keep(lessons, IFD(below=self.bound, reverse_below=self.bound, scorer=self.scorer), "ifd")

    async def versions(self, round: Round, problem: Problem) -> dict[Kind, Version]:  # noqa: A002
        """Return the versions of a problem: all four, less those whose reply was lost."""
        answer, instruction = gold(round, problem) or "", round.task.instruction
        found: dict[Kind, Version] = {"original": Version(problem, answer)}
        better, asked = await asyncio.gather(
            round.ask(REFLECTED_ANSWER, question=problem.question, answer=answer, instruction=instruction),
            round.ask(REFLECTED_PROBLEM, question=problem.question, answer=answer, instruction=instruction),
        )
        for said in better:
            found["answer"] = Version(problem, said.value.answer, (said.call,))
        for said in asked:
            source = f"{round.method}, round {round.index}"
            new = Problem(
                question=said.value.question, skills=problem.skills, subject=problem.subject, source=source,
                parent=problem.id,
            )  # fmt: skip
            found["question"] = Version(new, said.value.answer, (said.call,))
            both = await round.ask(
                REFLECTED_ANSWER, question=new.question, answer=said.value.answer, instruction=instruction
            )
            for last in both:
                found["both"] = Version(new, last.value.answer, (said.call, last.call))
        return found

    def _scored(self, round: Round, told: list[dict[Kind, Version]]) -> list[dict[Kind, Scored]]:  # noqa: A002
        scores = round.scores
        assert scores is not None
        round.make_room("scoring")
        rows = [(round.prompt(v.problem), v.answer) for versions in told for v in versions.values()]
        plain, turned = ifd.ifd(scores, rows, self.scorer), ifd.reverse_ifd(scores, rows, self.scorer)
        each = iter(map(Scored, plain, turned))
        return [{kind: next(each) for kind in versions} for versions in told]


def chosen(scored: dict[Kind, Scored]) -> Kind:
    """Return which version the student takes, of those that there are: the table of the paper's step 2."""
    original = scored["original"]
    if "question" in scored and scored["question"].ifd > original.ifd:
        return "both" if "both" in scored and scored["both"].reverse < scored["question"].reverse else "question"
    return "answer" if "answer" in scored and scored["answer"].reverse < original.reverse else "original"


def _lesson(round_: Round, attempt: Attempt, version: Version) -> Lesson:
    skill = attempt.missing[0] if attempt.missing else None
    return round_.lesson(version.problem, version.answer, attempt=attempt, skill=skill, calls=version.calls)
