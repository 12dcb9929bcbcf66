"""Ask for a reflection on a solved problem: another way and a further problem, for RefAug (arXiv 2406.12050)."""

from collections.abc import Mapping

from lessons.answers import final_answer
from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import labelled, unwrapped

SYSTEM = (
    "You get a problem and its solution, and you look back at it so that a student sees more than this one answer. "
    "Write two parts in plain text. 'Alternative reasoning:' solves the same problem in a different valid way, and "
    "says which principle it rests on. 'Follow-up reasoning:' states the general form of the problem, or a harder "
    "problem that needs the same idea, and works it out; the same problem with other numbers is not enough. State "
    "results within the sentences: the words 'Answer:' and 'the answer is', boxes and '####' must not occur."
)

USER = """
<question>
{{ question }}
</question>
<solution>
{{ solution }}
</solution>
Write 'Alternative reasoning:' and what belongs to it, then 'Follow-up reasoning:' and what belongs to it.
"""

_LABELS = ("alternative reasoning", "follow-up reasoning")


def parse(text: str) -> str:
    """Return the reflection: two paragraphs, each behind its label.

    Raises:
        ParseError: a part is missing, or something in it reads as a final answer: a grader would take that for the
            answer to the problem.
    """
    found = labelled(unwrapped(text), _LABELS)
    for label in _LABELS:
        if sum(sign.isalpha() for sign in found.get(label, "")[:1000]) < 3:
            raise ParseError(f"the part '{label.capitalize()}:' is missing")
    reflection = "\n".join(f"{label.capitalize()}: {found[label]}" for label in _LABELS)
    if final_answer(reflection) is not None:
        raise ParseError("the reflection states a final answer ('Answer:', 'the answer is', a box or '####')")
    return reflection


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return (
        f"Alternative reasoning: Count the pens at home first and go up by fours: {number}, {number + 4}, "
        f"{number + 8}, {number + 12}. This works because multiplying is adding the same number again and again.\n"
        "Follow-up reasoning: With b boxes of p pens and h pens at home there are b times p plus h pens. For five "
        f"boxes of six pens and {number} at home that makes thirty and {number}, which is {30 + number}."
    )


LOOKING_BACK = Prompt(
    name="looking_back",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    # 0.7 and 512 tokens as in the released code.
    sampling=Sampling(max_tokens=512, temperature=0.7),
)
"""Fields: question; solution: the reference, which the student learns too."""
