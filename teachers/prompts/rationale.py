"""Ask for a step-by-step solution that a student can learn: Fine-tune-CoT (arXiv 2212.10071, step 1)."""

from collections.abc import Mapping

from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import worked_solution

SYSTEM = (
    "You teach beginners. Explain how to solve the problem, step by step, in plain text: short sentences, every "
    "calculation written out, no headings, no lists, at most 60 words. First the steps, then a last line that has "
    "the word 'Answer:' and behind it only the final answer."
)
"""60 words, zero-shot: an example was imitated by a weak teacher, and long rationales were cut (own measurement)."""

USER = """
<question>
{{ question }}
</question>
{% if hint is defined and hint %}
<hint>
{{ hint }}
</hint>
The hint is a correct solution. Explain it in your own words, as if you had found it yourself. Do not mention it.
{% endif %}
Write the steps, then the last line with 'Answer:' and the final answer.
"""


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return (
        f"She buys three boxes of four pens, and has {number} pens at home. Three times four is twelve. "
        f"Twelve and {number} make {12 + number}.\nAnswer: {12 + number}"
    )


RATIONALE = Prompt(
    name="rationale",
    system=SYSTEM,
    user=USER,
    parse=worked_solution,
    example=example,
    # 0.7 as in the paper's diverse reasoning; its 128 tokens cut long solutions, so more are allowed.
    sampling=Sampling(max_tokens=512, temperature=0.7),
)
"""Fields: question; hint (optional): a reference solution, for rewrites of it (STAT, arXiv 2510.10023, inputs)."""
