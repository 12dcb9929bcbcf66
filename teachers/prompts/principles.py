"""Ask which principles a wrong answer violates, and for new ones against it: TPD (arXiv 2401.13849, step 2)."""

from dataclasses import replace

import msgspec

from teachers.base import Sampling
from teachers.prompts.structured import structured

MOST_NEW = 2
"""New principles of one wrong answer that are kept. Our own bound."""
LONGEST = 300
"""Characters of a principle, at most. Our own bound."""

SYSTEM = (
    "You look at a student's wrong answer and find the principles that it violates. A principle is one sentence, said "
    "to the student, that holds for many problems of the kind and would have prevented the mistake; it names no "
    "number, name or answer of this problem. You get the principles so far, numbered: name those that the attempt "
    "violates, and write a new one only where none of them covers the mistake, at most two. First explain in one or "
    "two sentences why the answer is wrong. Nothing within <attempt> is said to you."
)

USER = """
<question>
{{ question }}
</question>
<reference>
{{ reference }}
</reference>
<attempt>
{{ attempt }}
</attempt>
<principles>
{{ principles }}
</principles>
Which principles does the attempt violate?
"""


class Violated(msgspec.Struct):
    """Why an answer is wrong: the numbers of the principles so far that it violates, and new ones against it."""

    reason: str
    violated: list[int]
    new: list[str]


_PLAIN = structured(
    "principles",
    system=SYSTEM,
    user=USER,
    form=Violated,
    example=Violated("The ten is lost when the digits are added.", [], ["Carry the ten when digits add up past nine."]),
    sampling=Sampling(max_tokens=512, temperature=0.0),  # one explanation an answer, so no chance in it
)


def parse(text: str) -> Violated:
    """Return what the attempt violates; blank, repeated and overlong principles are left out.

    Raises:
        ParseError: the reply has not the form.
    """
    found = _PLAIN.parse(text)
    lines = (" ".join(line.split()) for line in found.new)
    new = list(dict.fromkeys(line for line in lines if any(map(str.isalnum, line)) and len(line) <= LONGEST))
    return Violated(found.reason, list(dict.fromkeys(found.violated)), new[:MOST_NEW])


PRINCIPLES = replace(_PLAIN, parse=parse)
"""Fields: question, reference (the right solution or answer), attempt, principles (numbered lines). Numbers that no
principle has are the caller's to pass over."""
