"""A vote among final answers: who agrees with whom, by the grader's own comparison."""

from collections.abc import Sequence

from lessons.errors import GradeError
from lessons.graders.base import Grader
from loops.filters.base import normal


def agree(one: str, other: str, grader: Grader) -> bool:
    """Whether two final answers are the same; by their words where the grader cannot tell."""
    try:
        return grader.same(one, other)
    except GradeError:
        return normal(one) == normal(other)


def camps(answers: Sequence[str | None], grader: Grader) -> list[list[int]]:  # [camp][places of its answers]
    """Return the places of answers that are the same, the largest camp first, of equals the one that came first.

    Each answer is compared with the first one of each camp. None stands for no answer, and is in no camp.
    """
    found: list[tuple[str, list[int]]] = []
    for place, answer in enumerate(answers):
        if answer is None:
            continue
        camp = next((members for first, members in found if agree(first, answer, grader)), None)
        if camp is None:
            found.append((answer, [place]))
        else:
            camp.append(place)
    return sorted((members for _, members in found), key=lambda members: (-len(members), members[0]))
