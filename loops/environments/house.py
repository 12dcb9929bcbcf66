"""The house as an environment: find a room, and where its door is locked, the key first (`lessons/demo/house.py`)."""

from collections.abc import Sequence
from dataclasses import dataclass

from lessons.demo.house import NOTHING, House, State, actions, after, beginning, facts, seen, way
from lessons.demo.house_grader import house_of
from lessons.demo.house_search import knowing
from lessons.errors import GradeError, InputError
from lessons.records import Problem
from loops.environments.base import Secret, Seen, shown


class HouseEpisode:
    """One way through a house."""

    def __init__(self, house: House, taken: Sequence[str] = ()) -> None:
        self._house = house
        self._state: State = beginning(house)
        self.told = [seen(house, self._state)]
        """Every observation so far."""
        for action in taken:
            self.step(action)

    @property
    def seen(self) -> Seen:
        """What is seen now."""
        if self._state.room == self._house.goal:
            return Seen(self.told[-1], (), done=True, score=1.0)
        return Seen(self.told[-1], actions(self._house, self._state))

    @property
    def state(self) -> State:
        """How things stand."""
        return self._state

    def step(self, action: str) -> Seen:
        """Do something; what is no candidate changes nothing, and that is told."""
        then = after(self._house, self._state, action)
        text = seen(self._house, then)
        self.told.append(f"{NOTHING} {text}" if then == self._state else text)
        self._state = then
        return self.seen


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseEnvironment:
    """Plays houses. Success is to be in the goal room."""

    steps: int = 8
    """Actions of an episode, at most."""

    def reset(self, problem: Problem) -> HouseEpisode:
        """Return a new episode, which begins after what was done before the problem, where it says that.

        Raises:
            InputError: the problem has no house.
        """
        return HouseEpisode(*_house_of(problem))

    def facts(self, problem: Problem) -> tuple[str, ...]:
        """Return the whole plan, where the key lies, and a shortest way."""
        return facts(_house_of(problem)[0])

    def hidden(self, problem: Problem, taken: Sequence[str]) -> tuple[Secret, ...]:
        """Return the rooms and containers that were not seen yet, and that the key lies where it was not seen yet."""
        house, before = _house_of(problem)
        episode = HouseEpisode(house, (*before, *taken))
        told = set(" ".join(episode.told).replace(",", " ").replace(".", " ").split())
        names = (*house.rooms, *(name for name, _ in house.containers))
        secrets: list[Secret] = [(name,) for name in names if name not in told]
        if house.key and house.key not in episode.state.opened:
            secrets.append(("key", house.key))
        return tuple(secrets)

    def expert(self, problem: Problem) -> tuple[str, ...]:
        """Return a shortest way."""
        house, taken = _house_of(problem)
        return way(house, HouseEpisode(house, taken).state) or ()

    def next(self, problem: Problem, taken: Sequence[str]) -> Problem:
        """Return the problem of the next action."""
        house, before = _house_of(problem)
        every = (*before, *taken)
        best = knowing(house, every)
        return Problem(
            question=shown(HouseEpisode(house, every).seen),
            answer=best.action if best else None,
            skills=problem.skills,
            source=f"step {len(every) + 1} of {problem.source}",
            parent=problem.id,
            data={"house": problem.data["house"], "taken": list(every)},
        )


def _house_of(problem: Problem) -> tuple[House, tuple[str, ...]]:
    try:
        return house_of(problem)
    except GradeError as error:
        raise InputError(f"the environment of the task `house` cannot play this: {error}") from error
