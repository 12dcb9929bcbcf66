"""The method's port: one paper, one class. Its fields are the paper's knobs, `teach` is its algorithm box."""

from collections.abc import Sequence
from typing import ClassVar, Protocol

from lessons.records import Lesson
from loops.round import Round
from loops.together import WINDOW, together

__all__ = ["WINDOW", "Method", "together"]


class Method(Protocol):
    """What the teacher writes in a round."""

    paper: ClassVar[str]
    """Where the algorithm is from, for the index: an arXiv number, or a word on its origin."""

    async def teach(self, round: Round) -> Sequence[Lesson]:  # noqa: A002 - the design's word
        """Return the round's candidates; what the method itself drops goes through `round.keep`.

        A method that writes more lessons than memory should hold puts them into `round.written()`.
        """
        ...
