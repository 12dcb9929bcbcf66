"""Several samples of one problem: pass@k, and how much less they say than as many problems would. Pure functions."""

import math
from collections.abc import Collection, Mapping, Sequence

Groups = Mapping[str, Sequence[float]]
"""Problem id -> scores of its samples, in [0, 1]."""


def pass_at(samples: int, right: int, k: int) -> float:
    """Return the chance that one of k samples is right: the unbiased estimator from n samples, c of them right.

    1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374, section 2.1).

    Raises:
        ValueError: there are fewer than k samples, or a count is impossible.
    """
    if not 1 <= k <= samples or not 0 <= right <= samples:
        raise ValueError(f"pass@{k} cannot be told from {samples} samples, {right} of them right")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def passes(groups: Groups) -> dict[int, float]:
    """Return k -> pass@k for k = 1, 2, 4, ... and the most that every problem has samples for; the mean over problems.

    A score of 1 counts as right. Empty where no problem has two samples.
    """
    most = min((len(scores) for scores in groups.values()), default=0)
    if most < 2:
        return {}
    ks = sorted({*(2**power for power in range(most.bit_length())), most})
    return {
        k: math.fsum(pass_at(len(s), sum(x >= 1.0 for x in s), k) for s in groups.values()) / len(groups) for k in ks
    }


def correlation(skills: Collection[Groups]) -> float:
    """Return how alike the scores of one problem are, in [0, 1]: the intraclass correlation, pooled over skills.

    The estimator from the analysis of variance (Donner 1986, "A review of inference procedures for the intraclass
    correlation coefficient in the one-way random effects model"), with each skill's problems about that skill's mean,
    since one skill has too few problems to tell it by. 0 where no problem has two samples; 1, the cautious end, where
    it cannot be told.
    """
    between = within = spread = size = 0.0
    between_freedom = within_freedom = 0
    for groups in skills:
        sizes = [len(scores) for scores in groups.values() if scores]
        count = sum(sizes)
        if len(sizes) < 2 or count == len(sizes):
            continue
        mean = math.fsum(math.fsum(scores) for scores in groups.values()) / count
        for scores in groups.values():
            own = math.fsum(scores) / len(scores)
            between += len(scores) * (own - mean) ** 2
            within += math.fsum((score - own) ** 2 for score in scores)
        between_freedom += len(sizes) - 1
        within_freedom += count - len(sizes)
        size += count - sum(one * one for one in sizes) / count
    if not within_freedom:
        return 0.0 if all(len(scores) < 2 for groups in skills for scores in groups.values()) else 1.0
    between, within = between / between_freedom, within / within_freedom
    spread = between + (size / between_freedom - 1) * within
    return min(1.0, max(0.0, (between - within) / spread)) if spread > 0 else 1.0


def design_effect(groups: Groups, correlated: float) -> float:
    """Return by how much a mean's variance exceeds that of as many independent samples; at least 1 (Kish 1965).

    1 + (m - 1) * correlation, with m the size of the problem that a random sample belongs to.
    """
    count = sum(map(len, groups.values()))
    if not count:
        return 1.0
    size = sum(len(scores) ** 2 for scores in groups.values()) / count
    return 1.0 + (size - 1.0) * correlated
