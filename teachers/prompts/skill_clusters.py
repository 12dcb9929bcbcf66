"""Ask to merge fine skill names into a closed catalogue: metacognitive skill labelling (arXiv 2405.12205, step 2)."""

from collections.abc import Mapping

from lessons.errors import ParseError
from lessons.skills import Skill, SkillCatalog
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import bare, item, unwrapped

ASKED = 20
"""Skills asked for, at most: about 20 for one subject (arXiv 2405.12205 as restated in STAT, appendix C.3)."""
MOST = 30
"""Skills accepted: a list half as long again is still usable in a prompt. Our own bound."""
LONGEST = 60
"""Characters of a name, at most. Our own bound."""

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

    Raises:
        ParseError: no line has the form `- name: description`, or there are far more than were asked for.
    """
    skills: dict[str, Skill] = {}
    for line in unwrapped(text).splitlines():
        listed = item(line)
        name, colon, description = (listed or "").partition(":")
        name = bare(name).strip("\"'. ")
        if not colon or not any(sign.isalpha() for sign in name) or len(name) > LONGEST:
            continue
        skills.setdefault(" ".join(name.casefold().split()), Skill(name=name, description=bare(description)))
    if not skills:
        raise ParseError("no line of the reply has the form '- name: description'")
    if len(skills) > MOST:
        raise ParseError(f"the reply lists {len(skills)} skills; at most {ASKED} were asked for")
    return SkillCatalog(skills=tuple(skills.values()))


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
