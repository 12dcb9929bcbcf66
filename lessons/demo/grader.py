"""Grades the demo's answers strictly by kind: numbers as numbers, times as times, lists as lists, words as words."""

import re
from dataclasses import dataclass
from decimal import Decimal

from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.records import Problem

Typed = tuple[str, object]
"""(kind, value); kind is number, time, numbers, word or text."""

_DRESS = "*_`\"'()[]$ \t\r\n"
_ANSWER = re.compile(r"(?<![a-z])answer[*_`]{0,3}(?:[ \t]{0,3}:|[ \t]is\b:?)", re.IGNORECASE)
_NUMBER = re.compile(
    r"\$?(-?(?:\d{1,3}(?:,\d{3}){1,4}|\d{1,15})(?:\.\d{1,9})?) ?(?:%|[a-z]{1,20}(?: [a-z]{1,20})?)?", re.ASCII
)
_TIME = re.compile(r"(\d{1,2}):(\d\d) ?(?:[ap]\.?m\.?|o'clock)?", re.ASCII)
_NUMBERS = re.compile(r"\d{1,9}(?:(?:, ?(?:and )?| and | )\d{1,9}){1,20}", re.ASCII)
_WORD = re.compile(r"[a-z]{1,40}", re.ASCII)


def stated(text: str) -> str | None:
    """Return what stands behind the last "Answer:" or "answer is" of a text, on its line; None where there is none.

    An untrained student says "The answer is 85." whatever it is told: taken for no answer, its first lesson would seem
    to teach it to solve what it could solve before.
    """
    labels = list(_ANSWER.finditer(text))
    if not labels:
        return None
    line = text[labels[-1].end() :].lstrip(" \t*_`").partition("\n")[0]
    return _bare(line) or None


def typed(answer: str) -> Typed:
    """Return an answer's kind and value. A number may carry a dollar sign, a percent sign or its unit in words."""
    plain = " ".join(_bare(answer).split()).casefold()
    if len(plain) > 200:
        return "text", plain
    if found := _TIME.fullmatch(plain):
        return "time", (int(found[1]), int(found[2]))
    if found := _NUMBER.fullmatch(plain):
        return "number", Decimal(found[1].replace(",", ""))
    if _NUMBERS.fullmatch(plain):
        return "numbers", tuple(int(part) for part in re.findall(r"\d+", plain))
    if _WORD.fullmatch(plain):
        return "word", plain
    return "text", plain


def _bare(answer: str) -> str:
    return answer.lstrip(_DRESS).rstrip(f"{_DRESS}.!")  # a point before digits is part of a number


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoGrader:
    """Compares what stands behind the last "Answer:" (or "answer is") with the reference."""

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer text: 1 or 0.

        Raises:
            GradeError: the problem has no reference answer.
        """
        if problem.answer is None or not problem.answer.strip():
            raise GradeError("the problem has no reference answer")
        answer = self.read(text)
        if answer is None:
            return Grade(0.0, None, "no final answer")
        return Grade(float(self.same(answer, problem.answer)), answer)

    def read(self, text: str) -> str | None:
        """Return the final answer that the text states, or None where it states none."""
        return stated(text)

    def same(self, one: str, other: str) -> bool:
        """Whether two final answers are the same: of one kind and equal."""
        return typed(one) == typed(other)
