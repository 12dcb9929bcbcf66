"""Ask to merge fine skill names into a closed catalogue: metacognitive skill labelling (arXiv 2405.12205, step 2)."""

import re
from collections.abc import Mapping

from lessons.errors import ParseError
from lessons.skills import Skill, SkillCatalog
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import MOST_JOINED, bare, item, unwrapped

ASKED = 20
"""Skills asked for, at most: about 20 for one subject (arXiv 2405.12205 as restated in STAT, appendix C.3)."""
MOST = 30
"""Skills accepted: a list half as long again is still usable in a prompt. Our own bound."""
LONGEST = 60
"""Characters of a name, at most. Our own bound."""

_DASH = re.compile(r"[ \t][-–—][ \t]")
_NAME = ("name", "short name", "skill", "skill name")
_DESCRIPTION = ("description",)

SYSTEM = (
    "You put skills in order. You get many fine skill names, one a line. Merge those that mean nearly the same, so "
    f"that few clear skills remain, at most {ASKED}. Reply with a list and nothing else: one line for each remaining "
    "skill, a hyphen, its short name, a colon, and a description in one sentence."
)

USER = """
<names>
{{ names }}
</names>
Reply with lines of this form and nothing else:
- short name: description in one sentence
"""


def parse(text: str) -> SkillCatalog:
    """Return the catalogue, in the order of the reply; of two skills with one name, the first.

    Weak models write the words of the form out (`- short name: Adding: Add two numbers.`), put a dash for the colon, or
    the description on the next line; all of these are read.

    Raises:
        ParseError: no line has the form `- name: description`, or there are far more than were asked for.
    """
    skills = listed(text)
    if not skills:
        raise ParseError("no line of the reply has the form '- name: description'")
    if len(skills) > MOST:
        raise ParseError(f"the reply lists {len(skills)} skills; at most {ASKED} were asked for")
    return SkillCatalog(skills=skills)


def listed(text: str) -> tuple[Skill, ...]:
    """Return every skill that a reply lists, however many there are; of two with one name, the first."""
    skills: dict[str, Skill] = {}
    waiting = ""  # a name whose description is still to come
    for line in unwrapped(text).splitlines():
        named = item(line)
        name, description = _parted(bare(line) if named is None else named)
        if name.casefold() in _DESCRIPTION:
            name = waiting
        elif named is None:
            name, description = waiting, bare(line)
        elif name.casefold() in _NAME:
            parted = _parted(description)
            name, description = parted if parted[1] else (description, "")
        name = " ".join(name.replace(";", ",").split()).strip("\"'. ")
        waiting = name if named is not None and not description else ""
        if description and _is_name(name):
            skills.setdefault(name.casefold(), Skill(name=name, description=" ".join(description.split())))
    return tuple(skills.values())


def _is_name(text: str) -> bool:
    """Whether a reply that names skills in a comma list can name this one."""
    fits = len(text) <= LONGEST and text.count(",") < MOST_JOINED and text.casefold() != "none"
    return fits and any(sign.isalpha() for sign in text)


def _parted(text: str) -> tuple[str, str]:
    """Return what stands before and behind the first colon, or else the first dash between blanks."""
    head, sign, rest = text.partition(":")
    if not sign:
        head, *behind = _DASH.split(text, maxsplit=1)
        rest = behind[0] if behind else ""
    return bare(head), bare(rest)


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be, as long as the list may be."""
    return "\n".join(f"- skill {place}: Do what problems of kind {place} ask for." for place in range(1, ASKED + 1))


SKILL_CLUSTERS = Prompt(
    name="skill_clusters",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    sampling=Sampling(max_tokens=1024, temperature=0.0),  # one catalogue a run, so no chance in it
)
"""Field: names, one fine name a line, the most frequent first."""
