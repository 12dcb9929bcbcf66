"""Ask for a better answer after wrong ones: the improver of RISE (arXiv 2407.18219)."""

from collections.abc import Mapping, Sequence

from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import worked_solution

SYSTEM = (
    "A student has tried a problem, and every attempt so far is wrong. See where the attempts go wrong, then write the "
    "attempt that the student should make next: a whole solution in plain text, step by step, every calculation "
    "written out, at most 80 words. You may say in a few words what was wrong before. The last line has the word "
    "'Answer:' and behind it only the final answer."
)

USER = """
<question>
{{ question }}
</question>
<attempts>
{{ attempts }}
</attempts>
All of these attempts are wrong. Write the next one, then the last line with 'Answer:' and the final answer.
"""


def numbered(texts: Sequence[str]) -> str:
    """Return attempts as the prompt shows them, first to last."""
    return "\n\n".join(f"Attempt {number}:\n{text}" for number, text in enumerate(texts, start=1))


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return (
        f"The pens at home were left out. Three boxes of four pens are twelve pens, and with the {number} at home "
        f"there are {12 + number}.\nAnswer: {12 + number}"
    )


IMPROVEMENT = Prompt(
    name="improvement",
    system=SYSTEM,
    user=USER,
    parse=worked_solution,
    example=example,
    # Our own temperature; the paper's improver is asked for one answer a turn.
    sampling=Sampling(max_tokens=512, temperature=0.7),
)
"""Fields: question; attempts: the wrong ones, as `numbered` writes them. The reference answer is never shown."""
