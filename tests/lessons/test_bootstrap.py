"""Resampling: seeded, in blocks, and held to scipy's bootstrap and t-test where they must meet."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons import bootstrap
from lessons.bootstrap import RESAMPLES, blocks, paired
from lessons.statistics import mcnemar, paired_difference

np = pytest.importorskip("numpy")
stats = pytest.importorskip("scipy.stats")


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 9))
def test_each_resample_draws_as_many_items_as_there_are(items: int, resamples: int, seed: int) -> None:
    found = np.concatenate(list(blocks(items, resamples, seed)))
    assert found.shape == (resamples, items)
    assert (found.sum(axis=1) == items).all()
    assert (found >= 0).all()


def test_memory_is_bounded_by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_CELLS", 1000)
    assert [block.shape for block in blocks(300, 8)] == [(3, 300), (3, 300), (2, 300)]


def test_resampled_means_are_scipys() -> None:
    values = np.random.default_rng(1).uniform(-1, 1, 60)
    ours = np.concatenate([weights @ values for weights in blocks(60)]) / 60
    theirs = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=2).confidence_interval
    error = values.std() / 60**0.5
    assert tuple(np.quantile(ours, (0.025, 0.975))) == pytest.approx((theirs.low, theirs.high), abs=0.15 * error)


@pytest.mark.parametrize("count", [30, 200])
def test_interval_and_p_meet_students_t(count: int) -> None:
    values = np.random.default_rng(count).normal(0.1, 0.25, count).clip(-1, 1)
    theirs = stats.ttest_1samp(values, 0.0)
    low, high = theirs.confidence_interval(0.95)
    found = paired(list(values))
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.2 * (high - low))
    if theirs.pvalue > 0.005:
        assert found.p == pytest.approx(theirs.pvalue, rel=0.35)
    assert (found.p < 0.05) is (not found.low <= 0 <= found.high)


@pytest.mark.parametrize("items", [8, 30])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(items: int) -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        # most problems score the same, some gain or lose a part: mean 0.2 * 0.5 - 0.1 * 0.5
        moved = rng.choice([0.0, 1.0, -1.0], items, p=[0.7, 0.2, 0.1]) * rng.uniform(0, 1, items)
        found = paired(list(moved), resamples=500)
        held += found.low <= 0.05 <= found.high
    assert 0.92 <= held / 400 <= 0.99


@given(st.lists(st.floats(-1, 1), max_size=20))
@settings(max_examples=40, deadline=None)
def test_invariants(values: list[float]) -> None:
    found = paired(values, resamples=400)
    assert found == paired(values, resamples=400)
    assert -1 <= found.low <= found.high <= 1
    assert 0 < found.p <= 1
    turned = paired([-value for value in values], resamples=400)
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low), abs=1e-9)
    assert turned.p == pytest.approx(found.p)


def test_too_few_items_say_nothing() -> None:
    assert paired([]) == (0.0, -1.0, 1.0, 1.0)
    assert paired([0.5]) == (0.5, -1.0, 1.0, 1.0)


def test_differences_that_are_all_the_same_are_no_certainty() -> None:
    found = paired([0.5] * 9)
    assert 0 < found.low < found.high <= 0.5
    none = paired([0.0] * 9)
    assert none.low == pytest.approx(-none.high)
    assert none.high == pytest.approx(paired_difference(0, 0, 9).high, rel=0.4)
    assert none.p > 0.9
    two = paired([1.0, 1.0])
    assert two.low < 0  # two problems that got better are no proof
    assert two.p > 0.05


@pytest.mark.parametrize(("gained", "lost", "same"), [(9, 2, 29), (3, 3, 24), (20, 5, 5), (0, 6, 54)])
def test_with_right_and_wrong_alone_it_meets_mcnemars(gained: int, lost: int, same: int) -> None:
    found = paired([1.0] * gained + [-1.0] * lost + [0.0] * same)
    low, high = paired_difference(gained, lost, gained + lost + same)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.15 * (high - low))
    assert (found.p < 0.05) is (low > 0 or high < 0)
    assert found.p <= 1.2 * mcnemar(gained, lost)  # the exact test is the more cautious one
