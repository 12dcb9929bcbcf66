"""Principles as the keys of a profile: which wrong answer violates which, merged into one list (TPD, 2401.13849)."""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from lessons.memory import numbered
from lessons.records import Attempt
from loops.filters.base import normal
from loops.insisting import insist
from loops.round import Round
from loops.together import together
from teachers.prompts.merged_principles import MERGED_PRINCIPLES
from teachers.prompts.principles import PRINCIPLES

BATCH = 100
"""Principles in one request to merge. Our own bound."""
NONE_YET = "(none yet)"

Tags = list[tuple[str, ...]]
"""[wrong answer] the principles that it violates."""


class Tagged(NamedTuple):
    """Wrong answers and the principles that they violate, in the merged list's words."""

    tags: Tags
    known: list[str]
    """The principles that were known, in their order, whether any answer violates them or not."""
    new: list[str]
    """The others, those that most answers violate first; ties by first sight."""


async def tagged(round_: Round, wrong: Sequence[Attempt], known: Sequence[str]) -> Tagged:
    """Ask which principles each wrong answer violates, those known and new ones, and let the list of all be merged."""
    listed = numbered(known) or NONE_YET
    told = await together(
        round_.ask(
            PRINCIPLES,
            question=a.problem.question,
            reference=a.problem.solution or a.problem.answer or "",
            attempt=a.text,
            principles=listed,
        )
        for a in wrong
    )
    spelled = {normal(principle): principle for principle in known}
    tags: Tags = []
    for replies in told:
        named = [
            principle
            for said in replies
            for principle in (*(known[n - 1] for n in said.value.violated if 1 <= n <= len(known)), *said.value.new)
        ]
        tags.append(tuple(dict.fromkeys(spelled.setdefault(normal(one), one) for one in named)))
    merged = await merge(round_, list(spelled.values()))
    tags = [tuple(dict.fromkeys(merged[one] for one in row)) for row in tags]
    often = Counter(principle for row in tags for principle in row)
    kept = list(dict.fromkeys(merged[spelled[normal(one)]] for one in known))
    new = [principle for principle, _ in often.most_common() if principle not in kept]
    return Tagged(tags, kept, new)


async def merge(round_: Round, principles: Sequence[str]) -> dict[str, str]:
    """Let the teacher merge principles that say the same; return each one's place in the merged list.

    What it does not name stays as it is; so does all where its reply cannot be read, which is counted.
    """
    stands = {principle: principle for principle in principles}
    kept: list[str] = []
    for start in range(0, len(principles), BATCH):
        listed = [*kept, *principles[start : start + BATCH]]
        said = await insist(round_, MERGED_PRINCIPLES, principles=numbered(listed)) if len(listed) > 1 else None
        if said is None:
            round_.counts["principles not merged"] += len(listed) * (len(listed) > 1)
            kept = listed
            continue
        new = {
            listed[n - 1]: one.principle
            for one in said.value.principles
            for n in one.stands_for
            if 0 < n <= len(listed)
        }
        stands = {old: new.get(now, now) for old, now in stands.items()}
        kept = list(dict.fromkeys(new.get(one, one) for one in listed))
    return stands


def by_violations(tags: Tags) -> list[int]:
    """Return the places of the wrong answers, first those whose principles were violated most often in all.

    An answer counts the violations of each principle that it violates; ties stay in order.
    """
    often = Counter(principle for row in tags for principle in row)
    return sorted(range(len(tags)), key=lambda place: (-sum(often[one] for one in tags[place]), place))
