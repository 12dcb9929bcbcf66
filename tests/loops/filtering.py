"""What the tests of filters share."""

from collections.abc import Sequence
from typing import Any

from lessons.graders.exact import ExactGrader
from lessons.records import Lesson, Problem, Provenance
from loops.filters.base import Context, Filter, apply

CONTEXT = Context(grader=ExactGrader())


def lesson(question: str, completion: str = "It is so.\nAnswer: 4", answer: str | None = "4", **more: Any) -> Lesson:
    of_problem = {name: more.pop(name) for name in ("solution", "choices", "parent") if name in more}
    seed = more.pop("seed", None)
    return Lesson(
        prompt=more.pop("prompt", ({"role": "user", "content": question},)),
        completion=completion,
        problem=Problem(question=question, answer=answer, **of_problem),
        provenance=Provenance(method=more.pop("method", "m"), round=1, seed=seed),
        **more,
    )


def reasons(judge: Filter, lessons: Sequence[Lesson], context: Context = CONTEXT) -> list[str]:
    """What became of each lesson: "kept", or the reason of its drop."""
    kept, dropped = apply("f", judge, lessons, context)
    of = {id(drop.lesson): drop.check.reason for drop in dropped}
    assert len(kept) + len(dropped) == len(lessons)
    return [of.get(id(one), "kept") for one in lessons]
