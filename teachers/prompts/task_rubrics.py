"""Ask to group questions by kind, and for what makes an answer to each kind good: CITING (arXiv 2310.02527, step 1)."""

from dataclasses import replace

import msgspec

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.structured import structured

MOST_CRITERIA = 8
"""Criteria of one rubric that are kept. Our own bound: a small student is to heed each of them."""

SYSTEM = (
    "You write rubrics for a teacher. You get numbered questions. Group those that ask for the same kind of work, in "
    "as few groups as make sense. For each group write what separates a good answer from a bad one: three to five "
    "criteria, each one short sentence that can be checked on an answer alone, and that holds for every question of "
    "the group. Do not answer the questions, and do not write of any one of them."
)

USER = """
<questions>
{{ questions }}
</questions>
Put every question into exactly one group, by its number.
"""


class Kind(msgspec.Struct):
    """One group: its name, the numbers of its questions, the criteria."""

    name: str
    questions: list[int]
    criteria: list[str]


class Kinds(msgspec.Struct):
    """The groups."""

    groups: list[Kind]


def checked(found: Kinds) -> Kinds:
    """Return the groups that have criteria, blanks and repetitions left out.

    Raises:
        ParseError: none has any.
    """
    kinds: list[Kind] = []
    for kind in found.groups:
        criteria = list(dict.fromkeys(text for line in kind.criteria if (text := " ".join(line.split()))))
        if criteria:
            name = " ".join(kind.name.split()) or f"kind {len(kinds) + 1}"
            kinds.append(Kind(name, list(dict.fromkeys(kind.questions)), criteria[:MOST_CRITERIA]))
    if not kinds:
        raise ParseError("the reply has no group with a criterion")
    return Kinds(kinds)


_EXAMPLE = Kinds(
    [
        Kind(
            "stories with numbers",
            [1],
            [
                "Every number of the question that matters is used.",
                "Each calculation is written out and right.",
                "The last line states the final answer.",
            ],
        )
    ]
)
_PLAIN = structured(
    "task_rubrics",
    system=SYSTEM,
    user=USER,
    form=Kinds,
    example=_EXAMPLE,
    sampling=Sampling(max_tokens=2048, temperature=0.0),  # written once, so no chance in it
)


def parse(text: str) -> Kinds:
    """Return the groups.

    Raises:
        ParseError: the reply has not the form, or no group with a criterion.
    """
    return checked(_PLAIN.parse(text))


TASK_RUBRICS = replace(_PLAIN, parse=parse)
"""Field: questions (one numbered line each). Numbers that no question has are the caller's to pass over."""
