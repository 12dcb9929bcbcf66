"""The student answers in this process, on transformers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from students.base import Student

if TYPE_CHECKING:
    from loops.placing.card import Card

__all__ = ["Transformers"]


@dataclass(frozen=True, kw_only=True)
class Transformers:
    """In this process, on transformers: nothing to set up, on a CPU or a GPU."""

    def card(self, say: Callable[[str], object], folder: Path) -> "Card":
        """Return a card on which what answers and what scores are the same weights."""
        from loops.placing.card import Card
        from loops.placing.tenants import HERE, TRAINING, WeightsHere, reap

        card = Card(say, lambda: reap(say), same={"scoring": "student"})
        card.add(HERE, "student", WeightsHere(), always=True)
        card.add(TRAINING, "training", WeightsHere(), always=True)
        return card

    def student(self, weights: Student, card: "Card") -> Student:
        """Return the student as it is."""
        return weights
