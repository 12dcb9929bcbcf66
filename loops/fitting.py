"""Whether the grader that a task names can do what the other parts of a recipe ask of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lessons.errors import InputError
from loops import plugins
from loops.filters.base import CheckedFilter
from loops.graders.base import ScoringGrader
from loops.knobs import operational_keys

if TYPE_CHECKING:
    from loops.recipe import Recipe

WHERE = "task.graded_by"
"""The key of a task that names its grader, for tasks that let the user choose one."""


def fitting_grader(
    task: Mapping[str, Any],
    method: Mapping[str, Any],
    filters: Sequence[Mapping[str, Any]],
    samples: int,
    folder: Path | None,
) -> list[str]:
    """Check the grader that the task names against the parts that need it; return its dotted operational keys.

    Args:
        task: id and knobs of the task.
        method: of the method.
        filters: of each filter.
        samples: answers to each train problem.
        folder: where modules of the user's own may lie.

    Raises:
        InputError: there is no such grader, or it cannot do what a part needs; names the key, and what would do.
    """
    if task.get("graded_by") is None:
        return []
    grader: Any = plugins.build("grader", task["graded_by"], where=WHERE, folder=folder)
    parts = [("method", "method", method), *((f"filters[{n}]", "filter", spec) for n, spec in enumerate(filters))]
    for key, family, spec in parts:
        cls = plugins.find(family, spec["id"], where=key, folder=folder)
        if getattr(cls, "compares", False) and not getattr(grader, "comparable", True):
            raise InputError(
                f"{key}: {spec['id']!r} counts how many solutions end in one answer, and the grader of {WHERE} cannot "
                "compare two answers: name one that reads a final answer (exact, math, choice), or leave this out"
            )
    if isinstance(grader, ScoringGrader) and samples > 1:
        raise InputError(f"examine.samples: the grader of {WHERE} chooses by probabilities, always the same: set 1")
    return operational_keys(grader, f"{WHERE}.")


def unverifiable(method: Mapping[str, Any], folder: Path | None) -> str:
    """Return why a method's lessons cannot be held against reference answers; "" where they can."""
    return getattr(plugins.find("method", method["id"], where="method.id", folder=folder), "unverifiable", "")


def check_method(method: Mapping[str, Any], filters: Sequence[Mapping[str, Any]], folder: Path | None) -> None:
    """Refuse the filter that would silently drop what a method is about.

    Raises:
        InputError: names the filter, and why it does not fit.
    """
    why = unverifiable(method, folder)
    for place, spec in enumerate(filters):
        if why and spec["id"] == "verified":
            raise InputError(
                f"filters[{place}]: 'verified' would drop the lessons of {method['id']!r} ({why}); leave it out"
            )


def check_filters(recipe: "Recipe") -> None:
    """Refuse to begin where a filter lacks what it needs of this machine, before anything is paid for.

    Raises:
        InputError: says which filter, and what is lacking.
    """
    for place, spec in enumerate(recipe.filters):
        judge = recipe.make("filter", spec, f"filters[{place}]")
        if isinstance(judge, CheckedFilter):
            try:
                judge.check()
            except InputError as error:
                raise InputError(f"filters[{place}]: {error}") from error
