import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.seeds import over_seeds


def test_the_interval_is_scipys() -> None:
    from scipy import stats

    values = [0.801, 0.829, 0.712]
    found = over_seeds(values)
    assert found is not None
    expected = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    assert found.values == tuple(values)


def test_one_seed_or_a_repeated_one_has_no_interval() -> None:
    assert over_seeds([]) is None
    for found in (over_seeds([0.4]), over_seeds([0.4, 0.4], distinct=False)):
        assert found is not None
        assert (found.mean, found.low, found.high) == (0.4, None, None)


@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.floats(-1, 1))
def test_the_interval_holds_the_mean_and_moves_with_the_values(values: list[float], by: float) -> None:
    found, moved = over_seeds(values), over_seeds([value + by for value in values])
    assert found is not None
    assert moved is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low - 1e-12 <= found.mean <= found.high + 1e-12
    assert min(values) - 1e-9 <= found.mean <= max(values) + 1e-9
    assert moved.low is not None
    assert math.isclose(moved.low, found.low + by, abs_tol=1e-9)
