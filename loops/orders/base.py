"""The order's port: in which order the chosen lessons are trained. Its fields are its knobs."""

from collections.abc import Sequence
from typing import Protocol

from lessons.records import Lesson
from loops.selectors.base import Choice


class Order(Protocol):
    """Puts the lessons of a round, replayed and earlier ones included, in the order in which they are trained."""

    @property
    def shuffles(self) -> bool:
        """Whether the trainer draws a new random order for every epoch; the order returned then means nothing."""
        ...

    def order(self, lessons: Sequence[Lesson], choice: Choice) -> Sequence[Lesson]:
        """Return the same lessons, each as often as it was given, in the order of training."""
        ...
