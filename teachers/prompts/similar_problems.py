"""Ask for problems like one that was missed, with their solutions: LLM2LLM (arXiv 2403.15042)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import LONGEST_ANSWER, bare, item, labelled, unwrapped

MOST = 10
"""Problems in one reply, at most: the largest request of the released code."""

SYSTEM = (
    "You write exercises for a student who got one problem wrong. You see that problem with its correct solution. "
    "Write new problems that need the same knowledge and the same kind of steps, and solve each. Change the people, "
    "the things and the numbers. Write plain text in the language of the problem, under 100 words for each problem. "
    "Every calculation is written out and right. The final answer has the form of the answer that you see: a number "
    "stays a bare number without its unit, and a name is one of the same list. Each problem has three labelled parts: "
    "'Question:', 'Solution:' and 'Answer:'. Where the solution that you see has no steps, leave 'Solution:' out."
)

USER = """
<question>
{{ question }}
</question>
<reference>
{{ reference }}
</reference>
{% if attempt is defined and attempt %}
<attempt>
{{ attempt }}
</attempt>
The attempt is what the student wrote; it is wrong.
{% endif %}
{% if written is defined and written %}
<written>
{{ written }}
</written>
The problems above are there already. Write different ones.
{% endif %}
<count>
{{ count }}
</count>
Write {{ count }} new problems like this one, each with 'Question:', 'Solution:' and 'Answer:'.
"""

_LABELS = ("question", "solution", "answer")


class Similar(NamedTuple):
    """A new problem."""

    question: str
    """On one line."""
    solution: str
    """Its steps; "" where it was given none."""
    answer: str


def parse(text: str) -> list[Similar]:
    """Return the new problems, in order; one that lacks a part, or has one twice, is passed over.

    Raises:
        ParseError: none is whole.
    """
    blocks: list[list[str]] = []
    for line in unwrapped(text).splitlines():
        if _begins(line):
            blocks.append([line.replace(line.partition(":")[0], "Question", 1)])
        elif blocks:
            blocks[-1].append(line)
    found = [one for block in blocks if (one := _whole("\n".join(block))) is not None]
    if not found:
        raise ParseError("no problem with its parts 'Question:', 'Solution:' and 'Answer:' stands in the reply")
    return found[:MOST]


def _begins(line: str) -> bool:
    head, colon, _ = line.partition(":")
    words = bare(item(head) or head).lower().split() if colon and len(head) <= 40 else []
    return words[:1] == ["question"] and (len(words) == 1 or (len(words) == 2 and words[1].strip("#.").isdigit()))


def _whole(block: str) -> Similar | None:
    """Return the problem of one block, or None where it has not exactly one question and one answer."""
    lines = [bare(item(line) or line).lower() for line in block.splitlines()]
    if sum(line.startswith("answer:") for line in lines) != 1:
        return None
    try:
        parts = labelled(block, _LABELS)
    except ParseError:
        return None
    question = " ".join(parts.get("question", "").split())
    answer = bare(next(iter(parts.get("answer", "").splitlines()), "")).rstrip(". ")
    if sum(sign.isalpha() for sign in question[:1000]) < 3 or not 0 < len(answer) <= LONGEST_ANSWER:
        return None
    return Similar(question, parts.get("solution", "").strip(), answer)


def shown(problems: Sequence[Similar]) -> str:
    """Return problems in the form in which they are asked for."""
    return "\n\n".join(
        "\n".join(
            f"{label}: {text}"
            for label, text in (("Question", one.question), ("Solution", one.solution), ("Answer", one.answer))
            if text
        )
        for one in problems
    )


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be, with as many problems as were asked for."""
    count = fields.get("count")
    made = [
        Similar(
            f"A gardener plants {number + 3} rows of {place + 4} beans and {number + 7} peas. How many are there?",
            f"{number + 3} * {place + 4} = {(number + 3) * (place + 4)} beans. With {number + 7} peas that makes "
            f"{(number + 3) * (place + 4) + number + 7}.",
            str((number + 3) * (place + 4) + number + 7),
        )
        for place in range(count if isinstance(count, int) else 1)
    ]
    return shown(made)


SIMILAR_PROBLEMS = Prompt(
    name="similar_problems",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    # 1.0, 1.0 and 2,149 tokens as in the released code.
    sampling=Sampling(max_tokens=2149, temperature=1.0, top_p=1.0),
)
"""Fields: question, reference (solution and answer of the missed problem), count; optional: attempt (the student's
wrong answer), written (problems that are there already, as `shown` writes them)."""
