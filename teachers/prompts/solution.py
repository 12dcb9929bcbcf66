"""Ask for the solution of a new problem, to count how many solutions agree: STAT (arXiv 2510.10023, step 3b)."""

from collections.abc import Mapping
from typing import NamedTuple

from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import stated_answer

SYSTEM = (
    "You solve problems with care. Work the problem out step by step in plain text, at most 60 words, and check each "
    "calculation. Then write a last line that has the word 'Answer:' and behind it only the final answer."
)

USER = """
<question>
{{ question }}
</question>
Write the steps, then the last line with 'Answer:' and the final answer.
"""


class Solution(NamedTuple):
    """A solved problem."""

    text: str
    """The steps, then one plain last line `Answer: ...`."""
    answer: str
    """The final answer alone."""


def parse(text: str) -> Solution:
    """Return the solution.

    Raises:
        ParseError: the reply does not end in the answer's line, or has no steps.
    """
    steps, answer = stated_answer(text)
    return Solution(f"{steps}\nAnswer: {answer}", answer)


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return (
        f"She buys three boxes of four pens, and has {number} pens at home. Three times four is twelve. "
        f"Twelve and {number} make {12 + number}.\nAnswer: {12 + number}"
    )


SOLUTION = Prompt(
    name="solution",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    # The paper gives no temperature; solutions that are to be compared must be drawn, so not 0.
    sampling=Sampling(max_tokens=512, temperature=0.7),
)
"""Field: question."""
