"""Ask which skills of a closed list a question needs: STAT's Skill-Map (arXiv 2510.10023, step 0)."""

from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from lessons.errors import ParseError
from lessons.skills import SkillCatalog
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import from_list, labelled, one_of, skill_lines

MOST = 5
"""Skills of one question, at most: five as in STAT (arXiv 2510.10023, step 0)."""

NONE_CHOSEN = 2 * MOST
"""Skills from which a reply has repeated the list: the first five of it would be no labels. Our own bound; a model of
0.5B did so with most lists (own measurement)."""

SYSTEM = (
    "You label a problem with the skills that it needs. Choose only from the list of skills, at most five, the most "
    "important first. Do not solve the problem. Reply with two lines: 'Skills:' and the chosen names exactly as they "
    "stand in the list, separated by commas, then 'Reason:' and one sentence. Where no skill of the list is needed, "
    "write 'Skills: none'."
)


class SkillLabels(NamedTuple):
    """What a question needs."""

    skills: tuple[str, ...]
    """Names in the catalogue's own spelling, the most important first; empty where the teacher found that none fits."""
    reason: str


def parse(text: str, catalog: SkillCatalog) -> SkillLabels:
    """Return the labels; names that are not in the catalogue are dropped.

    Raises:
        ParseError: the reply has no line `Skills:`, names something and nothing of the catalogue, or names so many of
            a long list that it has chosen nothing.
    """
    found = labelled(text, ("reason", "skills", "skill"))
    listed = one_of(found, "skills", "skill")
    if listed is None:
        raise ParseError("the reply has no line 'Skills: ...'")
    names = from_list(listed, catalog, len(catalog.names))
    if len(names) > NONE_CHOSEN:
        raise ParseError(f"the reply names {len(names)} skills; at most {MOST} were asked for")
    return SkillLabels(names[:MOST], found.get("reason", ""))


def example(fields: Mapping[str, object], number: int, catalog: SkillCatalog) -> str:
    """Return a reply as it should be."""
    name = catalog.names[number % len(catalog.names)] if catalog.names else "none"
    return f"Skills: {name}\nReason: The problem asks for one such step and for nothing else."


def skill_labels(catalog: SkillCatalog) -> Prompt[SkillLabels]:
    """Return the prompt for this closed list. Field: question."""
    user = (
        f"<skills>\n{skill_lines(catalog.skills)}\n</skills>\n"
        "<question>\n{{ question }}\n</question>\n"
        "Write two lines. The first begins with 'Skills:' and has the needed names from the list, separated by commas. "
        "The second begins with 'Reason:' and has one short sentence."
    )
    return Prompt(
        name="skill_labels",
        system=SYSTEM,
        user=user,
        parse=partial(parse, catalog=catalog),
        example=partial(example, catalog=catalog),
        sampling=Sampling(max_tokens=256, temperature=0.0),  # one label a question, so no chance in it
    )
