"""The audit of a round: what it trains on, held against the exams."""

from pathlib import Path
from typing import cast

from lessons.jsonl import read_jsonl
from lessons.records import Dropped, Lesson
from loops.exams.contamination import audit
from loops.exams.embedding import Meaning
from loops.exams.records import Contamination
from loops.filters.contamination import Contamination as ContaminationFilter
from loops.store import write_record
from loops.work import Work


def audit_round(work: Work, index: int, folder: Path) -> Contamination:
    """Read the round's lessons.jsonl and dropped.jsonl -> contamination.json. Streams both."""
    found = audit(
        index,
        read_jsonl(folder / "lessons.jsonl", Lesson),
        work.exams,
        meaning=meaning_of(work),
        dropped=read_jsonl(folder / "dropped.jsonl", Dropped),
    )
    write_record(folder / "contamination.json", found)
    return found


def meaning_of(work: Work) -> Meaning | None:
    """Return how the recipe's `contamination` filter tells nearness in meaning; None where no model is named."""
    for place, spec in enumerate(work.recipe.filters):
        if spec["id"] == "contamination":
            judge = cast(ContaminationFilter, work.recipe.make("filter", spec, f"filters[{place}]"))
            if (meaning := judge.meaning(work.exams)) is not None:
                return meaning
    return None
