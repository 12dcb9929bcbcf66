"""Ask for a step-by-step solution in a given style: ARTE's draft rationales (arXiv 2406.19227, step 1)."""

from teachers.base import Sampling
from teachers.prompts import rationale
from teachers.prompts.base import Prompt
from teachers.prompts.reading import worked_solution

SYSTEM = (
    "You write solutions that students learn from. Solve the problem in the style that is asked for, in plain text and "
    "at most 80 words. Whatever the style, the last line has the word 'Answer:' and behind it only the final answer."
)

USER = """
<question>
{{ question }}
</question>
<style>
{{ style }}
</style>
Write the solution in this style, then the last line with 'Answer:' and the final answer.
"""

STYLED_RATIONALE = Prompt(
    name="styled_rationale",
    system=SYSTEM,
    user=USER,
    parse=worked_solution,
    example=rationale.example,
    sampling=Sampling(max_tokens=512, temperature=1.0),  # drafts must differ
)
"""Fields: question; style, in a sentence. Read as a rationale is: steps, then one plain last line `Answer: ...`."""
