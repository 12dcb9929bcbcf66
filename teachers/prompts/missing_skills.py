"""Ask how an attempt went wrong and which skills it lacked: STAT's Missing-Skill-Profile (arXiv 2510.10023, step 2)."""

import re
from collections.abc import Mapping
from functools import partial
from typing import Literal, NamedTuple

from lessons.errors import ParseError
from lessons.records import ErrorKind
from lessons.skills import SkillCatalog
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import from_list, labelled, one_of, skill_lines, verdict_of

MOST = 3
"""Skills of one attempt, at most: the paper reports 2 to 3 for a question (arXiv 2510.10023, step 2)."""

ERRORS: dict[ErrorKind, str] = {
    "arithmetic slip": "the plan is right and a calculation is false",
    "wrong plan": "the steps do not lead to what is asked",
    "misread question": "the steps fit another question: a number, a unit or the thing asked for is taken wrongly",
    "format": "the work is right and its answer is not stated as it should be",
    "gave up": "there is no real attempt",
}
"""The kinds of error that a teacher may name, and what each means. Our own list; that an answer was truncated is known
without a teacher."""

LONGEST_ERROR = 120
"""Characters of the line that names the kind of error, at most. Our own bound."""

SYSTEM = (
    "You look at a student's solution of a problem and find out which skills the student lacks. Work the problem out "
    "for yourself first. Choose skills only from the list, at most three, the one most lacking first. Reply with three "
    "lines: 'Verdict: right' or 'Verdict: wrong', then 'Skills:' and the lacking skills exactly as they stand in the "
    "list, separated by commas, then 'Reason:' and one sentence on the first wrong step, with the kind of the error in "
    f"brackets before it: {'; '.join(f'[{kind}] where {what}' for kind, what in ERRORS.items())}. Where nothing is "
    "lacking, write 'Skills: none'."
)
"""Verdict, skills, reason with the error's kind; the paper has the reason second and no kind. A weak teacher ended its
reply with the reason, wherever that stood, and with a line of its own for the error it wrote nothing but that line and
the reason (own measurements)."""

PRIVILEGED_SYSTEM = (
    f"{SYSTEM} A reference solution is given, which the student has not seen: judge by it, and do not repeat its "
    "answer in the reason."
)
"""Where the recipe lets the teacher see the reference (`diagnose.privileged`)."""


class MissingSkills(NamedTuple):
    """What an attempt lacked, as the teacher sees it."""

    verdict: Literal["right", "wrong"]
    """Given without sight of the reference answer, unless the prompt was a privileged one."""
    reason: str
    skills: tuple[str, ...]
    """Names in the catalogue's own spelling, worst first; always empty for a right attempt, perhaps for a wrong one."""
    error: ErrorKind | None = None
    """The kind of the first error; None where the reply names none of the list. For a right attempt, "format" only."""


def error_of(text: str) -> ErrorKind | None:
    """Return the kind of error that a line names, whatever stands around it; None where it names none, or several."""
    words = " ".join(text.partition("\n")[0][:LONGEST_ERROR].replace("_", " ").replace("-", " ").casefold().split())
    named: list[ErrorKind] = [kind for kind in ERRORS if re.search(rf"\b{kind}\b", words)]
    return named[0] if len(named) == 1 else None


def bracketed(reason: str) -> tuple[str, str]:
    """Return what stands in brackets before a reason, and the reason without it; "" where nothing does."""
    found = re.match(r"\s*[\[(]([^\[\]()\n]{1,40})[\])][\s:.-]*", reason)
    if found is None or error_of(found[1]) is None:
        return "", reason
    return found[1], reason[found.end() :]


def parse(text: str, catalog: SkillCatalog) -> MissingSkills:
    """Return the diagnosis; names that are not in the catalogue are dropped.

    Raises:
        ParseError: no verdict can be read; or the verdict is "wrong" and there is no line `Skills:`, or it names
            something and nothing of the catalogue.
    """
    found = labelled(text, ("verdict", "error", "reason", "skills", "missing skills", "lacking skills"))
    verdict = verdict_of(found.get("verdict", "").partition("\n")[0])
    if verdict is None:
        raise ParseError("the reply has no line 'Verdict: right' or 'Verdict: wrong'")
    kind, reason = bracketed(found.get("reason", ""))
    error = error_of(found.get("error", kind))
    if verdict == "right":
        return MissingSkills(verdict, reason, (), error if error == "format" else None)
    listed = one_of(found, "skills", "missing skills", "lacking skills")
    if listed is None:
        raise ParseError("the reply has no line 'Skills: ...'")
    return MissingSkills(verdict, reason, from_list(listed, catalog, MOST), error)


def example(fields: Mapping[str, object], number: int, catalog: SkillCatalog) -> str:
    """Return a reply as it should be."""
    name = catalog.names[number % len(catalog.names)] if catalog.names else "none"
    reason = "The second step adds the numbers where it should multiply them."
    return f"Verdict: wrong\nSkills: {name}\nReason: [wrong plan] {reason}"


def missing_skills(catalog: SkillCatalog, *, privileged: bool = False) -> Prompt[MissingSkills]:
    """Return the prompt for this closed list. Fields: question, attempt (the student's own steps); never the answer.

    privileged: the teacher sees the reference too, as the field `reference`.
    """
    user = (
        f"<skills>\n{skill_lines(catalog.skills)}\n</skills>\n"
        "<question>\n{{ question }}\n</question>\n"
        "<attempt>\n{{ attempt }}\n</attempt>\n"
        + ("<reference>\n{{ reference }}\n</reference>\n" if privileged else "")
        + "Reply in exactly this form, three lines:\n"
        "Verdict: right or wrong\n"
        "Skills: names from the list, separated by commas\n"
        "Reason: [kind of the error] one sentence on the first wrong step"
    )
    return Prompt(
        name="missing_skills",
        system=PRIVILEGED_SYSTEM if privileged else SYSTEM,
        user=user,
        parse=partial(parse, catalog=catalog),
        example=partial(example, catalog=catalog),
        sampling=Sampling(max_tokens=384, temperature=0.0),  # one diagnosis an attempt, so no chance in it
    )
