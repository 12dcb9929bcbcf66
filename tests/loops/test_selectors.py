from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.records import Lesson, Problem, Provenance
from lessons.skills import SkillProfile, SkillRow
from loops.selectors.base import Choice, allocate, by_shares, new_rows, replay_rows
from loops.selectors.profile import ByProfile
from loops.selectors.uniform import Uniform


def lesson(skill: str, number: int) -> Lesson:
    return Lesson(
        prompt=({"role": "user", "content": f"{skill} {number}"},),
        completion="x",
        problem=Problem(question=f"{skill} {number}", answer="x", skills=(skill,)),
        provenance=Provenance(method="m", round=1, skill=skill),
    )


def bank(**counts: int) -> list[Lesson]:
    return [lesson(skill, number) for skill, count in counts.items() for number in range(count)]


def profile(**missing: int) -> SkillProfile:
    return SkillProfile(
        rows={s: SkillRow(attempts=30, right=30 - m, failures=m, missing=m) for s, m in missing.items()}
    )


def counts(lessons: list[Lesson]) -> dict[str | None, int]:
    return dict(Counter(one.provenance.skill for one in lessons))


def test_profile_mass_is_the_histogram_of_what_was_missing() -> None:
    # 20, 10 and 10 missing: shares 1/2, 1/4, 1/4 of 40 rows.
    chosen = ByProfile(replay=0, by="count").select(
        bank(a=100, b=100, c=100, d=100), 40, Choice(profile=profile(a=20, b=10, c=10, d=0), rng=Random(0))
    )
    assert counts(chosen) == {"a": 20, "b": 10, "c": 10}
    assert {one.share for one in chosen if one.provenance.skill == "a"} == {0.2}


def test_profile_mass_is_the_pooled_gap_however_often_a_skill_is_needed() -> None:
    rows = {"often": (60, 30), "seldom": (6, 3), "easy": (30, 3)}
    seen = SkillProfile(
        rows={s: SkillRow(attempts=n, right=n - m, failures=m, missing=m) for s, (n, m) in rows.items()}
    )
    pooled = seen.pooled()
    whole = sum(one.gap for one in pooled.values())
    chosen = counts(
        ByProfile(replay=0).select(bank(often=99, seldom=99, easy=99), 90, Choice(profile=seen, rng=Random(0)))
    )
    for skill, one in pooled.items():
        assert chosen[skill] == pytest.approx(90 * one.gap / whole, abs=1)
    assert chosen["seldom"] > 20 > chosen["easy"]
    by_count = ByProfile(replay=0, by="count").select(
        bank(often=99, seldom=99, easy=99), 36, Choice(profile=seen, rng=Random(0))
    )
    assert counts(by_count) == {"often": 30, "seldom": 3, "easy": 3}


def test_what_a_skill_has_not_goes_to_the_others_by_their_shares() -> None:
    assert allocate({"a": 5, "b": 100, "c": 100}, {"a": 0.5, "b": 0.25, "c": 0.25}, 45) == {"a": 5, "b": 20, "c": 20}


def test_largest_remainders() -> None:
    assert allocate({"a": 9, "b": 9, "c": 9}, {"a": 0.5, "b": 0.3, "c": 0.2}, 4) == {"a": 2, "b": 1, "c": 1}


def test_floor_gives_every_skill_something() -> None:
    choice = Choice(profile=profile(a=30, b=0), rng=Random(0))
    assert counts(ByProfile(floor=0.5, by="count").select(bank(a=50, b=50), 40, choice)) == {"a": 30, "b": 10}
    one, other = (pooled.gap for pooled in profile(a=30, b=0).pooled().values())
    taken = round(40 * (0.5 * one / (one + other) + 0.25))
    assert counts(ByProfile(floor=0.5).select(bank(a=50, b=50), 40, choice)) == {"a": taken, "b": 40 - taken}


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 40), min_size=1),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1)),
    st.integers(0, 120),
)
def test_allocation_is_whole_bounded_and_spends_the_budget(available, shares, budget) -> None:
    taken = allocate(available, shares, budget)
    assert sum(taken.values()) == min(budget, sum(available.values()))
    assert all(0 <= taken[skill] <= available[skill] for skill in available)


@given(st.integers(0, 10_000), st.integers(0, 60))
def test_selection_is_the_same_for_a_seed_and_repeats_no_row(seed: int, budget: int) -> None:
    candidates = bank(a=20, b=15, c=5)
    shares = {"a": 0.1, "b": 0.6, "c": 0.3}
    one = by_shares(candidates, shares, budget, Random(seed))
    assert [x.id for x in one] == [x.id for x in by_shares(candidates, shares, budget, Random(seed))]
    assert len({x.id for x in one}) == len(one) == min(budget, 40)


def test_uniform_does_not_look_at_the_profile() -> None:
    candidates = bank(a=300, b=100)
    chosen = Uniform().select(candidates, 200, Choice(profile=profile(a=0, b=30), rng=Random(1)))
    assert 130 <= counts(chosen)["a"] <= 170
    assert {one.share for one in chosen} == {0.5}


def test_budget_holds_replayed_rows_too() -> None:
    assert (new_rows(2000, 0.3, 5000), replay_rows(1400, 0.3)) == (1400, 600)
    assert (new_rows(2000, 0.3, 900), replay_rows(900, 0.3)) == (900, 386)
    assert (new_rows(0, 0.3, 900), replay_rows(900, 0)) == (900, 0)


@pytest.mark.parametrize("knobs", [{"replay": 1.0}, {"replay": -0.1}, {"floor": 2}, {"budget": -1}])
def test_knobs_out_of_range_are_refused(knobs) -> None:
    with pytest.raises(ValueError, match="budget must be at least 0"):
        ByProfile(**knobs)


def test_an_unknown_way_to_share_is_refused() -> None:
    with pytest.raises(ValueError, match="by must be one of gap, count, learnable, got 'gaps'"):
        ByProfile(by="gaps")
