"""The stage `diagnose`: rewards of steps where they are asked for, then the diagnosis, then what it came to."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lessons.records import Attempt
from lessons.tally import of_form_alone
from loops.asking import run_async
from loops.diagnosis import difficulty
from loops.diagnosis.attempts import (
    Way,
    by_needed,
    by_teacher,
    right_ones,
    with_confused,
    with_form_as_skills,
    without_asking,
)
from loops.diagnosis.verdicts import Verdicts
from loops.work import Work


def diagnosed(work: Work, index: int, folder: Path, counts: Counter[str]) -> list[Attempt]:
    """Return the round's attempts with their diagnoses; what was found goes into `counts`.

    Raises:
        InputError: the scorer's rewards are no rewards.
        TutelageError: the scorer or the teacher cannot go on.
    """
    settings = work.recipe.diagnose
    attempts = work.read(index, "answers.jsonl", Attempt)
    if settings.difficult is not None:
        work.make_room("idle")  # a scorer brings a model or a teacher of its own
        with work.listener.bar("rewards", len(attempts)) as progress:
            rewards = run_async(difficulty.rewards_of(attempts, settings.difficult, folder, progress))
        attempts = difficulty.with_rewards(attempts, rewards, settings.difficult)
        counts.update(difficulty.counted(attempts))
    if settings.by != "teacher":
        found = [without_asking(attempt, settings.form) or by_needed(attempt) for attempt in attempts]
        if settings.by == "confused":
            found = [with_confused(attempt, work.catalog.names) for attempt in found]
    else:
        check = right_ones(attempts, settings.check_right, work.rng(index, "diagnose"))
        way = Way(privileged=settings.privileged, form=settings.form, check=check)
        notes: Counter[str] = Counter()
        found = work.asking(
            "diagnose",
            counts,
            lambda caller: by_teacher(attempts, caller, work.catalog, notes, way),
            prefix="diagnose",
        )
        counts.update({f"diagnose/{note}": count for note, count in notes.items()})
    counts.update(_kinds(found))
    counts["diagnose/form alone"] = sum(map(of_form_alone, found))
    taken = with_form_as_skills(found)
    counts["diagnose/form taken for skills"] = counts["diagnose/form alone"] - sum(map(of_form_alone, taken))
    counts["diagnose/failures"] = sum(attempt.failed for attempt in taken)
    counts["diagnose/missed"] = sum(attempt.missed for attempt in taken)
    counts.update(Verdicts.of(taken).counts() if settings.by == "teacher" else {})
    return taken


def _kinds(attempts: Sequence[Attempt]) -> dict[str, int]:
    """Return how many of the missed attempts went wrong in each way, as `error/KIND`."""
    kinds = Counter((a.diagnosis.error if a.diagnosis else None) or "not told" for a in attempts if a.missed)
    return {f"error/{kind}": count for kind, count in kinds.items()}
