"""Partial pooling, held to plain sums over a much finer grid by scipy's own distributions."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.pooling import HEAVIEST, LIGHTEST, pool

np = pytest.importorskip("numpy")
stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize(
    ("lacking", "trials"),
    [((3, 10, 2, 5), (3, 16, 16, 60)), ((12, 13, 14, 2, 3, 1, 4, 2), (16,) * 8), ((5,), (16,)), ((0, 0, 9), (9, 0, 9))],
)
def test_posterior_is_that_of_a_finer_grid(lacking: tuple[int, ...], trials: tuple[int, ...]) -> None:
    means = (np.arange(120) + 0.5) / 120
    spreads = np.linspace(HEAVIEST**-0.5, LIGHTEST**-0.5, 64)
    mean, spread = (grid.ravel() for grid in np.meshgrid(means, spreads))
    a, b = mean / spread**2, (1 - mean) / spread**2
    chance = np.ones(len(a))
    for k, n in zip(lacking, trials, strict=True):
        chance *= stats.betabinom.pmf(k, n, a, b)
    chance /= chance.sum()
    for k, n, found in zip(lacking, trials, pool(tuple(map(float, lacking)), tuple(map(float, trials))), strict=True):
        assert found.gap == pytest.approx(float(chance @ ((a + k) / (a + b + n))), abs=0.004)
        for end, share in ((found.low, 0.025), (found.high, 0.975)):
            below, above = (float(chance @ stats.beta.cdf(end + away, a + k, b + n - k)) for away in (-0.008, 0.008))
            assert below <= share <= above


counts = st.integers(0, 80).flatmap(lambda n: st.tuples(st.floats(0, n), st.just(float(n))))


@given(st.lists(counts, min_size=1, max_size=6))
@settings(max_examples=8, deadline=None)
def test_invariants(skills: list[tuple[float, float]]) -> None:
    lacking, trials = (tuple(column) for column in zip(*skills, strict=True))
    found = pool(lacking, trials)
    assert all(0 <= one.low <= one.high <= 1 and 0 < one.gap < 1 for one in found)
    turned = pool(lacking[::-1], trials[::-1])[::-1]
    assert [one.gap for one in turned] == pytest.approx([one.gap for one in found], abs=1e-6)
    same = sorted((n, k, one.gap) for (k, n), one in zip(skills, found, strict=True))
    for (n, k, gap), (m, more, wider) in pairwise(same):
        assert n < m or k == more or gap <= wider  # of skills tried as often, more lacking is a wider gap


def test_few_attempts_are_drawn_towards_the_rest_and_many_stand() -> None:
    few, many, *_ = pool((3.0, 36.0, 4.0, 3.0, 5.0), (3.0, 60.0, 20.0, 20.0, 20.0))
    assert few.gap < 0.8
    assert many.gap == pytest.approx(0.6, abs=0.03)
    assert few.high - few.low > 2 * (many.high - many.low)


def test_skills_that_are_alike_are_drawn_together_and_a_lone_one_hardly() -> None:
    alike = pool((4.0, 5.0, 6.0, 5.0, 4.0, 6.0), (16.0,) * 6)
    assert max(one.gap for one in alike) - min(one.gap for one in alike) < 1 / 16
    (alone,) = pool((5.0,), (16.0,))
    assert alone.gap == pytest.approx(5 / 16, abs=0.03)


def test_thousands_of_attempts_neither_overflow_nor_lose_their_interval() -> None:
    large, small = pool((40_000.0, 3.0), (100_000.0, 4.0))
    assert large.gap == pytest.approx(0.4, abs=1e-4)
    exact = stats.beta.interval(0.95, 40_000, 60_000)
    assert (large.low, large.high) == pytest.approx(exact, abs=1e-3)
    assert small.low < 0.5 < small.high


def test_what_cannot_be_is_refused() -> None:
    assert pool((), ()) == ()
    with pytest.raises(ValueError, match="2 counts of lacking attempts, and 1 of attempts"):
        pool((1.0, 1.0), (2.0,))
    for lacking in (-1.0, 3.0, float("nan")):
        with pytest.raises(ValueError, match="between 0 and the attempts"):
            pool((lacking,), (2.0,))
