"""Partial pooling: what a skill's few attempts say, seen beside how all skills do (a beta-binomial hierarchy).

Model: a skill with gap g lacks in binomial(n, g) of its n attempts, and the gaps of all skills come from one
beta(mean * weight, (1 - mean) * weight). Nobody knows mean and weight, so they are not guessed but averaged over: each
pair of a grid counts by how well it explains all skills (Gelman et al. 2013, Bayesian Data Analysis, section 5.3). A
skill with 3 attempts is drawn far towards the others, one with 60 hardly, and the intervals are wider for it than
those of a plug-in (empirical Bayes with one best pair).
"""

from functools import lru_cache
from typing import TYPE_CHECKING

from lessons.records import Record
from lessons.timing import inside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MEANS = 60
"""Grid points of the mean: middles of equal cells of [0, 1], all alike likely beforehand."""
WEIGHTS = 32
"""Grid points of the weight."""
LIGHTEST, HEAVIEST = 0.25, 2000.0
"""The weight's range, in attempts: from skills that are nearly all or nothing to skills that are all alike."""
NEGLIGIBLE = 1e-5
"""Chance of all the pairs together that are left out: it moves no digit that anybody sees, and most pairs are such."""
LOGITS = 20.0
"""Densities are looked at from minus to plus this logit: gaps from 2e-9 up."""
POINTS = 2501
BEND = 3.0
"""Points of a density, at LOGITS * sinh(BEND * t) / sinh(BEND) for t evenly in [-1, 1]: 0.005 of a logit apart in the
middle, ten times as much at the ends."""


class Pooled(Record, frozen=True, kw_only=True):
    """A skill's gap with what the other skills tell, in [0, 1]."""

    gap: float
    """Posterior mean."""
    low: float
    high: float
    """95 % credible interval, equal tails."""


@lru_cache(maxsize=64)
def pool(lacking: tuple[float, ...], trials: tuple[float, ...]) -> tuple[Pooled, ...]:
    """Return the pooled gap of each skill.

    Beforehand, every mean is as likely as every other, and so is every 1 / sqrt(weight), the spread of the skills
    (Gelman et al. 2013, equation 5.9). One skill alone is drawn but little; a skill without trials gets what the others
    predict.

    Args:
        lacking: attempts that lacked the skill, [skill]; need not be whole.
        trials: attempts that could have, [skill]; at least `lacking`, need not be whole.

    Raises:
        ValueError: the two differ in length, or a count is impossible.
    """
    if len(lacking) != len(trials):
        raise ValueError(f"{len(lacking)} counts of lacking attempts, and {len(trials)} of attempts")
    if any(not 0 <= k <= n for k, n in zip(lacking, trials, strict=True)):
        raise ValueError("lacking attempts must lie between 0 and the attempts")
    if not lacking:
        return ()
    import numpy as np

    found, tried = np.asarray(lacking, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    a, b, chance = _hyper(found, tried)  # [pair] each
    after_a, after_b = a[:, None] + found, b[:, None] + tried - found  # [pair][skill]
    gaps = chance @ (after_a / (after_a + after_b))
    low, high = _ends(found, tried, a, b, chance)
    return tuple(
        Pooled(gap=float(gap), low=float(least), high=float(most))
        for gap, least, most in zip(gaps, low, high, strict=True)
    )


def _hyper(
    found: "NDArray[np.float64]", tried: "NDArray[np.float64]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]":
    """Return the pairs of the grid as a and b of the beta distribution, and how likely each is after all counts."""
    import numpy as np

    with inside("load"):
        from scipy.special import betaln

    mean = (np.arange(MEANS) + 0.5) / MEANS
    spread = np.linspace(HEAVIEST**-0.5, LIGHTEST**-0.5, WEIGHTS)  # evenly, since every spread is as likely
    means, spreads = (grid.ravel() for grid in np.meshgrid(mean, spread, indexing="ij"))
    a, b = means / spreads**2, (1 - means) / spreads**2
    fit = betaln(a[:, None] + found, b[:, None] + tried - found) - betaln(a, b)[:, None]  # log likelihoods
    total = fit.sum(axis=1)
    chance = np.exp(total - total.max())
    chance /= chance.sum()
    order = np.argsort(chance)[::-1]
    kept = order[: int(np.searchsorted(np.cumsum(chance[order]), 1 - NEGLIGIBLE)) + 1]
    return a[kept], b[kept], chance[kept] / chance[kept].sum()


def _ends(
    found: "NDArray[np.float64]",
    tried: "NDArray[np.float64]",
    a: "NDArray[np.float64]",
    b: "NDArray[np.float64]",
    chance: "NDArray[np.float64]",
) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
    """Return where each skill's mixture of beta distributions has 2.5 % below it, and above it."""
    import numpy as np
    from scipy.special import betaln, log_expit

    even = np.linspace(-BEND, BEND, POINTS)
    logit, width = LOGITS * np.sinh(even) / np.sinh(BEND), np.cosh(even)
    log_x, log_rest = log_expit(logit), log_expit(-logit)
    # Before any count each pair has one density, whatever the skill; over logits it has no pole at 0 or 1.
    prior = np.exp(np.outer(a, log_x) + np.outer(b, log_rest) - betaln(a, b)[:, None])  # [pair][point]
    fit = betaln(a[:, None] + found, b[:, None] + tried - found) - betaln(a, b)[:, None]  # [pair][skill]
    told = np.outer(found, log_x) + np.outer(tried - found, log_rest)  # [skill][point]
    weight = np.log(chance)[:, None] - fit
    mixed = np.exp(weight - weight.max(axis=0)).T @ prior
    mass = width * mixed * np.exp(told - told.max(axis=1, keepdims=True))
    below = np.cumsum(mass, axis=1)
    below = (below - mass / 2) / below[:, -1:]  # a point's own mass lies half on either side of it
    ends = np.array([np.interp((0.025, 0.975), row, logit) for row in below])
    return 1 / (1 + np.exp(-ends[:, 0])), 1 / (1 + np.exp(-ends[:, 1]))
