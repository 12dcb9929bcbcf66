"""Keep a new problem where enough of the teacher's solutions end in one answer, and only the solutions that do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from lessons.errors import GradeError
from lessons.records import Lesson
from loops.filters.base import Context, Drop, normal

__all__ = ["Agreement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """STAT-Syn's consistency (arXiv 2510.10023, step 3b): the largest group of agreeing answers must have m members.

    The agreed answer becomes the reference answer of a problem that has none. A tie between groups is no agreement.
    """

    paper: ClassVar[str] = "arXiv:2510.10023"
    at_least: int = 2
    """Solutions that must end in one answer for the problem to be kept; 2 (of 3) as in STAT."""
    compares: ClassVar[bool] = True
    """It needs a grader that can compare two answers."""

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge the candidates of each question together."""
        groups: dict[str, list[int]] = {}
        for index, lesson in enumerate(lessons):
            groups.setdefault(normal(lesson.problem.question), []).append(index)
        verdicts: list[Lesson | Drop] = [Drop("no final answer")] * len(lessons)
        for members in groups.values():
            for index, verdict in zip(members, self._question([lessons[i] for i in members], context), strict=True):
                verdicts[index] = verdict
        return verdicts

    def _question(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        answers = [context.grader.read(lesson.completion) for lesson in lessons]
        agreeing: list[tuple[str, list[int]]] = []
        for index, answer in enumerate(answers):
            if answer is None:
                continue
            for first, members in agreeing:
                if _same(first, answer, context):
                    members.append(index)
                    break
            else:
                agreeing.append((answer, [index]))
        sizes = sorted((len(members) for _, members in agreeing), reverse=True)
        largest = max(agreeing, key=lambda group: len(group[1]), default=("", []))
        tie = len(sizes) > 1 and sizes[0] == sizes[1]
        told = ", ".join(str(answer) for answer in answers)
        verdicts: list[Lesson | Drop] = []
        for index, lesson in enumerate(lessons):
            if answers[index] is None:
                verdicts.append(Drop("no final answer"))
            elif tie or len(largest[1]) < self.at_least:
                verdicts.append(Drop("solutions disagree", told))
            elif index not in largest[1]:
                verdicts.append(Drop("outvoted", f"{answers[index]} against {largest[0]}"))
            elif lesson.problem.answer is None:
                verdicts.append(
                    msgspec.structs.replace(lesson, problem=msgspec.structs.replace(lesson.problem, answer=largest[0]))
                )
            else:
                verdicts.append(lesson)
        return verdicts


def _same(one: str, other: str, context: Context) -> bool:
    try:
        return context.grader.same(one, other)
    except GradeError:
        return normal(one) == normal(other)
