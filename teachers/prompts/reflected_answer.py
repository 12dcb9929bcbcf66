"""Ask what an answer lacks, and for a better one: Reflection-Tuning (arXiv 2402.10110, step 1)."""

from dataclasses import replace

import msgspec

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.structured import structured

SYSTEM = (
    "You improve answers that a student learns from. You get a question and an answer to it. First say where the "
    "answer is not good: is it helpful, does it keep to the question, is all of it right, is it detailed enough? Then "
    "write a better answer that mends what you found. Where an instruction is given, it is what the student is told to "
    "do with every question: the answer follows it to the letter."
)

USER = """
<question>
{{ question }}
</question>
<answer>
{{ answer }}
</answer>
<instruction>
{{ instruction }}
</instruction>
Judge the answer, then write a better one.
"""


class BetterAnswer(msgspec.Struct):
    """What the answer lacks, and a better one."""

    judgement: str
    answer: str


_PLAIN = structured(
    "reflected_answer",
    system=SYSTEM,
    user=USER,
    form=BetterAnswer,
    example=BetterAnswer("The answer is right and shows no steps.", "Three boxes hold 3 * 4 = 12 pens.\nAnswer: 12"),
    sampling=Sampling(max_tokens=1536, temperature=0.0),  # one reflection each, so no chance in it
)


def parse(text: str) -> BetterAnswer:
    """Return the better answer.

    Raises:
        ParseError: the reply has not the form, or the answer has no words.
    """
    found = _PLAIN.parse(text)
    if not any(map(str.isalnum, found.answer)):
        raise ParseError("the reply's 'answer' has no words")
    return BetterAnswer(found.judgement, found.answer.strip())


REFLECTED_ANSWER = replace(_PLAIN, parse=parse)
"""Fields: question, answer, instruction (the student's own; may be empty)."""
