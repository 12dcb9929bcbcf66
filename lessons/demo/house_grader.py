"""Grades what is done in the house: the actions that a text names are taken, and where they lead is looked at."""

from dataclasses import dataclass
from typing import Any, cast

import msgspec

from lessons.demo.house import House, after, after_all, way
from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.numbers import NO_ANSWER
from lessons.records import Problem
from lessons.steps import actions_of


def house_of(problem: Problem) -> tuple[House, tuple[str, ...]]:
    """Return the house of a problem, and the actions that were taken before it begins.

    Raises:
        GradeError: the problem is none of the house's.
    """
    try:
        house = House.of(problem.data.get("house"))
    except msgspec.ValidationError as error:
        raise GradeError(f"problem {problem.id} has no house to act in ({error})") from error
    taken: Any = problem.data.get("taken", ())
    return house, tuple(str(action) for action in cast(list[Any], taken))


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseGrader:
    """A text is right where its actions ("Action: go hall", one a line) lead to the goal; for a problem that asks for
    the next action alone, where its first one is on a shortest way to it."""

    def grade(self, problem: Problem, text: str) -> Grade:
        """Grade one text: 1 or 0.

        Raises:
            GradeError: the problem is none of the house's.
        """
        house, taken = house_of(problem)
        named = actions_of(text)
        if not named:
            return Grade(0.0, None, NO_ANSWER)
        state = after_all(house, taken)
        if "taken" in problem.data:
            before, then = way(house, state), way(house, after(house, state, named[0]))
            shorter = before is not None and then is not None and len(then) < len(before)
            return Grade(float(shorter), named[0], "" if shorter else "not on a shortest way")
        for action in named:
            state = after(house, state, action)
            if state.room == house.goal:
                return Grade(1.0, named[-1])
        return Grade(0.0, named[-1], "not at the goal")

    def read(self, text: str) -> str | None:
        """Return the last action that the text names, or None."""
        named = actions_of(text)
        return named[-1] if named else None

    def same(self, one: str, other: str) -> bool:
        """Whether two actions are the same, but for case and spaces."""
        return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()
