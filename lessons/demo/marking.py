"""Marks an attempt at a demo question: is the answer right, how did it go wrong, which skills are lacking."""

import re
from fractions import Fraction
from typing import NamedTuple

from lessons.demo.form import Worked
from lessons.demo.grader import DemoGrader
from lessons.demo.skills import solve
from lessons.records import ErrorKind

_EQUATION = re.compile(
    r"(?<![\d.:])(\d{1,5}(?: ?[-+*/x×÷] ?\d{1,5}){1,3}) ?= ?(-?\d{1,6})(?![.:,]?\d)",
    re.ASCII,
)
_TOKEN = re.compile(r"\d+|[-+*/]")
_WHOLE = re.compile(r"\d+", re.ASCII)


class Mark(NamedTuple):
    """How an attempt did."""

    worked: Worked
    """The question's own solution."""
    answer: str | None
    """What the attempt states as its answer; None where it states none."""
    right: bool
    """Whether that answer is right; the steps do not count."""
    false_step: str
    """The first calculation that is false, as written; "" where none is."""
    correction: str
    """The same calculation with its right result; "" where none is false."""
    lacking: tuple[str, ...]
    """Demo skills that a wrong attempt lacks: the question's own, then that of the false calculation."""
    error: ErrorKind | None = None
    """How a wrong attempt went wrong; None for a right one."""


def mark(question: str, attempt: str) -> Mark | None:
    """Mark an attempt; None where the question is none of the demo's."""
    worked = solve(question)
    if worked is None:
        return None
    grader = DemoGrader()
    answer = grader.read(attempt)
    right = answer is not None and grader.same(answer, worked.answer)
    false_step, correction, skill = _first_false(attempt)
    lacking = () if right else tuple(dict.fromkeys((worked.skill, *((skill,) if skill else ()))))
    error = None if right else _error(question, attempt, worked, answer, is_false=bool(false_step))
    return Mark(worked, answer, right, false_step, correction, lacking, error)


def _error(question: str, attempt: str, worked: Worked, answer: str | None, *, is_false: bool) -> ErrorKind:
    """Return how a wrong attempt went wrong, by what stands in it.

    A number that is neither in the question, nor in its own solution, nor a result of the attempt so far was misread.
    """
    if not attempt.strip():
        return "gave up"
    if answer is None:
        return "format"
    if is_false:
        return "arithmetic slip"
    known = set(_WHOLE.findall(f"{question} {worked.text}"))
    for equation in _EQUATION.finditer(attempt):
        if not known.issuperset(_WHOLE.findall(equation[1])):
            return "misread question"
        known.add(equation[2].lstrip("-"))
    return "wrong plan"


def _first_false(attempt: str) -> tuple[str, str, str | None]:
    for equation in _EQUATION.finditer(attempt):
        tokens = _TOKEN.findall(re.sub("[x×]", "*", equation[1]).replace("÷", "/"))
        value = _value(tokens)
        if value is None or value == int(equation[2]):
            continue
        calculation = "".join(tokens)
        return equation[0], f"{calculation}={value}", _skill_of(tokens)
    return "", "", None


def _value(tokens: list[str]) -> Fraction | None:
    """Return the value of numbers and signs in turn, products first; None where something is divided by 0."""
    terms = [Fraction(tokens[0])]
    for sign, number in zip(tokens[1::2], map(Fraction, tokens[2::2]), strict=True):
        if sign == "*":
            terms[-1] *= number
        elif sign == "/":
            if number == 0:
                return None
            terms[-1] /= number
        else:
            terms.append(number if sign == "+" else -number)
    return sum(terms, Fraction(0))


def _skill_of(tokens: list[str]) -> str | None:
    """Return the demo's skill of arithmetic that a calculation needs, or None for one that needs none of them."""
    if len(tokens) != 3:
        return None
    (a, sign, b) = (int(tokens[0]), tokens[1], int(tokens[2]))
    if sign == "+":
        return "carrying" if a % 10 + b % 10 >= 10 and max(a, b) >= 10 else None
    if sign == "-":
        return "borrowing" if a % 10 < b % 10 and a >= 20 else None
    return "products" if sign == "*" and max(a, b) >= 10 else None
