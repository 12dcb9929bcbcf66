"""The task's port. A task is a module of this folder, named by its module, or `package.module:Name`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from lessons.graders.base import Grader
from lessons.records import Message, Problem
from lessons.skills import SkillCatalog


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A task's problems, split once and then frozen in the run folder. No two parts share a problem."""

    train: tuple[Problem, ...]
    """The student is examined on these to find its gaps."""
    held_out: tuple[Problem, ...]
    """The exam that is reported. Nothing is ever learned, chosen or tuned on it."""
    pool: tuple[Problem, ...] = ()
    """What lessons may be taken from; empty: the train problems."""
    warm_up: tuple[Problem, ...] = ()
    """Taught to the student before round 1, by their reference answers."""
    gate: tuple[Problem, ...] = ()
    """What decides whether a round's student is kept; empty: the held-out problems."""
    final: tuple[Problem, ...] = ()
    """Examined once, when the run is over, so that nothing was chosen on it; empty: there is no final exam."""


class Task(Protocol):
    """What is to be learned: problems, their grader, the closed list of skills. Its fields are its knobs."""

    @property
    def grader(self) -> Grader:
        """What grades attempts and compares answers."""
        ...

    @property
    def instruction(self) -> str:
        """The system message that the student gets with every problem; "" for none."""
        ...

    def split(self, seed: int) -> Split:
        """Return the problems; the same seed gives the same split on every machine.

        Raises:
            InputError: the data is not there or not as it should be; names file, line and field.
        """
        ...

    def catalog(self, problems: Sequence[Problem]) -> SkillCatalog:
        """Return the closed list of skills of these problems; empty where skills are still to be found."""
        ...

    def reference(self, problem: Problem) -> str:
        """Return the completion that states the reference answer in this task's form, for lessons taken from data."""
        ...


def student_prompt(instruction: str, problem: Problem) -> tuple[Message, ...]:
    """Return the chat that a student is asked a problem with: the one place where exam and lesson prompts are made."""
    user = Message(role="user", content=problem.question)
    return (Message(role="system", content=instruction), user) if instruction else (user,)
