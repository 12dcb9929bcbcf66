"""Ask which skills an attempt lacked: STAT's Missing-Skill-Profile (arXiv 2510.10023, step 2)."""

from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple

from lessons.errors import ParseError
from lessons.skills import SkillCatalog
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import from_list, labelled, one_of, skill_lines, verdict_of

MOST = 3
"""Skills of one attempt, at most: the paper reports 2 to 3 for a question (arXiv 2510.10023, step 2)."""

SYSTEM = (
    "You look at a student's solution of a problem and find out which skills the student lacks. Work the problem out "
    "for yourself first. Choose skills only from the list, at most three, the one most lacking first. Reply with three "
    "lines: 'Verdict: right' or 'Verdict: wrong', then 'Skills:' and the lacking skills exactly as they stand in the "
    "list, separated by commas, then 'Reason:' and one sentence on the first wrong step. Where nothing is lacking, "
    "write 'Skills: none'."
)
"""Verdict, skills, reason; the paper has the reason second. A weak teacher ended its reply with the reason, wherever
that stood (own measurement)."""


class MissingSkills(NamedTuple):
    """What an attempt lacked, as the teacher sees it."""

    verdict: Literal["right", "wrong"]
    """Given without sight of the reference answer."""
    reason: str
    skills: tuple[str, ...]
    """Names in the catalogue's own spelling, worst first; always empty for a right attempt, perhaps for a wrong one."""


def parse(text: str, catalog: SkillCatalog) -> MissingSkills:
    """Return the diagnosis; names that are not in the catalogue are dropped.

    Raises:
        ParseError: no verdict can be read; or the verdict is "wrong" and there is no line `Skills:`, or it names
            something and nothing of the catalogue.
    """
    found = labelled(text, ("verdict", "reason", "skills", "missing skills", "lacking skills"))
    verdict = verdict_of(found.get("verdict", "").partition("\n")[0])
    if verdict is None:
        raise ParseError("the reply has no line 'Verdict: right' or 'Verdict: wrong'")
    reason = found.get("reason", "")
    if verdict == "right":
        return MissingSkills(verdict, reason, ())
    listed = one_of(found, "skills", "missing skills", "lacking skills")
    if listed is None:
        raise ParseError("the reply has no line 'Skills: ...'")
    return MissingSkills(verdict, reason, from_list(listed, catalog, MOST))


def example(fields: Mapping[str, object], number: int, catalog: SkillCatalog) -> str:
    """Return a reply as it should be."""
    name = catalog.names[number % len(catalog.names)] if catalog.names else "none"
    return f"Verdict: wrong\nSkills: {name}\nReason: The second step adds the numbers where it should multiply them."


def missing_skills(catalog: SkillCatalog) -> Prompt[MissingSkills]:
    """Return the prompt for this closed list. Fields: question, attempt (the student's own steps); never the answer."""
    user = (
        f"<skills>\n{skill_lines(catalog.skills)}\n</skills>\n"
        "<question>\n{{ question }}\n</question>\n"
        "<attempt>\n{{ attempt }}\n</attempt>\n"
        "Reply in exactly this form, three lines:\n"
        "Verdict: right or wrong\n"
        "Skills: names from the list, separated by commas\n"
        "Reason: one sentence on the first wrong step"
    )
    return Prompt(
        name="missing_skills",
        system=SYSTEM,
        user=user,
        parse=partial(parse, catalog=catalog),
        example=partial(example, catalog=catalog),
        sampling=Sampling(max_tokens=384, temperature=0.0),  # one diagnosis an attempt, so no chance in it
    )
