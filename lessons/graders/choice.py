"""Answers from a closed list."""

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

from lessons.answers import final_answer, final_answers, first_sentence, fold, last_line, spelled_plainly
from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.numbers import NO_ANSWER, SEVERAL
from lessons.records import Problem

__all__ = ["ChoiceGrader"]

_WORD = re.compile(r"\w+")
_LETTER_ALONE = re.compile(r"\W*(?:option|choice)?\W*([A-Za-z])\W*", re.IGNORECASE)
_LETTER_FIRST = re.compile(r"\W{0,5}([A-Z])[).:]")
_LETTER_MARKED = re.compile(r"\(([A-Z])\)|\b(?:[Oo]ption|[Cc]hoice) \(?([A-Z])\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceGrader:
    """Finds which one of the problem's choices a text names; naming none or several is wrong.

    A choice is named by its words (case, spaces, hyphens and underscores are alike) or by its letter in the list: "B",
    "(b)", "B) Paris", "option B". Where the text has a marker ("Answer: X"), only what stands behind the last is read.
    """

    letters: bool = True
    """Whether A is the first choice, B the second, and so on; only where no choice is itself a single letter."""

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one answer text: 1 or 0.

        Raises:
            GradeError: the problem has no choices, two of them read alike, or its reference answer is none of them.
        """
        choices = problem.choices
        if len({_key(choice) for choice in choices}) < max(1, len(choices)):
            raise GradeError(f"problem {problem.id} has no choices, or two that read alike: {', '.join(choices)}")
        reference = None if problem.answer is None else self._whole(problem.answer, choices)
        if reference is None:
            raise GradeError(f"reference answer {problem.answer!r} of problem {problem.id} is none of its choices")
        named = self._named(text, choices)
        if len(named) > 1:
            return Grade(0.0, " | ".join(named), SEVERAL)
        if not named:
            return Grade(0.0, None, NO_ANSWER)
        return Grade(float(named[0] == reference), named[0])

    def read(self, text: str) -> str | None:
        """Return the final answer that the text states, or None where it states none."""
        return final_answer(text) or last_line(text)

    def same(self, one: str, other: str) -> bool:
        """Whether two final answers are the same label.

        Raises:
            GradeError: one of them is empty.
        """
        keys = _key(one), _key(other)
        if not all(keys):
            raise GradeError("an empty answer cannot be compared")
        return keys[0] == keys[1]

    def _named(self, text: str, choices: Sequence[str]) -> list[str]:
        """Return the choices that a text names, in the order of the list."""
        region = next(iter(final_answers(text)), None)
        region = fold(text) if region is None else region
        for words in (region, first_sentence(region)):
            whole = self._whole(words, choices)
            if whole is not None:
                return [whole]
        found = _words_named(region, choices)
        if self._lettered(choices):
            marked = [match[1] or match[2] for match in _LETTER_MARKED.finditer(region)]
            first = _LETTER_FIRST.match(region)
            for letter in (*marked, *([first[1]] if first else [])):
                place = string.ascii_uppercase.index(letter)
                found |= {choices[place]} if place < len(choices) else set()
        return [choice for choice in choices if choice in found]

    def _whole(self, words: str, choices: Sequence[str]) -> str | None:
        """Return the choice that these words are, no more and no less."""
        by_key = {_key(choice): choice for choice in choices}
        if (key := _key(words)) in by_key:
            return by_key[key]
        letter = _LETTER_ALONE.fullmatch(words[:40]) if self._lettered(choices) and len(words) <= 40 else None
        place = string.ascii_uppercase.index(letter[1].upper()) if letter else len(choices)
        return choices[place] if place < len(choices) else None

    def _lettered(self, choices: Sequence[str]) -> bool:
        return self.letters and not any(len(_key(choice)) == 1 and choice.strip().isalpha() for choice in choices)


def _key(label: str) -> str:
    """Return what two spellings of a label share: its letters and digits, or its signs where it has none."""
    plain = spelled_plainly(label)
    return "".join(_WORD.findall(plain)).replace("_", "") or plain


def _words_of(text: str) -> list[str]:
    return [word.casefold() for part in _WORD.findall(fold(text)) for word in part.split("_") if word]


def _words_named(text: str, choices: Sequence[str]) -> set[str]:
    """Return the choices whose words stand in a text, the longest first: "New York" is not "York"."""
    labels = {tuple(_words_of(choice)): choice for choice in choices if _words_of(choice)}
    longest = max(map(len, labels), default=0)
    words = _words_of(text)
    found: set[str] = set()
    at = 0
    while at < len(words):
        for length in range(min(longest, len(words) - at), 0, -1):
            choice = labels.get(tuple(words[at : at + length]))
            if choice is not None:
                found.add(choice)
                at += length
                break
        else:
            at += 1
    return found
