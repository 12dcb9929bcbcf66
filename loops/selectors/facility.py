"""The few lessons that stand for all: facility location over how alike they are, or how they help each other."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Literal

from lessons.errors import StudentError
from lessons.records import Lesson, Message
from loops.scores import Score, Text
from loops.selectors.base import Budgeted, Choice, part_of, texts_of
from loops.selectors.submodular import coverage, facility_location
from loops.vectors import nearest, space

__all__ = ["Facility"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facility(Budgeted):
    """Keeps the fraction that covers all candidates best, chosen greedily; of near copies it takes one.

    Each candidate is compared with its `neighbours` nearest ones alone, so that memory grows with their number and not
    with its square; with as many neighbours as candidates nothing is left out.
    """

    paper: ClassVar[str] = "arXiv:2411.04425"
    fraction: float = 0.3
    """Part of the candidates that is kept, in (0, 1]: 0.3 in the paper."""
    similarity: Literal["words", "delift"] = "words"
    """What a lesson does for another one. "words": how alike the texts are. "delift": as in the paper, by how much the
    student finds the other's completion likelier after this lesson as a worked example, d = ||1 - p|| / sqrt(T) over
    its tokens' probabilities, less d with it, scaled to [0, 1] over all pairs; asks the student for a score for each
    pair of neighbours (the paper: for every pair)."""
    neighbours: int = 32
    """Nearest candidates by words that each is compared with, at least 1. Our own."""
    embedder: str = ""
    """What tells which texts are near: "" the words in them; else a folder of a sentence model, or `wheel:NAME`."""
    of: Literal["question", "whole"] = "whole"
    """Which texts are compared: the problems' questions, or questions and completions."""
    beside: bool = False
    """Whether what the kept lessons of earlier rounds cover counts as covered already, so that new ground comes first
    (the paper's conditional gain). By "words" alone."""

    def __post_init__(self) -> None:
        Budgeted.__post_init__(self)
        if not 0 < self.fraction <= 1 or self.neighbours < 1:
            raise ValueError("fraction must be in (0, 1], neighbours at least 1")
        if self.beside and self.similarity != "words":
            raise ValueError("beside goes with similarity: words")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> list[Lesson]:
        """Take those that cover most, the first one most.

        Raises:
            InputError: there is no such embedder; for "delift": there is no student.
            StudentError: for "delift": the student can take none of the pairs.
        """
        ordered = sorted(candidates, key=lambda lesson: lesson.id)
        texts = [self._text(lesson) for lesson in ordered]
        made = space(self.embedder, texts)
        vectors = made.vectors(texts)
        near = with_self(nearest(vectors, vectors, self.neighbours))
        covered = None
        if self.beside and choice.earlier:
            covered = coverage(nearest(vectors, made.vectors([self._text(lesson) for lesson in choice.earlier]), 1))
        if self.similarity == "delift":
            near = self._helped(ordered, near, choice)
        count = part_of(self.fraction, len(ordered), budget)
        places = facility_location(near, count, [lesson.id for lesson in ordered], covered)
        return [ordered[place] for place in places]

    def _text(self, lesson: Lesson) -> str:
        return lesson.problem.question if self.of == "question" else f"{lesson.problem.question}\n{lesson.completion}"

    def _helped(self, lessons: Sequence[Lesson], near: Any, choice: Choice) -> Any:
        """Return the utilities of the pairs in `near`, [helped][helping], scaled to [0, 1]."""
        import numpy as np

        scores = choice.asked("select: facility with similarity: delift")
        alone = [_distance(one) for one in scores.each(texts_of(lessons))]
        helped = np.repeat(np.arange(near.shape[0]), np.diff(near.indptr))
        after = scores.each(_pairs(lessons, near))
        utility = np.array([alone[i] - _distance(one) for i, one in zip(helped, after, strict=True)])
        known = np.isfinite(utility)
        if not known.any():
            raise StudentError("select: facility: the student can take no lesson with another one as an example")
        low, high = utility[known].min(), utility[known].max()
        scaled = (utility - low) / (high - low) if high > low else np.ones_like(utility)
        found = near.copy()
        found.data = np.where(known, scaled, 0.0)
        return found


def with_self(near: Any) -> Any:
    """Return neighbours made mutual, each candidate its own nearest: a symmetric CSR matrix."""
    from scipy.sparse import identity

    whole = near.maximum(near.T).maximum(identity(near.shape[0], format="csr")).tocsr()
    whole.sort_indices()
    return whole


def _pairs(lessons: Sequence[Lesson], near: Any) -> Iterator[Text]:
    for helped, (start, end) in enumerate(pairwise(near.indptr)):
        for helping in near.indices[start:end]:
            yield after_example(lessons[helped], lessons[int(helping)]), lessons[helped].completion


def after_example(lesson: Lesson, example: Lesson) -> tuple[Message, ...]:
    """Return a lesson's prompt with another lesson as a worked example before its question, after its system turn."""
    system = tuple(turn for turn in lesson.prompt if turn["role"] == "system")
    shown = tuple(turn for turn in example.prompt if turn["role"] != "system")
    answer = Message(role="assistant", content=example.completion)
    return (*system, *shown, answer, *(turn for turn in lesson.prompt if turn["role"] != "system"))


def _distance(score: Score | StudentError) -> float:
    return math.nan if isinstance(score, StudentError) else score.distance
