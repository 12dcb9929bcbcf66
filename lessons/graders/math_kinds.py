"""What kind of mathematical answer a text is: a number, a time, a word, a list or set, or else an expression."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from lessons.answers import fold, spelled_plainly
from lessons.numbers import mentions, tidy

ITEMS_LIMIT = 50
"""Items of a list that are compared one by one; a longer one is left to math-verify as a whole."""

_DEEPEST = 8
"""Lists within lists that are looked into: deeper ones are nobody's answer, and each level reads the text again."""

_SHORT = 100
"""Characters of an answer that is kept with what it is: long ones hardly come twice, and would fill the memory."""

Kind = Literal["number", "time", "word", "list", "expression"]
Time = tuple[int, int, int, str]
"""Hour, minute, second, and "a", "p" or "" for a.m., p.m. or neither."""

_TIME = re.compile(
    r"(?<![\d:.,])(\d{1,3}):([0-5]\d)(?::([0-5]\d))?(?![\d:]|[.,]\d)(?:[ ]?([ap])[ ]?\.?[ ]?m\b\.?)?", re.IGNORECASE
)
_WORD = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+)*")
_LEAD = re.compile(r"(?:(?:it|that) (?:is|was) |it's )?(?:(?:the|a|an) )?", re.IGNORECASE)
_UNIT = re.compile(r"\s?[%°]|\s?(?:cm|mm|km|kg|mg|ml|min|hrs?|ft)|(?:\s[A-Za-z]{1,20}){1,3}")
_WRAPS = (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("\\boxed{", "}"), ("\\text{", "}"))
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_ASSIGNED = re.compile(r"\s*([A-Za-z])\s*=(?!=)\s*")
_COMMAND = re.compile(r"\\[A-Za-z]+|\b(?:sqrt|sin|cos|tan|log|exp|abs)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """An answer of a known kind; only the fields of its kind are set."""

    kind: Kind
    text: str
    number: Fraction | None = None
    time: Time | None = None
    items: tuple["Parsed", ...] = ()
    brackets: str = ""
    """Of a list: "{}" (a set), "()", "[]", "(]", "[)", or "" for items without brackets."""


def parsed(answer: str) -> Parsed:
    """Return what an answer is; never fails: what is nothing else is an expression."""
    return _known(answer) if len(answer) <= _SHORT else _parsed(answer, _DEEPEST)


@lru_cache(maxsize=4096)
def _known(answer: str) -> Parsed:
    """Return what a short answer is; solutions to one problem, and problems of one kind, have the same ones."""
    return _parsed(answer, _DEEPEST)


def _parsed(answer: str, deepest: int) -> Parsed:
    text = wrapped_out(fold(answer))
    if (number := _number(text)) is not None:
        return Parsed(kind="number", text=text, number=number)
    if (time := _TIME.fullmatch(text)) is not None:
        return Parsed(kind="time", text=text, time=_time(time))
    if _WORD.fullmatch(text):
        return Parsed(kind="word", text=_LEAD.sub("", spelled_plainly(text), count=1))
    brackets, inside = _brackets(text)
    items = _split(inside)
    if deepest and (1 < len(items) <= ITEMS_LIMIT or (brackets == "{}" and items)):
        inner = tuple(_parsed(item, deepest - 1) for item in _unassigned(items))
        return Parsed(kind="list", text=text, items=inner, brackets=brackets)
    return Parsed(kind="expression", text=text)


def wrapped_out(text: str) -> str:
    """Return an answer without the dollar signs, \\boxed{} and full stop that it stands in."""
    text = text.replace("\\left", "").replace("\\right", "").strip().strip("*_").strip()
    for _ in range(8):  # each turn takes off one layer; deeper ones are nobody's answer
        text = text.rstrip(".,; \n") if not text.endswith("\\,") else text[:-2]
        pair = next((p for p in _WRAPS if text.startswith(p[0]) and text.endswith(p[1])), None)
        if pair is None or len(text) < len(pair[0]) + len(pair[1]):
            break
        inside = text[len(pair[0]) : -len(pair[1])]
        if pair[0] in inside or (pair[1] == "}" and not _balanced(inside)):
            break  # two formulas, not one
        text = inside.strip()
    return text


def times(text: str) -> set[Time]:
    """Return the times of day, or durations, that a text names."""
    return {_time(match) for match in _TIME.finditer(text)}


def is_prose(text: str) -> bool:
    """Whether a text holds words beyond those of formulas."""
    return bool(re.search(r"[^\W\d_]{3,}", _COMMAND.sub(" ", text)))


def same_time(one: Time, other: Time) -> bool:
    """Whether two times are one: 7:05 pm is 19:05; a time without a.m. or p.m. is also that of a 12-hour clock."""
    if one[1:3] != other[1:3]:
        return False
    if bool(one[3]) == bool(other[3]):
        return _hour(one) == _hour(other)
    marked, plain = (one, other) if one[3] else (other, one)
    return plain[0] in (marked[0], _hour(marked))


def _hour(time: Time) -> int:
    return time[0] % 12 + (12 if time[3] == "p" else 0) if time[3] else time[0]


def _time(match: re.Match[str]) -> Time:
    return int(match[1]), int(match[2]), int(match[3] or 0), (match[4] or "").lower()


def _number(text: str) -> Fraction | None:
    """Return the value of a text that is one number, with a currency or a unit at most."""
    plain = tidy(text)
    found = mentions(plain)
    if len(found) != 1 or plain[: found[0].start].strip(" $€£"):
        return None
    behind = plain[found[0].end :].rstrip("$. ")
    return found[0].value if not behind or _UNIT.fullmatch(behind) else None


def _balanced(text: str) -> bool:
    depth = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return False
    return depth == 0


def _brackets(text: str) -> tuple[str, str]:
    """Return the brackets around a whole text and what stands inside them."""
    if text.startswith("\\{") and text.endswith("\\}") and len(text) >= 4 and _balanced(text[2:-2]):
        return "{}", text[2:-2]
    if len(text) < 2 or text[0] not in _PAIRS or text[-1] not in _PAIRS.values() or not _balanced(text[1:-1]):
        return "", text
    pair = text[0] + text[-1]
    return (pair, text[1:-1]) if text[-1] == _PAIRS[text[0]] or pair in ("(]", "[)") else ("", text)


def _split(text: str) -> list[str]:
    """Return the parts of a text between commas and semicolons that stand in no brackets."""
    parts, depth, start = list[str](), 0, 0
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character in ",;" and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in (*parts, text[start:]) if part.strip()]


def _unassigned(items: list[str]) -> list[str]:
    """Return x = 1, x = 2 as 1, 2; where the names differ they stay, since they say which is which."""
    names = [_ASSIGNED.match(item) for item in items]
    if len({name[1] if name else None for name in names}) == 1:
        return [item[name.end() :] if name else item for item, name in zip(items, names, strict=True)]
    return items
