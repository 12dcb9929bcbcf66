"""Resampling, seeded: the same figures give the same interval. Pure functions; numpy and scipy are imported late."""

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, NamedTuple

from lessons.timing import inside

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RESAMPLES = 4000
"""Resamples of an interval: its ends then move by about a twentieth of a standard error from seed to seed (own
measurement), which nobody acts on."""
SEED = 20_140_611
"""Fixed, so that looking twice shows the same; any other would do."""
_CELLS = 4_000_000
"""Cells of one block of weights: 32 MiB, so that memory does not grow with the number of items."""


def blocks(items: int, resamples: int = RESAMPLES, seed: int = SEED) -> Iterator["NDArray[np.float64]"]:
    """Yield how often each resample draws each item, in blocks of [resample][item]; each row sums to `items`.

    A statistic of sums over items then is a product of matrices (Efron and Tibshirani 1993, section 6).
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    at_once = max(1, min(resamples, _CELLS // max(1, items)))
    for start in range(0, resamples, at_once):
        count = min(at_once, resamples - start)
        drawn = rng.integers(0, items, size=(count, items))
        places = drawn + items * np.arange(count)[:, None]
        yield np.bincount(places.ravel(), minlength=count * items).reshape(count, items).astype(np.float64)


class Shift(NamedTuple):
    """The mean of paired differences, in their unit."""

    mean: float
    low: float
    high: float
    """95 % interval by bootstrap over the items."""
    p: float
    """Two-sided: the least alpha whose interval leaves out 0; at most as small as the resamples can tell."""


def paired(differences: Sequence[float], resamples: int = RESAMPLES, seed: int = SEED) -> Shift:
    """Return the mean of paired differences in [-1, 1], with its bootstrap interval and p.

    The interval is the expanded percentile interval (Hesterberg 2015, "What teachers should know about the bootstrap",
    section 4.1): percentiles further out, by the factor sqrt(n / (n - 1)) and the quantile of Student's t, since the
    plain one is too narrow for few items. Items that rarely differ make it too narrow still, so that two are added that
    went up and down by sqrt(1/2) of the widest difference: with differences of 1 that adds as much as Agresti and Min
    (2005) add to the cells of a table, and what never differs or always alike is no certainty either. Fewer than two
    items say nothing: [-1, 1] and a p of 1.
    """
    count = len(differences)
    mean = math.fsum(differences) / count if count else 0.0
    if count < 2:
        return Shift(mean, -1.0, 1.0, 1.0)
    import numpy as np

    with inside("load"):
        from scipy.special import stdtr, stdtrit

    added = math.sqrt(0.5) * (max(map(abs, differences)) or 1.0)
    values, items = np.asarray(differences, dtype=np.float64), count + 2
    sums: list[NDArray[np.float64]] = []
    for weights in blocks(items, resamples, seed):
        own, swing = weights[:, :count] @ values, added * (weights[:, count] - weights[:, count + 1])
        sums += [own + swing, own - swing]  # both ways round, so that a loss is told exactly as a gain
    means = np.concatenate(sums) / items
    widened = math.sqrt(items / (items - 1))
    tail = NormalDist().cdf(widened * float(stdtrit(items - 1, 0.025)))
    low, high = np.quantile(means, (tail, 1 - tail))
    # Ties with 0 count half, and nothing is rarer than half of one resample more would be.
    below = float((means < 0).sum() + 0.5 * (means == 0).sum())
    rarer = (min(below, len(means) - below) + 0.5) / (len(means) + 1)
    p = 2 * float(stdtr(items - 1, NormalDist().inv_cdf(min(rarer, 0.5)) / widened))
    return Shift(mean, float(low), float(high), min(1.0, p))
