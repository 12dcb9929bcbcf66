"""Ask which step of a wrong solution is wrong, with the reference in sight: GSI's teacher (arXiv 2411.00750)."""

from collections.abc import Mapping

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import bare, unwrapped

LONGEST = 2000
"""Characters of a correction, at most: it becomes part of the student's chat. Our own bound."""

SYSTEM = (
    "You help a student with a wrong solution of a problem. You also have the correct solution, which the student "
    "never sees. Name the first step of the student's solution that is wrong, say why it is wrong, and what kind of "
    "step is needed there. Speak to the student, in plain text, at most 60 words. Do not give the correct solution or "
    "its final answer."
)

USER = """
<question>
{{ question }}
</question>
<attempt>
{{ attempt }}
</attempt>
<reference>
{{ reference }}
</reference>
Tell the student which step of the attempt is wrong, and why.
"""


def parse(text: str) -> str:
    """Return the correction as plain text.

    Raises:
        ParseError: there are no words in it, or too many for a student's chat.
    """
    words = bare(unwrapped(text))
    if sum(sign.isalpha() for sign in words[:LONGEST]) < 3:
        raise ParseError("the reply does not say in words which step is wrong")
    if len(words) > LONGEST:
        raise ParseError(f"the correction is longer than {LONGEST} characters; name one step only")
    return words


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return f"Your second step is wrong: you leave out the {number} pens at home. Add them to the pens in the boxes."


CORRECTION = Prompt(
    name="correction",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    # 1.0 and 0.95 as in the paper.
    sampling=Sampling(max_tokens=256, temperature=1.0, top_p=0.95),
)
"""Fields: question; attempt: the student's wrong solution; reference: the correct one, which only the teacher sees."""
