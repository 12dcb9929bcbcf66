"""What gives away that a text was written with more in sight than its reader has: runs of words, answers, phrases."""

import re
from collections.abc import Sequence

from loops.exams.index import words_of
from loops.filters.base import normal

SHORT = 4
"""A secret of fewer words than a run is looked for as a whole, from this many words on. Our choice."""
LONGEST = 200
"""Characters of an answer that is looked for; a longer one is a text, whose runs of words tell more."""

_NOUN = r"(?:answer|solution|result)s?"
_TOLD = (
    rf"\breference {_NOUN}\b",
    rf"\b(?:gold|ground[- ]truth|hidden|privileged) (?:{_NOUN}|labels?)\b",
    r"\bprivileged (?:information|state|context)\b",
    r"\banswer key\b",
    r"\baccording to (?:the|this|your|a|our) (?:hints?|reference|expert|teacher)\b",
    r"\b(?:as|like) (?:the|this|your|our) hints?\b",
    r"\b(?:the|this|your|given|provided) hints? (?:says?|suggests?|tells?|states?|gives?|mentions?|shows?|implies)\b",
    r"\bexpert(?:'s|’s)? (?:trajectory|log|demonstration|trace|solution)\b",
    rf"\b(?:i|we) (?:was|were|am|are|have been) (?:told|given|shown) (?:the )?(?:correct |right |final )?{_NOUN}\b",
    rf"\b(?:i|we) (?:already )?know (?:that )?the (?:correct |right |final )?{_NOUN} (?:is|are|must|should|has)\b",
)
"""Phrases that only somebody writes who was shown more."""
_GIVEN = re.compile(
    rf"\b(?:given|provided|supplied|expected|stated) (?:final |correct |right )?(?P<noun>{_NOUN})\b", re.IGNORECASE
)
"""The same, unless the reader was given one, too: where the prompt has the noun."""
_PHRASE = re.compile("|".join(_TOLD), re.IGNORECASE)

_CUES = frozenset(("answer", "answers", "solution", "result", "reference", "hint"))
_BETWEEN = frozenset(("is", "was", "are", "be", "must", "should", "the", "a", "correct", "right", "final", "here"))
"""Words that may stand between a cue and the answer that it tells."""


def shared_run(secret: str, text: str, known: Sequence[str], run: int) -> str | None:
    """Return the first run of words of a secret that stands in a text, and in none of the texts that may be known.

    A secret of `SHORT` words or more that are fewer than `run` is looked for as a whole; a shorter one never.
    """
    words = words_of(secret)
    width = min(run, len(words))
    if width < min(run, SHORT):
        return None
    found = _runs(words_of(text), width)
    if not found:
        return None
    may = set[tuple[str, ...]]().union(*(_runs(words_of(one), width) for one in known))
    for start in range(len(words) - width + 1):
        one = tuple(words[start : start + width])
        if one in found and one not in may:
            return " ".join(one)
    return None


def told_answer(answer: str, text: str) -> bool:
    """Whether a text tells an answer: it stands behind "answer", "result" or the like, with "is" or "the" between.

    Case and punctuation do not count. A number that merely occurs is no answer that is told, and neither is the 7 in
    "the result of 7 + 5".
    """
    if len(answer) > LONGEST:
        return False
    wanted, words = words_of(answer), words_of(text)
    if not wanted:
        return False
    for place, word in enumerate(words):
        if word in _CUES:
            start = place + 1
            while words[start : start + len(wanted)] != wanted and start < len(words) and words[start] in _BETWEEN:
                start += 1
            if words[start : start + len(wanted)] == wanted:
                return True
    return False


def telling_phrase(text: str, prompt: str, phrases: Sequence[str] = ()) -> str | None:
    """Return the first phrase of a text that betrays what its writer was shown, unless the prompt has it too.

    phrases: further ones, as plain text; case and white space do not count.
    """
    shown = normal(prompt)
    for found in _PHRASE.finditer(text):
        if normal(found.group()) not in shown:
            return found.group()
    for found in _GIVEN.finditer(text):
        if normal(found["noun"]).rstrip("s") not in shown:
            return found.group()
    whole = normal(text)
    return next((phrase for phrase in phrases if (one := normal(phrase)) and one in whole and one not in shown), None)


def without(text: str, known: str) -> str:
    """Return a text, case and white space evened out, without a known part of it."""
    part = normal(known)
    return normal(text).replace(part, " ") if part else normal(text)


def _runs(words: Sequence[str], width: int) -> set[tuple[str, ...]]:
    return set(zip(*(words[offset:] for offset in range(width)), strict=False))
