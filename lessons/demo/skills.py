"""The demo's skills: make a question of a skill, and solve any of these questions from its text alone."""

from random import Random
from types import MappingProxyType

from lessons.demo.arithmetic import ARITHMETIC
from lessons.demo.form import LONGEST_QUESTION, DemoSkill, Facts, Worked
from lessons.demo.lists import LISTS
from lessons.demo.stories import STORIES
from lessons.skills import Skill, SkillCatalog

SKILLS = MappingProxyType({skill.name: skill for skill in (*ARITHMETIC, *LISTS, *STORIES)})
"""Name -> skill."""


def generate(skill: str, rng: Random) -> tuple[str, str]:
    """Return a new question of a skill, and its answer. KeyError where there is no such skill."""
    return SKILLS[skill].generate(rng)


def understand(question: str) -> tuple[DemoSkill, Facts] | None:
    """Return the skill that a question needs and its fields, or None where it is no question of the demo."""
    if len(question) > LONGEST_QUESTION:
        return None
    plain = " ".join(question.split())
    for skill in SKILLS.values():
        facts = skill.read(plain)
        if facts is not None:
            return skill, facts
    return None


def solve(question: str) -> Worked | None:
    """Return a question's skill, steps and answer, worked from its text; None where it is no question of the demo."""
    understood = understand(question)
    if understood is None:
        return None
    skill, facts = understood
    return skill.solve(facts)


def catalog(*names: str) -> SkillCatalog:
    """Return the closed list of these skills (of all, where none is named) with their descriptions."""
    chosen = [SKILLS[name] for name in names] if names else list(SKILLS.values())
    return SkillCatalog(skills=tuple(Skill(name=skill.name, description=skill.description) for skill in chosen))
