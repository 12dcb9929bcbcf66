"""Read the final answer out of a text. Pure functions, linear in the text: what a model wrote is hostile text.

The order of the day: `fold` brings every script's digits, signs and spaces to plain ones, `final_answers` finds what
stands behind the markers that people and models use, and the graders read a number, a label or a word in it.
"""

import re
import unicodedata
from collections import deque

TEXT_LIMIT = 20_000
"""Characters of a text that are read, counted from its end: that is where the final answer stands."""

REGION_LIMIT = 500
"""Characters behind a marker that are taken for the answer."""

MARKERS_READ = 20
"""Markers that are looked at, counted from the last."""

HEDGE = r"(?:or|alternatively|otherwise|maybe|perhaps|possibly)\b"

_MARKER = re.compile(
    r"""
      (?P<boxed> \\(?:boxed|fbox)[ ]*\{ )                                    # \boxed{42}
    | \#{4}                                                                  # GSM8K: #### 42
    | (?i: \banswers?\b [ ]?[*_]{0,3} [ ]? [:=] )                            # Answer: 42, **Answer**: 42
    | (?i: \banswers?\b [^.:;=\n?!\#\\]{0,60}? \b(?:is|are|equals)\b [ ]? :? )  # the answer to this is 42
    | (?m: ^[ \t>*]{0,8} A[ ]?: )                                            # A: 42, at the start of a line only
    """,
    re.VERBOSE,
)
_THOUGHTS = re.compile(r"</think>", re.IGNORECASE)
_SENTENCE_END = re.compile(rf"[.!?;](?=\s+(?!{HEDGE}))|[,]?\s(?=(?:because|since)\b)", re.IGNORECASE)
_NEXT_LINE_HEDGES = re.compile(rf"\s*[(\[]?{HEDGE}", re.IGNORECASE)
_OR_BEFORE = re.compile(r"\b(?:or|either)\W{0,5}$", re.IGNORECASE)
_OR_BEHIND = re.compile(r"\W{0,5}\bor\b", re.IGNORECASE)
_BOXED = re.compile(r"\\(?:boxed|fbox)[ ]*\{([^{}]*)\}")
_DASHES = "‐‑‒–—−﹣－"
_EDGES = " \t\n.,;:!?\"'`*_“”‘’«»"


class _Plain(dict[int, str]):
    """Character -> its plain spelling, worked out at first sight (for `str.translate`)."""

    def __missing__(self, code: int) -> str:
        plain = self[code] = _plain(chr(code))
        return plain


def _plain(character: str) -> str:
    if character in _DASHES:
        return "-"
    if character in "\t\n\r":
        return character
    category = unicodedata.category(character)
    if category == "Nd":  # decimal digits of every script
        return str(unicodedata.decimal(character))
    if category == "Zs":
        return " "
    if category in ("Cf", "Cc", "Cs"):  # zero-width, direction marks, control characters, lone surrogates
        return ""
    simple = unicodedata.normalize("NFKC", character)
    if "\u2044" in simple:  # a vulgar fraction: 1½ is 1 1/2, not 11/2
        return " " + simple.replace("\u2044", "/")
    if unicodedata.decomposition(character).startswith("<super>") and simple.isdigit():
        return "^" + simple  # 5² is no 52
    return simple if "\uff01" <= character <= "\uff5e" else character


_TABLE = _Plain()


def fold(text: str) -> str:
    """Return the end of a text (`TEXT_LIMIT`) in plain digits, signs and spaces, without bold marks and back-quotes."""
    text = text[-TEXT_LIMIT:]
    if not text.isascii():
        text = text.translate(_TABLE)
    return text.replace("\r\n", "\n").replace("**", "").replace("`", "")


def without_thoughts(text: str) -> str:
    """Return what stands behind the last `</think>`; the whole text where there is none."""
    return _THOUGHTS.split(text)[-1]


def final_answers(text: str) -> list[str]:
    """Return what stands behind each marker of a text, the last one first; empty where the text has no marker.

    Markers: "#### X", "\\boxed{X}", "Answer: X", "the answer is X", and "A: X" at the start of a line. What stands
    behind is the rest of the line, or the next line that has words; one that goes on with "or ..." is taken along.
    """
    text = fold(_THOUGHTS.split(text[-TEXT_LIMIT:])[-1])
    found = deque(_MARKER.finditer(text), maxlen=MARKERS_READ)
    return [region for marker in reversed(found) if (region := _region(text, marker))]


def final_answer(text: str) -> str | None:
    """Return what stands behind the last marker that has something behind it, or None."""
    return next(iter(final_answers(text)), None)


def before_answer(text: str) -> str:
    """Return what stands before the last marker of a text, folded; without a marker, before its last line."""
    text = fold(_THOUGHTS.split(text[-TEXT_LIMIT:])[-1])
    found = deque((marker for marker in _MARKER.finditer(text) if _region(text, marker)), maxlen=1)
    return text[: found[0].start()] if found else text.rstrip().rpartition("\n")[0]


def last_line(text: str) -> str | None:
    """Return the last line that is more than a marker, or None: the answer of a text without markers."""
    lines = fold(_THOUGHTS.split(text[-TEXT_LIMIT:])[-1]).split("\n")
    return next((line.strip()[:REGION_LIMIT] for line in reversed(lines) if _MARKER.sub("", line).strip()), None)


def _region(text: str, marker: re.Match[str]) -> str:
    if marker["boxed"]:
        return _in_braces(text, marker)
    rest = text[marker.end() : marker.end() + REGION_LIMIT].lstrip(" \t\n:=*_\"'>")
    line, _, behind = rest.partition("\n")
    if len(text) > marker.end() + REGION_LIMIT and not behind and " " in line:
        line = line.rpartition(" ")[0]  # the limit may have cut a word, or a number
    if _NEXT_LINE_HEDGES.match(behind):
        line = f"{line} {behind.strip().partition(chr(10))[0]}"
    return line.strip()


def _in_braces(text: str, marker: re.Match[str]) -> str:
    """Return what a \\boxed{...} holds; with the line around it where that names further answers."""
    depth = 1
    start = marker.end()
    for end in range(start, min(len(text), start + REGION_LIMIT)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            break
    else:
        return ""  # cut off before the brace closed
    before = text[max(0, marker.start() - REGION_LIMIT) : marker.start()].rpartition("\n")[2]
    behind = text[end + 1 : end + REGION_LIMIT].partition("\n")[0]
    if _OR_BEFORE.search(before[-20:]) or _OR_BEHIND.match(behind) or "\\boxed" in before:
        return _BOXED.sub(r" \1 ", f"{before} {text[start:end]} {behind}").strip()
    return text[start:end].strip()


def first_sentence(region: str) -> str:
    """Return an answer without what follows it: "42. This is because ..." is "42"; "12. Or 15." stays whole."""
    end = _SENTENCE_END.search(region)
    return region[: end.start()].strip() if end else region


def hedges(region: str) -> bool:
    """Whether an answer offers a choice: "12 or 15", "either ..."."""
    return bool(re.search(rf"\b(?:either\b|{HEDGE})", region, re.IGNORECASE))


def spelled_plainly(text: str, *, case: bool = False, punctuation: bool = False) -> str:
    """Return a text for comparison by spelling: one space between words; without case and edge marks unless asked."""
    plain = " ".join(fold(text).split())
    if not punctuation:
        plain = plain.strip(_EDGES) or plain
    return plain if case else plain.casefold()


def question_key(question: str) -> str:
    """Return what two questions share when they are the same question but for case, spaces and punctuation."""
    folded = question if question.isascii() else question.translate(_TABLE)
    words = (word.strip(_EDGES) for word in folded.casefold().split())  # signs stay: 4 - 1 is not 4 + 1
    return " ".join(filter(None, words)) or " ".join(question.split())
