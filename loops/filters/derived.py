"""Drop a rationale whose answer falls from the sky: its steps never come to it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from lessons.answers import before_answer
from lessons.records import Lesson
from loops.filters.base import Context, Drop

__all__ = ["Derived"]

LONGEST = 60
"""Characters of an answer that may be put together from parts; a longer one is no final answer."""
_WORDS = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived:
    """Keeps completions whose steps name the final answer before the line that states it.

    Our own. A teacher that knows the answer, or guesses it, writes it under steps that lead elsewhere: no check of the
    answer finds that. A completion that states an answer without steps is kept or not by `bare`.
    """

    paper: ClassVar[str] = "our own: the steps must come to the answer"
    alone: ClassVar[bool] = True
    """It judges each candidate by itself."""
    parts: bool = True
    """The answer may be put together from what the steps name: 154 from "write 4" and "5+9+1=15", jtks from "jacket: j,
    table: t, ...". Without, it must stand in the steps as it is: that finds more, and drops what is put together."""
    bare: bool = True
    """Keep completions that are an answer alone, without steps."""

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        return [self._one(lesson, context) for lesson in lessons]

    def _one(self, lesson: Lesson, context: Context) -> Lesson | Drop:
        if lesson.verdict is not None:
            return lesson  # a critique ends with its verdict
        answer = context.grader.read(lesson.completion)
        if answer is None:
            return Drop("no final answer")
        steps = _words(before_answer(lesson.completion))
        if not steps:
            return lesson if self.bare else Drop("no steps")
        wanted = _words(answer)
        if any(steps[place : place + len(wanted)] == wanted for place in range(len(steps) - len(wanted) + 1)):
            return lesson
        if self.parts and _put_together("".join(wanted), frozenset(steps)):
            return lesson
        return Drop("answer not in the steps", f"the steps never come to {answer[:60]}")


def _words(text: str) -> list[str]:
    return [word.casefold().replace(",", "") if word[0].isdigit() else word.casefold() for word in _WORDS.findall(text)]


def _put_together(answer: str, parts: frozenset[str]) -> bool:
    """Whether a text is parts one after the other; signs between them do not count."""
    text = "".join(letter for letter in answer if letter.isalnum())
    plain = {"".join(letter for letter in part if letter.isalnum()) for part in parts}
    if not 0 < len(text) <= LONGEST:
        return False
    reached = {0}
    for end in range(1, len(text) + 1):
        if any(text[start:end] in plain for start in reached):
            reached.add(end)
    return len(text) in reached
