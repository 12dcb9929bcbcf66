"""Ask for the steps that the author of a short answer left out: EIT's second step (arXiv 2412.16964)."""

from collections.abc import Mapping

from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import worked_solution

SYSTEM = (
    "You get a problem, a short reference answer to it, and a plan. The author of the reference answer left steps out "
    "that a beginner needs. Carry the plan out in plain text: every step of the reference answer in its order, and "
    "between them the steps and calculations that were left out, at most 100 words. Do not mention that there is a "
    "reference. The last line has the word 'Answer:' and behind it only the final answer, which is that of the "
    "reference."
)

USER = """
<question>
{{ question }}
</question>
<reference>
{{ reference }}
</reference>
<plan>
{{ plan }}
</plan>
Write all the steps, then the last line with 'Answer:' and the final answer.
"""


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return (
        f"There are three boxes with four pens each. Three times four is twelve, so the boxes hold twelve pens. There "
        f"are {number} more at home. Twelve and {number} make {12 + number}.\nAnswer: {12 + number}"
    )


FILLED_STEPS = Prompt(
    name="filled_steps",
    system=SYSTEM,
    user=USER,
    parse=worked_solution,
    example=example,
    # Our own; the paper's sampling is not known to us.
    sampling=Sampling(max_tokens=512, temperature=0.0),
)
"""Fields: question; reference: the answer as its author left it; plan: what `PLAN` gave."""
