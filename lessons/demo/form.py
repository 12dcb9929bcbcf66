"""How a demo skill is made: templates that are filled to ask, and read backwards to understand.

A question is recognised by its text alone: each template is also the pattern that reads it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import NamedTuple

Facts = Mapping[str, str]
"""Field of a template -> its text in the question."""

NAMES = ("Anna", "Ben", "Carla", "David", "Emma", "Felix", "Grace", "Henry", "Julia", "Kevin", "Laura", "Oscar")
THINGS = (
    "apples",
    "books",
    "cards",
    "coins",
    "eggs",
    "flowers",
    "marbles",
    "nuts",
    "pens",
    "plums",
    "shells",
    "stamps",
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
DRESSING = ("name", "thing")
"""Fields that the answer does not depend on."""

LONGEST_QUESTION = 400
"""Characters of a question that is looked at; the longest made here has under 150."""

_FIELDS = {
    "name": r"[A-Z][a-z]{1,11}",
    "thing": r"[a-z]{1,12}",
    "big": r"[a-z]{1,12}",
    "small": r"[a-z]{1,12}",
    "way": r"after|before",
    "day": "|".join(WEEKDAYS),
    "time": r"[1-9]\d?:[0-5]\d",
    "numbers": r"[1-9]\d{0,2}(?:, [1-9]\d{0,2}){1,7}",
    "words": r"[a-z]{2,12}(?:, [a-z]{2,12}){1,5}",
}
_NUMBER = r"[1-9]\d{0,3}"
_FIELD = re.compile(r"\{(\w+)\}")


class Worked(NamedTuple):
    """A question that was understood and solved."""

    skill: str
    steps: str
    """One to three short sentences."""
    answer: str
    facts: tuple[str, ...]
    """What the answer depends on: questions of one skill with the same facts differ in their wording only."""

    @property
    def text(self) -> str:
        """The whole completion: the steps, then a last line `Answer: X`."""
        return f"{self.steps}\nAnswer: {self.answer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoSkill:
    """One procedural skill: how it is asked, and how it is worked."""

    name: str
    description: str
    """One line, for the catalogue."""
    fine: tuple[str, ...]
    """Names that somebody might give to it in free words."""
    templates: tuple[str, ...]
    draw: Callable[[Random], dict[str, str]]
    """Draws the fields, but for the dressing; what does not fit is drawn again."""
    fits: Callable[[Facts], bool]
    """Whether a question with these fields needs this skill and has exactly one answer."""
    truth: Callable[[Facts], str]
    """The answer, computed in the plainest way: what the generator states."""
    work: Callable[[Facts, bool], tuple[str, str]]
    """Steps and answer as a pupil writes them; with True, those of a typical slip, which always ends wrong."""

    def facts(self, rng: Random) -> dict[str, str]:
        """Draw the fields of a question, dressing included."""
        while True:
            facts = {**self.draw(rng), "name": rng.choice(NAMES), "thing": rng.choice(THINGS)}
            if self.fits(facts):
                return facts

    def generate(self, rng: Random) -> tuple[str, str]:
        """Return a new question and its answer."""
        facts = self.facts(rng)
        return rng.choice(self.templates).format_map(facts), self.truth(facts)

    def read(self, question: str) -> Facts | None:
        """Return the fields of a question of this skill, or None where it is none."""
        for template in self.templates:
            found = pattern(template).fullmatch(question)
            if found is not None and self.fits(facts := found.groupdict()):
                return facts
        return None

    def solve(self, facts: Facts) -> Worked:
        """Work a question that was read."""
        steps, answer = self.work(facts, False)
        return Worked(self.name, steps, answer, essence(facts))


@cache
def pattern(template: str) -> re.Pattern[str]:
    """Return the pattern that reads what a template makes; a field that stands twice must be the same twice."""
    parts: list[str] = []
    seen: set[str] = set()
    for index, part in enumerate(_FIELD.split(template)):
        if index % 2 == 0:
            parts.append(re.escape(part))
        elif part in seen:
            parts.append(f"(?P={part})")
        else:
            seen.add(part)
            parts.append(f"(?P<{part}>{_FIELDS.get(part, _NUMBER)})")
    return re.compile("".join(parts), re.ASCII)


def essence(facts: Facts) -> tuple[str, ...]:
    """Return the fields that the answer depends on, in order of their names."""
    return tuple(facts[field] for field in sorted(facts) if field not in DRESSING)


def misread(skill: DemoSkill, facts: Facts, rng: Random) -> tuple[str, str] | None:
    """Return sound steps for a question with one field misread, so that they end wrong; None where none was found."""
    right = skill.truth(facts)
    fields = [field for field in sorted(facts) if field not in DRESSING]
    for _ in range(20):
        field = rng.choice(fields)
        other = {**facts, field: skill.facts(rng)[field]}
        if skill.fits(other) and skill.truth(other) != right:
            return skill.work(other, False)
    return None


def whole(facts: Facts, *fields: str) -> tuple[int, ...]:
    """Return fields as whole numbers."""
    return tuple(int(facts[field]) for field in fields)


def numbers(facts: Facts) -> list[int]:
    """Return the field `numbers`."""
    return [int(part) for part in facts["numbers"].split(", ")]


def listed(values: list[int]) -> str:
    """Return numbers as questions and answers write them."""
    return ", ".join(map(str, values))
