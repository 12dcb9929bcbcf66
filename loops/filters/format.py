"""Drop what has not the form of a lesson: nothing to learn, too long, no final answer, left-overs of the chat."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.records import Lesson
from loops.filters.base import Context, Drop

__all__ = ["Format"]

_LEFT_OVER = re.compile(r"<\|[a-z_]{1,30}\|>|</?think>|\[/?INST\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """Keeps candidates that end in a readable final answer (a critique: in a verdict) and have a sensible length."""

    paper: ClassVar[str] = "our own: the form of a lesson"
    alone: ClassVar[bool] = True
    """It judges each candidate by itself."""
    least: int = 1
    """Characters of a completion, at least."""
    most: int = 4000
    """Characters of a completion, at most."""
    answer: bool = True
    """Ask for a final answer that the grader can read; of a bad example (one to be made less likely) none is asked."""

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        return [self._one(lesson, context) for lesson in lessons]

    def _one(self, lesson: Lesson, context: Context) -> Lesson | Drop:
        length = len(lesson.completion)
        if length < self.least:
            return Drop("too short", f"{length} characters")
        if length > self.most:
            return Drop("too long", f"{length} characters")
        if not lesson.problem.question.strip():
            return Drop("empty question")
        if found := _LEFT_OVER.search(lesson.completion):
            return Drop("left-over of the chat format", found.group(0))
        if lesson.verdict is not None:
            return lesson
        if lesson.provenance.method == "critique":
            return Drop("no verdict")
        if self.answer and lesson.desirable and context.grader.read(lesson.completion) is None:
            return Drop("no final answer")
        return lesson
