"""What a round's attempts say of each skill, counted. Whoever names skills may err, and so may a problem's labels."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from lessons.records import FORM_ERRORS, Attempt

CONTESTED = 0.5
"""What a missed attempt counts, in [0, 1], for each skill that its diagnosis names where the problem's labels have none
of them; the rest of 1 counts for each skill of the labels. One of the two is wrong, and nothing in the attempt tells
which: half each is our choice, and `scripts/simulate_profiles.py` measures it beside believing either."""


@dataclass(slots=True)
class Tally:
    """The counts of one skill. It grows while attempts are counted."""

    right: int = 0
    failures: int = 0
    missing: int = 0
    formless: int = 0
    lacking: float = 0.0
    trials: float = 0.0
    scores: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """Problem id -> scores of its graded samples."""


def of_form_alone(attempt: Attempt) -> bool:
    """Whether a missed attempt's failure says nothing about a skill: no answer to read, and no skill named."""
    error = attempt.diagnosis.error if attempt.diagnosis else None
    return attempt.missed and not attempt.missing and error in FORM_ERRORS


def tallies(attempts: Iterable[Attempt], skills: Sequence[str] = (), contested: float = CONTESTED) -> dict[str, Tally]:
    """Count attempts per skill; `skills` are listed first, also those that no attempt needs.

    `lacking` and `trials` weigh two witnesses, the diagnosis and the labels of the problem. Where a missed attempt's
    diagnosis names skills that the problem is labelled with, and perhaps others, each named skill was lacking. Where it
    names only others, one of the two is wrong: each skill that it names counts `contested`, each skill of the labels
    the rest of 1. An attempt is a trial of each skill that its problem is labelled with, unless it failed in form
    alone, and of any other as far as that was lacking.
    """
    found = {name: Tally() for name in skills}
    for attempt in attempts:
        if attempt.graded:
            _grade(found, attempt)
        if not attempt.graded and attempt.difficult is None:
            continue
        needed, named = set(attempt.problem.skills), set(attempt.missing if attempt.missed else ())
        parted = bool(needed and named) and not needed & named
        if not of_form_alone(attempt):
            for skill in sorted(needed):
                found.setdefault(skill, Tally()).trials += 1.0
        for skill in sorted(named):
            worth = contested if parted else 1.0
            one = found.setdefault(skill, Tally())
            one.missing += 1
            one.lacking += worth
            one.trials += 0.0 if skill in needed else worth
        for skill in needed if parted else ():
            found[skill].lacking += 1 - contested
    return found


def _grade(found: dict[str, Tally], attempt: Attempt) -> None:
    for skill in dict.fromkeys(attempt.problem.skills):
        one = found.setdefault(skill, Tally())
        one.right += attempt.right
        one.failures += attempt.failed
        one.formless += attempt.failed and of_form_alone(attempt)
        one.scores.setdefault(attempt.problem.id, []).append(attempt.score or 0.0)
