"""Numbers as people and models write them, read exactly: "$1,234.50", "3/4", "1 1/2", "\\frac{3}{4}", "2 million".

Units and "%" are passed over: 50 % is 50. Times (7:05), dates, and numbers too long to be meant are no numbers.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from lessons.answers import final_answers, first_sentence, fold, hedges

DIGITS_LIMIT = 400
"""Characters of a number that is read: fewer than of a region, so that no number is read that was cut at its end."""

EXPONENT_LIMIT = 400
"""Largest power of ten that is read, a little beyond what a float holds; 1e999999999 would fill the memory."""

NO_ANSWER = "no final answer"
SEVERAL = "several answers"
NOT_A_NUMBER = "not a number"

_MENTION = re.compile(
    r"""
    (?<![\w)]) (?P<sign>[-+])?+ (?:[$€£¥][ ]?)?+ (?P<inner>[-+])?+
    (?: (?P<whole>\d{1,9}) (?:[ ]|[ ]and[ ]) (?P<top>\d{1,9})/(?P<bottom>\d{1,9}) (?!\d|[,.:/_]\d)
      | (?P<body>\.?\d[\d,.:/_]*+) (?P<exponent>[eE][-+]?\d++)?+ )
    (?: [ ]?(?P<magnitude>(?i:hundred|thousand|million|billion|trillion))s?\b )?+
    """,
    re.VERBOSE,
)
_DECIMAL = re.compile(r"(?:\d++|\d{1,3}(?:,\d{3})++|\d{1,2}(?:,\d{2})+,\d{3})?(?:\.\d++)?")
_MAGNITUDE = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_WORD = re.compile(rf"\W*({'|'.join(_WORDS)})\b(?![- ]?(?:hundred|thousand|million|and|point)\b)", re.IGNORECASE)

_FRACTION = re.compile(r"(\d?)\\[dtc]?frac\s{0,3}\{\s{0,3}(-?\d{1,300})\s{0,3}\}\s{0,3}\{\s{0,3}(\d{1,300})\s{0,3}\}")
_SHORT_FRACTION = re.compile(r"(\d?)\\[dtc]?frac\s?(\d)\s?(\d)")
_POWER_OF_TEN = re.compile(r"(?<=\d)\s?(?:×|x|\\times|\*|\\cdot)\s?10\s?\^\s?\{?([-+]?\d{1,4})\}?")
_LATEX = re.compile(
    r"\\(?:text|mathrm|mbox|textbf|mathbf)\s?\{([^{}]*)\}|\\(?:left|right|displaystyle)\b|\\[,!; ]|~|\^\s?\{?\\circ\}?"
)
_SLASH = re.compile(r"(?<=\d) ?/ ?(?=\d)")
_REMARK = re.compile(r"(?<=[\w%.]) ?\(([^()]*)\)")
_LISTED = re.compile(r"\band\b|;|, ", re.IGNORECASE)
_OPERATOR_BEHIND = re.compile(r"[ ]?(?:[+*^×÷/(\\{]|-[ ]?(?:[b-z]\b|[\d(\\]))|[a-z][ ]?[-+*^=]", re.IGNORECASE)
_OPERATOR_BEFORE = re.compile(r"(?:[+*^×÷/√]|[\w)}][ ]?-|[A-Za-z^_][({])[ ]?$")


class Mention(NamedTuple):
    """Something in a text that begins like a number."""

    value: Fraction | None
    """None where it is not one after all: a time, a date, a list without spaces, too long."""
    start: int
    end: int


class Reading(NamedTuple):
    """What a number was asked for and found."""

    value: Fraction | None
    note: str = ""
    """Why there is no value."""
    text: str = ""
    """The words that were read."""


def mentions(text: str) -> list[Mention]:
    """Return everything in a folded text that begins like a number, in order."""
    return [Mention(_value(match), match.start(), match.end()) for match in _MENTION.finditer(text)]


def _value(match: re.Match[str]) -> Fraction | None:
    sign = -1 if (match["sign"] == "-") != (match["inner"] == "-") else 1
    if match["whole"]:
        if not int(match["bottom"]):
            return None
        return sign * (int(match["whole"]) + Fraction(int(match["top"]), int(match["bottom"])))
    parts = match["body"].rstrip(",.:/_").split("/")
    exponent = match["exponent"] or "e0"
    # "5.e3" and "5:e3" are no numbers: an exponent must follow a digit.
    if len(match["body"]) > DIGITS_LIMIT or len(exponent) > 6 or abs(int(exponent[1:])) > EXPONENT_LIMIT:
        return None
    if len(parts) > 2 or not all(part and _DECIMAL.fullmatch(part) for part in parts):
        return None
    top, bottom = Fraction(parts[0].replace(",", "")), Fraction(parts[-1].replace(",", "")) if parts[1:] else 1
    if not bottom:
        return None
    if match["exponent"] or match["magnitude"]:
        top *= Fraction(10) ** int(exponent[1:]) * _MAGNITUDE.get((match["magnitude"] or "").lower(), 1)
    return sign * top / bottom if bottom != 1 else sign * top


def tidy(region: str) -> str:
    """Return an answer without the LaTeX that numbers are dressed in."""
    text = region.replace("\\$", "$").replace("\\%", "%").replace("{,}", ",")
    text = _LATEX.sub(lambda match: match[1] or "", text)
    for fraction in (_FRACTION, _SHORT_FRACTION):
        text = fraction.sub(lambda match: f"{match[1]}{' ' if match[1] else ''}{match[2]}/{match[3]}", text)
    return _SLASH.sub("/", _POWER_OF_TEN.sub(r"e\1", text)).replace("$$", "").strip()


def read_number(region: str) -> Reading:
    """Return the one number that an answer names.

    Two different numbers are "several answers" ("12 or 15", "3 apples and 4 pears"), but an equation is its right
    side ("6 * 7 = 42"), and a remark in brackets is passed over ("42 (6 rows of 7)").
    """
    text = tidy(first_sentence(fold(region))).strip("*_ ")
    if not hedges(text):
        text = _REMARK.sub(" ", text)
        if "=" in text and not _LISTED.search(text.rpartition("=")[0]):
            text = _plain_side(text.split("="))
    found = mentions(text)
    values = {mention.value for mention in found}
    if len(values) > 1:
        return Reading(None, SEVERAL, text)
    if not found:
        word = _WORD.match(text)
        value = None if word is None or hedges(text) else Fraction(_WORDS.index(word[1].lower()))
        return Reading(value, "" if value is not None else NOT_A_NUMBER, text)
    value = None if any(_in_expression(text, mention) for mention in found) else found[0].value
    return Reading(value, "" if value is not None else NOT_A_NUMBER, text)


def _plain_side(sides: list[str]) -> str:
    """Return the last side of an equation that is one number, else the last side."""
    for side in reversed(sides):
        found = mentions(side)
        if len(found) == 1 and not _in_expression(side, found[0]):
            return side
    return sides[-1]


def _in_expression(text: str, mention: Mention) -> bool:
    """Whether a number is only a part of a formula: the 10 of "10 + x" is no answer."""
    before = text[max(0, mention.start - 10) : mention.start]
    return bool(_OPERATOR_BEHIND.match(text, mention.end) or _OPERATOR_BEFORE.search(before))


def read_final_number(text: str, *, last: bool = True) -> Reading:
    """Return the number that a text ends in: behind its last marker that has one, else (`last`) its last number."""
    regions = final_answers(text)
    for region in regions:
        reading = read_number(region)
        if reading.note != NOT_A_NUMBER or mentions(tidy(first_sentence(region))):
            return reading
    folded = fold(text)
    found = mentions(folded) if last else []
    if not found:
        return Reading(None, NOT_A_NUMBER, regions[0]) if regions else Reading(None, NO_ANSWER)
    return _last_number(folded, found)


def _last_number(folded: str, found: list[Mention]) -> Reading:
    last = found[-1]
    words = folded[last.start : last.end]
    if len(found) > 1 and found[-2].value != last.value:
        between = folded[found[-2].end : last.start]
        if len(between) <= 60 and hedges(between) and not re.search(r"[.!?\n]\s", between):
            return Reading(None, SEVERAL, folded[found[-2].start : last.end])
    if last.value is None:
        return Reading(None, NOT_A_NUMBER, words[:80])
    return Reading(last.value, "", words)


def written(value: Fraction) -> str:
    """Return a number's plainest spelling: "42", "2.5", or "1/3" where the decimals would not end."""
    if value.denominator == 1:
        return str(value.numerator)
    rest, places = value.denominator, 0
    for prime in (2, 5):
        power = 0
        while rest % prime == 0:
            rest, power = rest // prime, power + 1
        places = max(places, power)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
