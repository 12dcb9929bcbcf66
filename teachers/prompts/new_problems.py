"""Ask for new problems on a skill: STAT-Syn (arXiv 2510.10023, step 3b)."""

import re
from collections.abc import Mapping

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import bare, unwrapped

MOST = 20
"""Questions read from one reply, at most. Our own bound."""

SYSTEM = (
    "You write practice problems. You get a skill and example problems that need it. First think about how the "
    "examples use the skill. Then write new problems that need the same skill and are as hard as the examples. "
    "Each must be a problem of its own with other numbers and another situation: not an example with words exchanged. "
    "Each must have exactly one right answer and hold all that is needed to find it. Do not solve them. Put each "
    "on one line that begins with 'Question:'."
)
"""How the examples use the skill, the same difficulty and no surface edits: as the paper asks."""

USER = """
<skill>
{{ skill }}
</skill>
<examples>
{{ examples }}
</examples>
<count>
{{ count }}
</count>
Write {{ count }} new problems that need the skill. Begin each with 'Question:' and put all of it on one line. Do not
write solutions or answers.
"""

_LIST = r"(?:\d{1,2}[.)][ \t]*)?"
_QUESTION = re.compile(
    _LIST + r"[*_#]{0,3}(?:new )?(?:question|problem)(?: ?#?\d{1,2})?[*_]{0,3} ?[:.)]", re.IGNORECASE
)
_NUMBER = re.compile(r"\d{1,2}[.)][ \t]+")
_ANSWER = re.compile(r"\b(?:answer|solution|explanation)s?[*_]{0,3} ?:", re.IGNORECASE)


def parse(text: str) -> list[str]:
    """Return the new questions, each once: lines behind `Question:`, or else the lines of a numbered list.

    Only the one line that was asked for is read, or the next one where nothing stands behind `Question:`. A question
    that states its answer is dropped.

    Raises:
        ParseError: the reply has neither form, or no question in it is left.
    """
    lines = [line.strip().lstrip("*_#>- \t") for line in unwrapped(text).splitlines()]
    head = next((form for form in (_QUESTION, _NUMBER) if any(form.match(line) for line in lines)), None)
    if head is None:
        raise ParseError("no line of the reply begins with 'Question:'")
    found: dict[str, None] = {}
    is_open = False
    for line in lines:
        begins = head.match(line)
        rest = bare(line[begins.end() :] if begins else line)
        if (begins or is_open) and rest and not _ANSWER.search(rest):
            found[rest] = None
        is_open = bool(begins and not rest) or (is_open and not rest)
    worded = [question for question in found if sum(sign.isalpha() for sign in question[:1000]) >= 3]
    if not worded:
        raise ParseError("no question without its answer stands behind 'Question:'")
    return worded[:MOST]


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be, with as many problems as were asked for."""
    count = fields.get("count")
    return "\n".join(
        f"Question: A gardener plants {number + 3} rows of {place + 4} beans and {number + 7} peas. How many plants "
        "are there in all?"
        for place in range(count if isinstance(count, int) else 1)
    )


NEW_PROBLEMS = Prompt(
    name="new_problems",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    sampling=Sampling(max_tokens=768, temperature=0.7),  # the paper gives none; new problems must differ
)
"""Fields: skill, examples (3 in the paper, with solutions), count (2 in the paper)."""
