"""A figure over several seeds: its mean with Student's t interval. Pure functions."""

import math
import statistics
from collections.abc import Sequence

from lessons.records import Record


class OverSeeds(Record, frozen=True, kw_only=True):
    """A figure of several runs that differ in their seed only, in the figure's own unit."""

    mean: float
    low: float | None
    high: float | None
    """Student's t 95 % interval of the mean over seeds (Student 1908); None with one seed, or a repeated one."""
    values: tuple[float, ...]
    """One a run, in the order of the runs."""


def over_seeds(values: Sequence[float], distinct: bool = True) -> OverSeeds | None:
    """Return the mean of one value a run with its interval over seeds; None without any.

    `distinct`: whether each is of another seed; repetitions of one seed have no interval.
    """
    if not values:
        return None
    mean, count = statistics.fmean(values), len(values)
    if count < 2 or not distinct:
        return OverSeeds(mean=mean, low=None, high=None, values=tuple(values))
    from scipy.special import stdtrit

    reach = float(stdtrit(count - 1, 0.975)) * statistics.stdev(values) / math.sqrt(count)
    return OverSeeds(mean=mean, low=mean - reach, high=mean + reach, values=tuple(values))
