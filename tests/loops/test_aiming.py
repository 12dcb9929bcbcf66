"""Which skills the teacher's work goes to, against hand-worked cases."""

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.records import Attempt, Problem
from loops.aiming import every_pair, pairs_for


def missed(name: str, *missing: str) -> Attempt:
    return Attempt(problem=Problem(question=name, answer="1"), student="s", text="?", score=0.0, missing=missing)


MISSED = [missed("p1", "adding"), missed("p2", "adding", "ordering"), missed("p3", "adding")]
SHARES = {"adding": 0.75, "ordering": 0.25, "naming": 0.0}


def parts(count: int, target: str, shares: dict[str, float] = SHARES) -> Counter[str]:
    found = pairs_for(count, MISSED, shares, target, Random(1))  # type: ignore[arg-type]
    return Counter(skill for _, skill in found)


def test_without_a_number_each_failure_counts_once_for_each_skill_that_it_lacked() -> None:
    assert [(a.problem.question if a else "", s) for a, s in every_pair(MISSED)] == [
        ("p1", "adding"), ("p2", "adding"), ("p2", "ordering"), ("p3", "adding"),
    ]  # fmt: skip


def test_eight_pairs_go_by_the_shares() -> None:
    assert parts(8, "profile") == {"adding": 6, "ordering": 2}


def test_uniform_takes_all_skills_alike_whatever_was_missing() -> None:
    assert parts(9, "uniform") == {"adding": 3, "ordering": 3, "naming": 3}


def test_shuffled_keeps_the_sizes_of_the_shares_and_permutes_their_names() -> None:
    orders = {tuple(sorted(Counter(s for _, s in pairs_for(8, MISSED, SHARES, "shuffled", Random(n))).items()))
              for n in range(40)}  # fmt: skip
    assert all(sorted(count for _, count in order) == [2, 6] for order in orders)
    assert len(orders) == 6  # every way in which 6, 2 and 0 can be dealt to three skills


def test_a_skill_goes_round_its_failures_before_it_takes_one_again() -> None:
    pairs = pairs_for(7, MISSED, {"adding": 1.0}, "profile", Random(0))
    taken = Counter(attempt.problem.question for attempt, _ in pairs if attempt)
    assert sorted(taken.values()) == [2, 2, 3]


def test_a_skill_that_nobody_lacked_has_pairs_without_an_attempt() -> None:
    assert pairs_for(2, MISSED, {"naming": 1.0}, "profile", Random(0)) == [(None, "naming"), (None, "naming")]


def test_without_any_share_all_skills_are_alike() -> None:
    assert parts(6, "profile", dict.fromkeys(SHARES, 0.0)) == {"adding": 2, "ordering": 2, "naming": 2}


@pytest.mark.parametrize("target", ["profile", "uniform", "shuffled"])
@given(
    count=st.integers(0, 60),
    shares=st.dictionaries(st.sampled_from(["adding", "ordering", "naming", "x"]), st.floats(0, 10), min_size=1),
    seed=st.integers(0, 5),
)
def test_always_as_many_pairs_as_asked_for_and_the_same_ones_again(
    target: str, count: int, shares: dict[str, float], seed: int
) -> None:
    one = pairs_for(count, MISSED, shares, target, Random(seed))  # type: ignore[arg-type]
    assert len(one) == count
    assert one == pairs_for(count, MISSED, shares, target, Random(seed))  # type: ignore[arg-type]
    assert all(attempt is None or skill in attempt.missing for attempt, skill in one)
