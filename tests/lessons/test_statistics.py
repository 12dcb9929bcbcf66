import gc
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lessons.statistics import holm, mcnemar, paired_difference, wilson

stats = pytest.importorskip("scipy.stats")


@given(st.integers(1, 3000), st.data())
def test_wilson_is_scipys(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    theirs = stats.binomtest(successes, trials).proportion_ci(confidence_level=0.95, method="wilson")
    assert wilson(successes, trials) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_without_trials_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_scipys_binomial_test(gained: int, lost: int) -> None:
    assume(gained + lost > 0)
    assert mcnemar(gained, lost) == pytest.approx(stats.binomtest(gained, gained + lost, 0.5).pvalue, rel=1e-9)


def test_mcnemar_by_hand_and_without_pairs() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(1, 1) == 1.0
    assert 0.0 <= mcnemar(5000, 4000) < 1e-20  # integers of thousands of bits must not overflow a float


def test_paired_difference_by_hand() -> None:
    # Agresti and Min (2005): half an observation is added to each cell, two to the trials.
    gained, lost, trials = 20, 8, 100
    middle = (20.5 - 8.5) / 102
    error = ((20.5 + 8.5) - (20.5 - 8.5) ** 2 / 102) ** 0.5 / 102
    z = stats.norm.ppf(0.975)
    assert paired_difference(gained, lost, trials) == pytest.approx((middle - z * error, middle + z * error))
    assert paired_difference(0, 0, 0) == (-1.0, 1.0)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 100))
def test_paired_difference_is_antisymmetric_and_in_range(gained: int, lost: int, same: int) -> None:
    trials = gained + lost + same
    assume(trials > 0)
    low, high = paired_difference(gained, lost, trials)
    assert -1 <= low <= high <= 1
    assert paired_difference(lost, gained, trials) == pytest.approx((-high, -low))


p_values = st.dictionaries(st.text("abc", max_size=5), st.floats(0, 1), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def multitest() -> Iterator[Any]:
    found = pytest.importorskip("statsmodels.stats.multitest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "collect", lambda generation=2: 0)  # each call collects: half a second late in a test run
        yield found


@given(values=p_values)
def test_holm_is_statsmodels(multitest: Any, values: dict[str, float]) -> None:
    ours = holm(values)
    assert list(ours) == list(values)
    theirs = multitest.multipletests(list(values.values()), method="holm")[1]
    assert list(ours.values()) == pytest.approx(list(theirs), abs=1e-12)


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06})
    assert holm({}) == {}
