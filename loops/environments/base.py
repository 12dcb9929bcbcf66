"""The environment's port: a world in text. It says what is seen and what can be done; the student says what it does.

Text only, deterministic, and no input or output: the same problem and the same actions show the same, so an episode is
known by its actions alone and can be gone through again from a recorded attempt.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from lessons.records import Problem

Secret = tuple[str, ...]
"""Words that give something away where one sentence holds them all."""


class Seen(NamedTuple):
    """What the student is shown."""

    text: str
    """The observation."""
    actions: tuple[str, ...]
    """The candidates: what can be done now. Empty where the episode is over."""
    done: bool = False
    """Whether the episode is over."""
    score: float = 0.0
    """In [0, 1]; 1 is success."""


class Episode(Protocol):
    """One way through a problem, from its beginning."""

    @property
    def seen(self) -> Seen:
        """What is seen now."""
        ...

    def step(self, action: str) -> Seen:
        """Do something. What is no candidate changes nothing but counts as a step; that it did nothing is told."""
        ...


class Environment(Protocol):
    """Plays the problems of a task."""

    @property
    def steps(self) -> int:
        """Actions of an episode, at most; an episode that is not done by then has the score that it has reached."""
        ...

    def reset(self, problem: Problem) -> Episode:
        """Return a new episode. A problem's question is its first observation, as `shown` writes it.

        Raises:
            InputError: the problem is none of this environment's.
        """
        ...

    def facts(self, problem: Problem) -> Sequence[str]:
        """Return the privileged state, one fact each: from what anybody may know to what gives the solution away."""
        ...

    def hidden(self, problem: Problem, taken: Sequence[str]) -> Sequence[Secret]:
        """Return what the student cannot know yet after these actions: what a reason must not name."""
        ...

    def expert(self, problem: Problem) -> Sequence[str]:
        """Return the actions of an expert that knows everything; empty where there is none."""
        ...

    def next(self, problem: Problem, taken: Sequence[str]) -> Problem:
        """Return the problem of choosing the next action after these, which the task's grader can grade."""
        ...


@runtime_checkable
class EpisodicTask(Protocol):
    """A task (`loops/tasks/base.py`) whose problems are episodes: the student is examined over several turns, and the
    environment scores."""

    @property
    def environment(self) -> Environment:
        """What plays its problems."""
        ...


def shown(seen: Seen) -> str:
    """Return an observation with its candidates, as the student reads it."""
    return f"{seen.text}\nActions: {', '.join(seen.actions)}" if seen.actions else seen.text
