"""Ask what is right or wrong in a student's solution: Critique Fine-Tuning (arXiv 2501.17703, section 2)."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import bare, labelled, one_of, unwrapped, verdict_of

SYSTEM = (
    "You check a student's solution of a problem. Work the problem out for yourself, compare, and say briefly in "
    "plain text which step is wrong and what is right there, or why the solution is right. At most 80 words. The "
    "last line of your reply is 'Conclusion: right' or 'Conclusion: wrong'."
)

USER = """
<question>
{{ question }}
</question>
<attempt>
{{ attempt }}
</attempt>
Write your check of the attempt, then the last line with 'Conclusion:' and one word, right or wrong.
"""


class Critique(NamedTuple):
    """A judged solution."""

    text: str
    """The criticism, then one plain last line `Conclusion: right` or `Conclusion: wrong`."""
    verdict: Literal["right", "wrong"]


def parse(text: str) -> Critique:
    """Return the critique. The conclusion may stand in the first line instead of the last; it is moved to the end.

    Raises:
        ParseError: neither line is a conclusion, or both are, or nothing else is said.
    """
    lines = bare(unwrapped(text)).splitlines() or [""]
    first, last = _conclusion(lines[0]), _conclusion(lines[-1])
    verdict = last or first
    if verdict is None or (first and last and len(lines) > 1):
        raise ParseError("the reply does not end in a line 'Conclusion: right' or 'Conclusion: wrong'")
    criticism = bare("\n".join(lines[:-1] if last else lines[1:]))
    if not any(sign.isalnum() for sign in criticism):
        raise ParseError("the reply is a bare conclusion, without the criticism that was asked for")
    return Critique(f"{criticism}\nConclusion: {verdict}", verdict)


def _conclusion(line: str) -> Literal["right", "wrong"] | None:
    found = labelled(line, ("conclusion", "final conclusion"))
    return verdict_of(one_of(found, "conclusion", "final conclusion") or "")


def example(fields: Mapping[str, object], number: int) -> str:
    """Return a reply as it should be."""
    return (
        f"The first step is right: three boxes of four pens are twelve pens. The second step forgets the {number} pens "
        f"at home; it should add them, which gives {12 + number}.\nConclusion: wrong"
    )


CRITIQUE = Prompt(
    name="critique",
    system=SYSTEM,
    user=USER,
    parse=parse,
    example=example,
    # 0.3 and 0.95 as in the paper; its 3,200 tokens are for competition problems, a brief critique needs fewer.
    sampling=Sampling(max_tokens=768, temperature=0.3, top_p=0.95),
)
"""Fields: question, attempt (the student's solution). The reference answer is never shown, as in the paper."""
