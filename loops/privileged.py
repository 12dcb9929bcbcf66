"""What the teaching side may see and the student may not: how much of it is shown, and whether a text gives it away."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lessons.answers import spelled_plainly
from lessons.records import Lesson, Problem
from loops.environments.base import Secret
from loops.filters.base import Context, Drop

SUPPOSED = frozenset(("may", "might", "could", "perhaps", "maybe", "possibly", "if", "whether"))
"""Words that make a sentence a guess, which gives nothing away. Our own choice."""

_SENTENCE = re.compile(r"[.!?;\n]+")
_WORD = re.compile(r"[^\W_]+")
_BETRAYS = re.compile(
    r"\b(?:privileged|reference (?:solution|answer)|(?:given|provided|correct|known) (?:solution|answer)"
    r"|the (?:hint|answer key))\b",
    re.IGNORECASE,
)


def share_of(facts: Sequence[str], percent: int) -> tuple[str, ...]:
    """Return so many per cent of the facts, the first ones, rounded up; they go from general to specific."""
    return tuple(facts[: math.ceil(len(facts) * percent / 100)])


def facts_of(problem: Problem) -> tuple[str, ...]:
    """Return what is privileged of a problem that is answered in writing: its solution's lines, then its answer."""
    lines = [line.strip() for line in (problem.solution or "").splitlines() if line.strip()]
    return (*lines, *((f"Final answer: {problem.answer}",) if problem.answer is not None else ()))


def given_away(text: str, secrets: Sequence[Secret]) -> str:
    """Return the first secret that a text gives away, as words; "" where it gives none away.

    A secret is given away where one sentence holds all of its words, and supposes nothing ("the key may be in ...").
    """
    for sentence in _SENTENCE.split(text):
        words = {word.casefold() for word in _WORD.findall(sentence)}
        if words.isdisjoint(SUPPOSED):
            for secret in secrets:
                if words.issuperset(word.casefold() for word in secret):
                    return " ".join(secret)
    return ""


def betrayed(text: str) -> str:
    """Return the words by which a text says that there was something to look at, such as "the given answer"; or ""."""
    found = _BETRAYS.search(text)
    return found[0] if found else ""


def told_early(lines: Sequence[str], kept: int, problem: Problem) -> str:
    """Return the reference answer where a new line but the last names it and nothing says where it comes from; or "".

    lines: of a whole solution. kept: how many of them, the first ones, are the student's own. It comes from somewhere
    where the question or an earlier line has it, or its own line has a calculation ("=").
    """
    answer = spelled_plainly(problem.answer or "")
    if not answer:
        return ""
    named = re.compile(rf"(?<![\w.,]){re.escape(answer)}(?!\w|[.,]\d)")
    for place in range(kept, len(lines) - 1):
        before = spelled_plainly("\n".join((problem.question, *lines[:place])))
        if named.search(spelled_plainly(lines[place])) and not named.search(before) and "=" not in lines[place]:
            return problem.answer or ""
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaks:
    """Drops the candidates that are known to give something away. Made within a method, which knows what was hidden."""

    found: Mapping[str, str]
    """Id of a lesson -> what it gives away."""

    def judge(self, lessons: Sequence[Lesson], context: Context) -> list[Lesson | Drop]:
        """Judge each candidate by itself."""
        return [
            Drop("gives a hidden thing away", self.found[one.id]) if one.id in self.found else one for one in lessons
        ]
