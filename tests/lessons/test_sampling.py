"""pass@k against every choice of k samples; the correlation against scipy's analysis of variance."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.sampling import correlation, design_effect, pass_at, passes

stats = pytest.importorskip("scipy.stats")


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_choices_with_a_right_one(right: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(right)))
    choices = [any(chosen) for chosen in combinations(right, k)]
    assert pass_at(len(right), sum(right), k) == pytest.approx(sum(choices) / len(choices))


@pytest.mark.parametrize(("samples", "right", "k"), [(3, 1, 4), (3, 4, 1), (3, -1, 1), (3, 1, 0), (0, 0, 1)])
def test_pass_at_k_of_too_few_samples_is_refused(samples: int, right: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} cannot be told from {samples} samples"):
        pass_at(samples, right, k)


def test_passes_go_up_to_what_every_problem_has() -> None:
    groups = {"a": [1.0, 0.0, 0.0, 0.0, 0.5, 1.0], "b": [0.0] * 7}
    assert passes(groups) == pytest.approx({1: 1 / 6, 2: 0.3, 4: 14 / 30, 6: 0.5})
    assert passes({"a": [1.0], "b": [0.0, 1.0]}) == {}
    assert passes({}) == {}


scores = st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=3, max_size=3), min_size=2, max_size=12)


@given(scores)
def test_correlation_is_that_of_the_analysis_of_variance(samples: list[list[float]]) -> None:
    found = correlation([{str(i): one for i, one in enumerate(samples)}])
    if all(len(set(one)) == 1 for one in samples):
        assert found == 1.0  # nothing differs within a problem, or anywhere
        return
    ratio = stats.f_oneway(*samples).statistic
    assert found == pytest.approx(max(0.0, (ratio - 1) / (ratio + 2)), abs=1e-9)


def test_correlation_is_pooled_about_each_skills_own_mean() -> None:
    hard = {"1": [0.0, 1.0], "2": [1.0, 0.0], "3": [0.0, 0.0]}
    easy = {"4": [1.0, 1.0], "5": [1.0, 1.0], "6": [1.0, 0.0]}
    together = correlation([{**hard, **easy}])
    assert correlation([hard, easy]) < together  # how far the skills differ is not how alike samples are


def test_one_sample_a_problem_is_as_good_as_independent() -> None:
    single = {"1": [0.0], "2": [1.0]}
    assert correlation([single]) == 0.0
    assert design_effect(single, 0.7) == 1.0
    assert design_effect({}, 1.0) == 1.0


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0, 1))
def test_design_effect_is_that_of_the_samples_of_a_problem(problems: int, samples: int, alike: float) -> None:
    groups = {str(i): [0.0] * samples for i in range(problems)}
    assert design_effect(groups, alike) == pytest.approx(1 + (samples - 1) * alike)
