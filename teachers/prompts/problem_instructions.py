"""Ask how problems of a task are solved, and to work principles into that: TPD (arXiv 2401.13849, steps 1 and 3)."""

from collections.abc import Mapping

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import unwrapped

LONGEST = 4000
"""Characters of the instructions, at most: they stand before every question. Our own bound."""

SYSTEM = (
    "You write instructions for a student who is to solve problems of one kind. You get what the student is told "
    "already and example problems with their solutions. Write how such problems are solved in general: what to look "
    "for, the steps in their order, what to check, and how the answer is stated. At most 150 words of plain text, said "
    "to the student. Do not solve the examples, and use none of their numbers or names. Reply with the instructions "
    "alone."
)

USER = """
<task>
{{ task }}
</task>
<examples>
{{ examples }}
</examples>
{% if principles is defined and principles %}
<instructions>
{{ instructions }}
</instructions>
<principles>
{{ principles }}
</principles>
The instructions are those that the student had. The principles say what went wrong with them. Write the instructions
anew so that they lead the student to keep the principles; keep what is good in them.
{% else %}
Write the instructions.
{% endif %}
"""


def parse(text: str) -> str:
    """Return the instructions.

    Raises:
        ParseError: there are no words in the reply, or far more than were asked for.
    """
    found = unwrapped(text).strip()
    if not any(sign.isalnum() for sign in found):
        raise ParseError("the reply holds no instructions")
    if len(found) > LONGEST:
        raise ParseError(f"the instructions have {len(found)} characters; at most {LONGEST} are kept")
    return found


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return (
        "Read the question twice and note every number in it. Work out one thing at a time and write each calculation "
        "down. Check it by going back. State the final answer in the last line."
    )


PROBLEM_INSTRUCTIONS = Prompt(
    name="problem_instructions",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    sampling=Sampling(max_tokens=768, temperature=0.0),  # written once, so no chance in it
)
"""Fields: task (what the student is told already), examples (with solutions); both of these or neither: instructions
(those so far), principles (one a line)."""
