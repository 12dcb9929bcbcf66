"""Equations in worked solutions: found, checked, and made a key that tells two ways of solving apart.

Two forms are read: calculator notes as GSM8K has them, `<<48/2=24>>`, and plain ones, `48 / 2 = 24`. What a model wrote
is hostile text: everything here is bounded, and nothing is evaluated but numbers, the four signs and brackets.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

TOLERANCE = 1e-3
"""Difference up to which the sides of an equation are equal: RFT (arXiv 2308.01825), its code."""
LONGEST = 200
"""Characters of one equation that is looked at. Our own bound."""
DEEPEST = 20
"""Levels of brackets, at most. Our own bound."""

_NUMBER = r"(?:\d{1,15}\.?\d{0,9}|\.\d{1,9})%?"
_PLAIN_NUMBER = r"\$?(?:\d{1,3}(?:,\d{3}){1,4}(?!\d)|\d{1,15})(?:\.\d{1,9})?%?"
_SIGN = r"[ ]?[-+*/x×÷−][ ]?"
_NOTE = re.compile(rf"<<([^<>\n]{{1,{LONGEST}}})>>")
_PLAIN = re.compile(
    rf"(?<![\w.,:$])({_PLAIN_NUMBER}(?:{_SIGN}{_PLAIN_NUMBER}){{1,8}})[ ]?=[ ]?([-−]?{_PLAIN_NUMBER})(?![\d:])"
    rf"(?!{_SIGN}\d)"
)
_TOKEN = re.compile(rf"\s*(?:({_NUMBER})|([-+*/()]))")
_SPELLED = str.maketrans({"×": "*", "x": "*", "X": "*", "÷": "/", "−": "-", "{": "(", "}": ")", "[": "(", "]": ")"})


class Equation(NamedTuple):
    """One equation, its sides without spaces and in plain signs."""

    left: str
    right: str

    def holds(self, tolerance: float = TOLERANCE) -> bool:
        """Whether both sides can be worked out and differ by `tolerance` at most. 50% may stand for 50 or for 0.5."""
        lefts, rights = _values(self.left), _values(self.right)
        return any(abs(left - right) <= tolerance for left in lefts for right in rights)


def equations(text: str) -> list[Equation]:
    """Return a text's equations in order: its calculator notes where it has any, else its plain ones.

    A plain one that may be a part of a longer calculation is left out. A note without a sign of equality is an
    equation with an empty right side, which does not hold.
    """
    notes = [side for note in _NOTE.finditer(text) for side in _of_note(note[1])]
    return notes if notes or _NOTE.search(text) else list(_plain(text))


def equation_key(text: str) -> str:
    """Return the list of a text's equations as one string: two solutions with one key calculate alike."""
    return "|".join(f"{equation.left}={equation.right}" for equation in equations(text))


def all_hold(text: str, tolerance: float = TOLERANCE) -> bool:
    """Whether every equation of a text holds; True for a text without any."""
    return all(equation.holds(tolerance) for equation in equations(text))


def _of_note(note: str) -> Iterator[Equation]:
    sides = [_spelled(side) for side in note.split("=")]
    if len(sides) == 1:
        yield Equation(sides[0], "")
    for left, right in pairwise(sides):
        yield Equation(left, right)


def _plain(text: str) -> Iterator[Equation]:
    for found in _PLAIN.finditer(text):
        before = text[max(0, found.start() - 2) : found.start()].rstrip(" ")
        if not before or before[-1] not in "+-*/×÷−=()":
            yield Equation(_spelled(found[1]), _spelled(found[2]))


def _spelled(side: str) -> str:
    return "".join(side.split()).translate(_SPELLED).replace("$", "").replace(",", "")


def _values(side: str) -> list[float]:
    """Return what a side may be worth: one value, or two where it has a percent sign; none where it cannot be read."""
    scales = (1.0, 0.01) if "%" in side else (1.0,)
    values: list[float] = []
    for scale in scales:
        tokens = _tokens(side, scale)
        if tokens is None:
            return []
        try:
            value, end = _sum(tokens, 0, DEEPEST)
        except (ValueError, ZeroDivisionError, IndexError, OverflowError):
            return []
        if end != len(tokens):
            return []
        values.append(value)
    return values


def _tokens(side: str, percent: float) -> list[float | str] | None:
    tokens: list[float | str] = []
    at = 0
    while at < len(side):
        found = _TOKEN.match(side, at)
        if found is None or found.end() == at:
            return None
        if found[1]:
            number = found[1].rstrip("%")
            tokens.append(float(number) * (percent if found[1].endswith("%") else 1.0))
        else:
            tokens.append(found[2])
        at = found.end()
    return tokens or None


def _sum(tokens: list[float | str], at: int, depth: int) -> tuple[float, int]:
    value, at = _product(tokens, at, depth)
    while at < len(tokens) and tokens[at] in ("+", "-"):
        sign = tokens[at]
        term, at = _product(tokens, at + 1, depth)
        value = value + term if sign == "+" else value - term
    return value, at


def _product(tokens: list[float | str], at: int, depth: int) -> tuple[float, int]:
    value, at = _factor(tokens, at, depth)
    while at < len(tokens) and (tokens[at] in ("*", "/") or tokens[at] == "("):
        sign = tokens[at]
        factor, at = _factor(tokens, at if sign == "(" else at + 1, depth)
        value = value / factor if sign == "/" else value * factor
    return value, at


def _factor(tokens: list[float | str], at: int, depth: int) -> tuple[float, int]:
    token = tokens[at]
    if isinstance(token, float):
        return token, at + 1
    if depth == 0 or token not in ("-", "+", "("):
        raise ValueError("no number, or too deep")
    if token != "(":  # noqa: S105 - a bracket, no secret
        value, at = _factor(tokens, at + 1, depth - 1)
        return -value if token == "-" else value, at  # noqa: S105
    value, at = _sum(tokens, at + 1, depth - 1)
    if tokens[at] != ")":
        raise ValueError("a bracket is not closed")
    return value, at + 1
