"""The answering engine's port. A module of this folder, or `package.module:Name`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from students.base import Student

if TYPE_CHECKING:
    from loops.placing.card import Card


class AnsweringEngine(Protocol):
    """What the student answers through; its fields are its knobs. Learning and scoring stay in this process's hands."""

    def card(self, say: Callable[[str], object], folder: Path) -> "Card":
        """Return the card of a run, with the student's tenants on it.

        say: told a line when something went wrong, with what is done about it. folder: of the run; what is written
        there is gone when the engine ends.
        """
        ...

    def student(self, weights: Student, card: "Card") -> Student:
        """Return the student that answers through this engine.

        weights: the student in this process.
        """
        ...
