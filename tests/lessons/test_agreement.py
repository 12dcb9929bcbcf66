"""Kappa of labels that are sets, held to statsmodels where each problem has one label, and to plain counting."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.agreement import Agreement, kappa
from lessons.statistics import wilson

SKILLS = ("ratio", "units", "clock", "change")

Labels = dict[str, list[str]]
some = st.lists(st.sampled_from(SKILLS), max_size=3, unique=True)
pairs = st.lists(st.tuples(some, some), min_size=1, max_size=25)


def passes(pairs: list[tuple[list[str], list[str]]]) -> tuple[Labels, Labels]:
    return {str(i): one for i, (one, _) in enumerate(pairs)}, {str(i): two for i, (_, two) in enumerate(pairs)}


def noisy(count: int, seed: int, same: float) -> tuple[Labels, Labels]:
    rng = Random(seed)
    first = [rng.choice(SKILLS) for _ in range(count)]
    return passes([([one], [one if rng.random() < same else rng.choice(SKILLS)]) for one in first])


@pytest.mark.parametrize("seed", range(4))
def test_with_one_label_each_it_is_cohens_kappa_of_the_categories(seed: int) -> None:
    raters = pytest.importorskip("statsmodels.stats.inter_rater")
    first, second = noisy(200, seed, 0.6)
    rated = [[SKILLS.index(first[problem][0]), SKILLS.index(second[problem][0])] for problem in first]
    theirs = raters.cohens_kappa(raters.to_table(rated)[0])
    ours = kappa(first, second, SKILLS)
    assert ours.kappa == pytest.approx(theirs.kappa, abs=1e-12)
    # the bootstrap is not the normal approximation, but with 200 problems they all but meet
    assert (ours.low, ours.high) == pytest.approx((theirs.kappa_low, theirs.kappa_upp), abs=0.02)
    assert ours.same == pytest.approx(sum(a == b for a, b in rated) / 200)


@pytest.mark.parametrize("seed", range(2))
def test_a_skills_own_kappa_is_that_of_its_yes_and_no(seed: int) -> None:
    raters = pytest.importorskip("statsmodels.stats.inter_rater")
    first, second = noisy(120, seed, 0.5)
    ours = kappa(first, second, SKILLS)
    for skill in SKILLS:
        rated = [[int(skill in first[problem]), int(skill in second[problem])] for problem in first]
        assert ours.per_skill[skill] == pytest.approx(raters.cohens_kappa(raters.to_table(rated)[0]).kappa, abs=1e-12)


def test_sets_worked_by_hand() -> None:
    # decisions of 4 problems x 2 skills; a: yes yes no no / yes no no no; b: no yes yes no / no yes yes yes
    first = {"1": ["a"], "2": ["a", "b"], "3": ["b"], "4": []}
    second = {"1": ["a"], "2": ["b"], "3": ["b"], "4": ["b", "unheard of"], "5": ["a"]}
    found = kappa(first, second, ("a", "b"))
    by_chance = (2 * 3 + 2 * 1) / 16 + (2 * 1 + 2 * 3) / 16  # decisions that would differ, each over 4
    assert (found.n, found.observed) == (4, 6 / 8)
    assert found.expected == pytest.approx(1 - by_chance / 2)
    assert found.kappa == pytest.approx(1 - (2 / 4) / by_chance)
    assert found.same == 0.5


def test_only_the_list_that_was_asked_counts() -> None:
    first = {"1": ["a"], "2": ["a"], "3": ["c"], "4": ["d"]}
    second = {"1": ["a"], "2": ["b"], "3": ["c"], "4": ["d"]}
    listed = {"1": ["a", "b"], "2": ["a", "b"], "3": ["c", "d"], "4": ["c", "d"]}
    found = kappa(first, second, ("a", "b", "c", "d"), listed=listed)
    assert found.observed == 6 / 8
    # a and b: named 2 of 2 and 1 of 2, 0 of 2 and 1 of 2; c and d: 1 of 2 in both passes
    assert found.expected == pytest.approx(1 - (2 * 0.5 + 2 * 0.5) * 2 / 8)
    assert found.kappa == pytest.approx(0.5)


@given(pairs)
@settings(max_examples=40, deadline=None)
def test_invariants(labels: list[tuple[list[str], list[str]]]) -> None:
    first, second = passes(labels)
    found, turned = kappa(first, second, SKILLS), kappa(second, first, SKILLS)
    assert (found.observed, found.expected, found.kappa) == (turned.observed, turned.expected, turned.kappa)
    backwards = dict(reversed(first.items()))
    assert kappa(backwards, second, tuple(reversed(SKILLS))).kappa == pytest.approx(found.kappa)
    assert found == kappa(first, second, SKILLS)  # nothing is drawn anew
    assert 0 <= found.observed <= 1
    assert 0 <= found.expected <= 1
    assert -1 <= found.low <= found.high <= 1
    if found.kappa is not None:
        assert found.kappa == pytest.approx((found.observed - found.expected) / (1 - found.expected))


def test_full_agreement_promises_no_more_than_so_many_problems_can() -> None:
    first, _ = noisy(30, 0, 1.0)
    found = kappa(first, first, SKILLS)
    assert (found.observed, found.kappa, found.high, found.same) == (1.0, 1.0, 1.0, 1.0)
    assert found.low == pytest.approx(wilson(30, 30).low)
    assert found.reliable


def test_chance_alone_has_a_kappa_near_nothing() -> None:
    found = kappa(*noisy(400, 3, 0.0), SKILLS)
    assert found.kappa is not None
    assert abs(found.kappa) < 0.1
    assert found.low < 0 < found.high
    assert not found.reliable


def test_where_nothing_can_differ_there_is_no_kappa() -> None:
    nothing = kappa({"1": ["a"]}, {"1": ["a"]}, ("a",))
    assert (nothing.kappa, nothing.low, nothing.high, nothing.per_skill) == (None, -1.0, 1.0, {"a": None})
    assert nothing.expected == 1.0
    assert kappa({}, {"1": ["a"]}, ("a",)).n == 0
    assert kappa({"1": ["a"]}, {"1": ["a"]}, ()).kappa is None
    assert not nothing.reliable


def test_the_skills_that_agree_worst_come_first() -> None:
    found = Agreement(
        n=9, observed=0.9, expected=0.5, kappa=0.8, low=0.6, high=1.0,
        per_skill={"a": 0.9, "b": -0.1, "c": None, "d": 0.2},
    )  # fmt: skip
    assert found.worst(2) == ["b", "d"]
    assert found.worst(9) == ["b", "d", "a"]
