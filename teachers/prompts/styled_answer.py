"""Ask for an answer, in the style that suits the type of task: TAPIR's re-written responses (arXiv 2405.13448)."""

from collections.abc import Mapping

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import unwrapped

SYSTEM = (
    "You answer questions for students, who learn from how you answer. Be right, clear and complete, and no longer "
    "than need be. Where a style is given, answer in it; where an instruction is given, it is what the student is told "
    "to do with every question: your answer follows it to the letter. Reply with the answer alone."
)

USER = """
<question>
{{ question }}
</question>
<instruction>
{{ instruction }}
</instruction>
<style>
{{ style }}
</style>
Write the answer.
"""


def parse(text: str) -> str:
    """Return the answer.

    Raises:
        ParseError: there are no words in the reply.
    """
    answer = text.strip()
    if not any(sign.isalnum() for sign in unwrapped(answer)):
        raise ParseError("the reply holds no answer")
    return answer


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return f"Three boxes of four pens are 3 * 4 = 12 pens, and {number} more make {12 + number}.\nAnswer: {12 + number}"


STYLED_ANSWER = Prompt(
    name="styled_answer",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    sampling=Sampling(max_tokens=1024, temperature=0.0),  # one answer each, so no chance in it; our own choice
)
"""Fields: question, instruction (the student's own; may be empty), style (may be empty)."""
