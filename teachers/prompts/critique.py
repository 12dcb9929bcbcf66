"""Ask what is right or wrong in a student's solution: Critique Fine-Tuning (arXiv 2501.17703, section 2)."""

from typing import Literal, NamedTuple

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.base import Prompt
from teachers.prompts.reading import bare, labelled, one_of, unwrapped, verdict_of

SYSTEM = (
    "You check a student's solution of a problem. Work the problem out for yourself, compare, and say briefly in "
    "plain text which step is wrong and what is right there, or why the solution is right. At most 80 words. Reply "
    "with 'Check:' and these sentences, then a last line: 'Conclusion: right' or 'Conclusion: wrong'."
)

USER = """
<question>
{{ question }}
</question>
<attempt>
{{ attempt }}
</attempt>
Reply in exactly this form, with a conclusion of one word, right or wrong:
Check: what is right or wrong in the attempt
Conclusion: right or wrong
"""
_ECHO = "what is right or wrong in the attempt"


class Critique(NamedTuple):
    """A judged solution."""

    text: str
    """The criticism, then one plain last line `Conclusion: right` or `Conclusion: wrong`."""
    verdict: Literal["right", "wrong"]


def parse(text: str) -> Critique:
    """Return the critique.

    Raises:
        ParseError: the last line is no conclusion, or nothing is said before it.
    """
    body, _, last = unwrapped(text).rstrip("*_`#> \t\r\n").rpartition("\n")
    verdict = verdict_of(
        one_of(labelled(last, ("conclusion", "final conclusion")), "conclusion", "final conclusion") or ""
    )
    if verdict is None:
        raise ParseError("the reply does not end in a line 'Conclusion: right' or 'Conclusion: wrong'")
    criticism = bare(body)
    head, colon, rest = criticism.partition(":")
    if colon and bare(head).lower() == "check":
        criticism = bare(rest)
    if not any(sign.isalnum() for sign in criticism) or criticism == _ECHO:
        raise ParseError("the reply is a bare conclusion, without the criticism that was asked for")
    return Critique(f"{criticism}\nConclusion: {verdict}", verdict)


CRITIQUE = Prompt(
    name="critique",
    system=SYSTEM,
    user=USER,
    parse=parse,
    # 0.3 and 0.95 as in the paper; its 3,200 tokens are for competition problems, a brief critique needs fewer.
    sampling=Sampling(max_tokens=768, temperature=0.3, top_p=0.95),
)
"""Fields: question, attempt (the student's solution). The reference answer is never shown, as in the paper."""
