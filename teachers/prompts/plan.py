"""Ask for a plan that leads to a known answer: EIT's first step (arXiv 2412.16964)."""

from collections.abc import Mapping

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import bare, unwrapped

LONGEST = 1500
"""Characters of a plan, at most. Our own bound."""

SYSTEM = (
    "You get a problem and a short reference answer to it. Write the plan by which somebody who does not know the "
    "answer can find it: divide the goal into two to five smaller ones, in the order in which they are reached, one "
    "sentence each, in plain text without headings. The reference answer tells you where the plan must lead; do not "
    "mention it, and do not calculate anything yet."
)

USER = """
<question>
{{ question }}
</question>
<reference>
{{ reference }}
</reference>
Write the plan only.
"""


def parse(text: str) -> str:
    """Return the plan as plain text, without a heading of its own.

    Raises:
        ParseError: there are no words in it, or it is too long for a plan.
    """
    plan = bare(unwrapped(text))
    head, colon, rest = plan.partition(":")
    if colon and bare(head).lower() in ("plan", "the plan"):
        plan = bare(rest)
    if sum(sign.isalpha() for sign in plan[:LONGEST]) < 3:
        raise ParseError("the reply holds no plan in words")
    if len(plan) > LONGEST:
        raise ParseError(f"the plan is longer than {LONGEST} characters")
    return plan


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return f"First find how many pens the boxes hold. Then add the {number} pens at home."


PLAN = Prompt(
    name="plan",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    # Our own; the paper's sampling is not known to us.
    sampling=Sampling(max_tokens=384, temperature=0.0),
)
"""Fields: question; reference: the answer as its author left it, which the student never sees in the prompt."""
