"""Ask what a question lacks, for a better one and its answer: Reflection-Tuning (arXiv 2402.10110, step 1)."""

from dataclasses import replace

import msgspec

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.structured import structured

SYSTEM = (
    "You improve training questions for a student. You get a question and its answer. First judge the question: is the "
    "matter hard enough to learn from, is enough detail asked for, is it clear what is wanted, does it hold all that "
    "is needed, and can its answer be checked? Then write a better question on the same matter that mends what you "
    "found, and a full and right answer to it. Where an instruction is given, it is what the student is told to do "
    "with every question: the answer follows it to the letter."
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
Judge the question, then write a better one and its answer.
"""


class BetterProblem(msgspec.Struct):
    """What the question lacks, a better one, and the answer to that."""

    judgement: str
    question: str
    answer: str


_PLAIN = structured(
    "reflected_problem",
    system=SYSTEM,
    user=USER,
    form=BetterProblem,
    example=BetterProblem(
        "The question asks for one step only.",
        "A box holds four pens. Ana has seven pens at home and buys three boxes. How many pens has she?",
        "Three boxes hold 3 * 4 = 12 pens. With the seven at home she has 12 + 7 = 19.\nAnswer: 19",
    ),
    sampling=Sampling(max_tokens=1536, temperature=0.0),  # one reflection each, so no chance in it
)


def parse(text: str) -> BetterProblem:
    """Return the better question and its answer.

    Raises:
        ParseError: the reply has not the form, or the question or the answer has no words.
    """
    found = _PLAIN.parse(text)
    question, answer = found.question.strip(), found.answer.strip()
    for name, said in (("question", question), ("answer", answer)):
        if not any(map(str.isalnum, said)):
            raise ParseError(f"the reply's {name!r} has no words")
    return BetterProblem(found.judgement, question, answer)


REFLECTED_PROBLEM = replace(_PLAIN, parse=parse)
"""Fields: question, answer, instruction (the student's own; may be empty)."""
