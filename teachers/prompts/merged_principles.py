"""Ask to merge principles that say the same: TPD's one list out of many errors (arXiv 2401.13849, step 2)."""

from dataclasses import replace

import msgspec

from lessons.errors import ParseError
from teachers.base import Sampling
from teachers.prompts.principles import LONGEST
from teachers.prompts.structured import structured

SYSTEM = (
    "You put principles for a student in order. You get numbered principles, some of which say the same in other "
    "words. Merge those into one sentence each, and leave the others as they are; do not merge what prevents "
    "different mistakes. For each principle of the new list give the numbers of all old ones that it stands for. "
    "Every old number stands exactly once."
)

USER = """
<principles>
{{ principles }}
</principles>
Write the merged list.
"""


class Merged(msgspec.Struct):
    """One principle of the new list, and the numbers of the old ones that it stands for."""

    principle: str
    stands_for: list[int]


class MergedList(msgspec.Struct):
    """The new list."""

    principles: list[Merged]


_PLAIN = structured(
    "merged_principles",
    system=SYSTEM,
    user=USER,
    form=MergedList,
    example=MergedList([Merged("Carry the ten when digits add up past nine.", [1, 2])]),
    sampling=Sampling(max_tokens=4096, temperature=0.0),  # one list, so no chance in it
)


def parse(text: str) -> MergedList:
    """Return the new list; an old number that stands twice belongs to the first.

    Raises:
        ParseError: the reply has not the form, or no principle that stands for any.
    """
    kept: list[Merged] = []
    taken: set[int] = set()
    for one in _PLAIN.parse(text).principles:
        principle = " ".join(one.principle.split())
        numbers = [number for number in dict.fromkeys(one.stands_for) if number not in taken]
        if any(map(str.isalnum, principle)) and len(principle) <= LONGEST and numbers:
            kept.append(Merged(principle, numbers))
            taken.update(numbers)
    if not kept:
        raise ParseError("the reply has no principle that stands for an old one")
    return MergedList(kept)


MERGED_PRINCIPLES = replace(_PLAIN, parse=parse)
"""Field: principles (numbered lines). Numbers that no principle has are the caller's to pass over."""
