"""The few statistics that every round reports. Pure functions; tests hold them to scipy's and statsmodels' own."""

import math
from collections.abc import Mapping
from typing import NamedTuple

Z95 = 1.959963984540054
"""Two-sided 95 % quantile of the standard normal distribution."""


class Interval(NamedTuple):
    """A closed interval, in the unit of the figure it belongs to."""

    low: float
    high: float


def wilson(successes: float, trials: float, z: float = Z95) -> Interval:
    """Return Wilson's score interval of a share (Wilson 1927). No trials: the whole of [0, 1]."""
    if trials <= 0:
        return Interval(0.0, 1.0)
    share = successes / trials
    scale = 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    reach = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / scale
    return Interval(max(0.0, middle - reach), min(1.0, middle + reach))


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p of McNemar's exact test: pairs that went from wrong to right, and from right to wrong."""
    pairs = gained + lost
    if pairs == 0:
        return 1.0
    # In logarithms, so that thousands of pairs neither overflow nor take long.
    whole = math.lgamma(pairs + 1) - pairs * math.log(2)
    terms = (whole - math.lgamma(k + 1) - math.lgamma(pairs - k + 1) for k in range(min(gained, lost) + 1))
    return min(1.0, 2 * math.fsum(map(math.exp, terms)))


def paired_difference(gained: int, lost: int, trials: int, z: float = Z95) -> Interval:
    """Return the interval of the difference of two shares on the same items (Wald with Agresti and Min's 2005 +0.5)."""
    if trials <= 0:
        return Interval(-1.0, 1.0)
    up, down, whole = gained + 0.5, lost + 0.5, trials + 2.0
    middle = (up - down) / whole
    reach = z * math.sqrt(max(0.0, up + down - (up - down) ** 2 / whole)) / whole
    return Interval(max(-1.0, middle - reach), min(1.0, middle + reach))


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's step-down adjusted p-values (Holm 1979), by the same names."""
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    adjusted: dict[str, float] = {}
    worst = 0.0
    for rank, (name, p) in enumerate(ordered):
        worst = max(worst, min(1.0, (len(ordered) - rank) * p))
        adjusted[name] = worst
    return {name: adjusted[name] for name in p_values}
