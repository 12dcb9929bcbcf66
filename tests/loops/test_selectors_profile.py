"""The allocation of `profile`: each step by hand, the whole beside what it was before it had any."""

import math
from collections import Counter
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import InputError
from lessons.ids import digest
from lessons.records import Lesson
from lessons.skills import SkillProfile, SkillRow
from loops.selectors import allocation
from loops.selectors.allocation import Closed
from loops.selectors.base import Choice, allocate
from loops.selectors.profile import ByProfile
from loops.selectors.uniform import Uniform
from tests.loops.selecting import bank, lesson, profile

SEEN = {"a": (30, 24), "b": (20, 5), "c": (12, 6), "d": (8, 0), "e": (0, 0)}
WEIGHTS = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(0, 1e6) | st.just(0.0), max_size=8)


def pooled(gaps: dict[str, float]) -> SkillProfile:
    """A profile whose pooled gaps are exactly these."""
    from lessons.pooling import Pooled

    return SkillProfile(
        rows={
            skill: SkillRow(
                attempts=100, right=round(100 * (1 - gap)), failures=round(100 * gap), missing=round(100 * gap),
                pooled=Pooled(gap=gap, low=gap, high=gap),
            )
            for skill, gap in gaps.items()
        }
    )  # fmt: skip


# --- the defaults are what they were ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("selector", "golden"),
    [
        (ByProfile(), "94dd6d24af103eb24b408d24652416c4082fe7994dfa8187ef6bc4ae2f7dd3ec"),
        (ByProfile(by="count"), "6e53d902bb8ddc53b58929f05ae8f119b0289e8bbf546465c9273e68427f36c3"),
        (ByProfile(floor=0.4), "b006d7fdddc3e7d873293120cd48c17243a051765350491be2b7dbb937e9292b"),
        (Uniform(), "ff3ce436dcd9039664b62962c53e17f5efaa54bb8aab553eea98d1c3d468b5bf"),
    ],
)
def test_the_defaults_choose_as_before_there_were_other_knobs(selector: ByProfile | Uniform, golden: str) -> None:
    # Computed with the code as it was when `profile` had the knobs budget, replay, by and floor alone.
    chosen = selector.select(bank(a=40, b=25, c=10, d=5), 37, Choice(profile=profile(SEEN), rng=Random(11)))
    assert digest([[one.id, one.share] for one in chosen]) == golden


# --- steps ------------------------------------------------------------------------------------------------------------


def test_temper_by_hand() -> None:
    weights = {"a": 4.0, "b": 1.0, "c": 0.0}
    assert allocation.tempered(weights, 1) == {"a": 0.8, "b": 0.2, "c": 0.0}
    assert allocation.tempered(weights, 0.5) == pytest.approx({"a": 2 / 3, "b": 1 / 3, "c": 0.0})
    assert allocation.tempered(weights, 0) == {"a": 0.5, "b": 0.5, "c": 0.0}  # those with a gap, alike
    assert allocation.tempered(weights, 2) == pytest.approx({"a": 16 / 17, "b": 1 / 17, "c": 0.0})
    assert allocation.tempered({"a": 0.0}, 1) == {"a": 0.0}


def test_most_by_hand() -> None:
    shares = {"a": 0.6, "b": 0.3, "c": 0.1}
    assert allocation.capped(shares, 1.0) == shares
    # a keeps 0.5; the 0.5 that are left go 3 : 1.
    assert allocation.capped(shares, 0.5) == pytest.approx({"a": 0.5, "b": 0.375, "c": 0.125})
    # a and then b are cut to 0.4, and c gets all that is left.
    assert allocation.capped(shares, 0.4) == pytest.approx({"a": 0.4, "b": 0.4, "c": 0.2})
    # three skills cannot hold a whole at 0.2 each: alike.
    assert allocation.capped(shares, 0.2) == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})
    assert allocation.capped({"a": 1.0, "b": 0.0}, 0.5) == {"a": 1.0, "b": 0.0}  # nobody else may have it


def test_fading_by_hand() -> None:
    # n = 10 ln(share / level): with shares 4 and 1 the first gets 10 ln 4 = 13.86 more. Of 20: 16.93 and 3.07.
    parts = allocation.fading({"a": 0.8, "b": 0.2, "c": 0.0}, 20, 10)
    assert parts == pytest.approx({"a": (10 + 5 * math.log(4)) / 20, "b": (10 - 5 * math.log(4)) / 20, "c": 0.0})
    # Of 10, all go to the first: even its tenth lesson brings more (0.8 / e) than the second one's first (0.2).
    assert allocation.fading({"a": 0.8, "b": 0.2}, 10, 10) == pytest.approx({"a": 1.0, "b": 0.0})
    # A long fade: none fades, all to the best. A short one: the fourth lesson on anything brings nothing, so alike.
    assert allocation.fading({"a": 0.8, "b": 0.2}, 20, 1000)["a"] == pytest.approx(1.0)
    assert allocation.fading({"a": 0.8, "b": 0.2}, 1000, 1)["a"] == pytest.approx(0.5, abs=0.001)
    assert allocation.fading({"a": 0.8, "b": 0.2}, 0, 10) == {"a": 0.8, "b": 0.2}


@given(st.dictionaries(st.sampled_from("abcd"), st.floats(0.01, 1), min_size=1), st.integers(1, 30), st.floats(0.5, 50))
def test_fading_is_where_each_next_lesson_brings_most(shares: dict[str, float], budget: int, fade: float) -> None:
    """Beside a greedy choice in steps of 1/20 of a lesson."""
    taken = dict.fromkeys(shares, 0.0)
    for _ in range(budget * 20):
        best = max(shares, key=lambda skill: (shares[skill] * math.exp(-taken[skill] / fade), skill))
        taken[best] += 1 / 20
    parts = allocation.fading(shares, budget, fade)
    assert {s: budget * part for s, part in parts.items()} == pytest.approx(taken, abs=0.051 * len(shares) + 1e-6)


def test_prerequisites_by_hand() -> None:
    weights = {"tens": 0.1, "units": 0.2, "carrying": 0.3, "change": 0.4}
    gaps = {"tens": 0.5, "units": 0.25, "carrying": 0.6, "change": 0.9}
    built_on = {"carrying": ["tens", "units"], "change": ["carrying"]}
    # change gives its 0.4 to carrying, which gives 0.7 on to tens and units, 2 : 1.
    moved = allocation.with_prerequisites(weights, gaps, built_on, 0.2)
    assert moved == pytest.approx({"tens": 0.1 + 0.7 * 2 / 3, "units": 0.2 + 0.7 / 3, "carrying": 0.0, "change": 0.0})
    # units is learned (gap at most 0.3): all to tens.
    moved = allocation.with_prerequisites(weights, gaps, built_on, 0.3)
    assert moved == pytest.approx({"tens": 0.8, "units": 0.2, "carrying": 0.0, "change": 0.0})
    # both are learned: carrying keeps its own, and takes what change has.
    moved = allocation.with_prerequisites(weights, gaps, built_on, 0.5)
    assert moved == pytest.approx({"tens": 0.1, "units": 0.2, "carrying": 0.7, "change": 0.0})
    # no lessons can be had for carrying: it holds change up no more.
    held = {skill: gap for skill, gap in gaps.items() if skill != "carrying"}
    assert allocation.with_prerequisites(weights, held, {"change": ["carrying"]}, 0.2) == weights


@given(WEIGHTS, st.randoms(use_true_random=False))
def test_prerequisites_move_mass_and_lose_none(weights: dict[str, float], rng: Random) -> None:
    order = list("abcdefgh")
    built_on = {skill: rng.sample(order[:place], min(place, 2)) for place, skill in enumerate(order)}
    gaps = {skill: rng.random() for skill in order}
    moved = allocation.with_prerequisites(weights, gaps, built_on, 0.4)
    assert math.fsum(moved.values()) == pytest.approx(math.fsum(weights.values()))
    assert all(value >= 0 for value in moved.values())
    for skill, below in built_on.items():
        if any(gaps[one] > 0.4 for one in below):
            assert moved.get(skill, 0.0) == 0


@given(WEIGHTS, st.floats(0, 3), st.floats(0.05, 1), st.floats(0, 1), st.integers(0, 100), st.floats(0.1, 100))
def test_every_step_gives_shares(
    weights: dict[str, float], temper: float, most: float, floor: float, budget: int, fade: float
) -> None:
    shares = allocation.tempered(weights, temper)
    for found in (
        shares,
        allocation.capped(shares, most),
        allocation.fading(shares, budget, fade),
        allocation.with_floor(shares, floor),
    ):
        assert list(found) == list(weights)
        assert all(-1e-12 <= share <= 1 + 1e-9 for share in found.values())
        whole = math.fsum(found.values())
        assert whole == pytest.approx(1.0) or not any(shares.values())
    cut = allocation.capped(shares, most)
    positive = sum(share > 0 for share in shares.values())
    assert all(share <= max(most, 1 / max(1, positive)) + 1e-9 for share in cut.values())


# --- learnability -----------------------------------------------------------------------------------------------------


def test_the_first_round_puts_half_known_skills_first() -> None:
    selector = ByProfile(by="learnable")
    shares = selector.shares(pooled({"known": 0.1, "half": 0.5, "unknown": 0.9}))
    whole = 0.09 + 0.25 + 0.09
    assert shares == pytest.approx({"known": 0.09 / whole, "half": 0.25 / whole, "unknown": 0.09 / whole})


def test_learnability_by_hand() -> None:
    # Two skills with a gap of 0.5 now. One had 20 lessons at 0.9 and closed 0.4; the other had 20 at 0.5 and closed 0.
    closed = {"a": Closed(0.4, 18.0), "b": Closed(0.0, 10.0)}
    mean = 0.4 / 28
    rates = allocation.learnability({"a": 0.5, "b": 0.5, "new": 0.5}, closed, shrink=10)
    assert rates == pytest.approx({"a": (0.4 + 10 * mean) / 28, "b": (10 * mean) / 20, "new": mean})
    # Hardly any shrinking: what was measured. Much: the mean.
    sharp = allocation.learnability({"a": 0.5, "b": 0.5}, closed, shrink=1e-6)
    assert sharp == pytest.approx({"a": 0.4 / 18, "b": 0.0}, abs=1e-6)
    dull = allocation.learnability({"a": 0.5, "b": 0.5}, closed, shrink=1e9)
    assert dull == pytest.approx({"a": mean, "b": mean})


def test_a_skill_that_got_worse_is_not_taught_and_where_all_did_the_first_rule_stands() -> None:
    rates = allocation.learnability({"a": 0.5, "b": 0.5}, {"a": Closed(0.9, 10.0), "b": Closed(-0.8, 10.0)}, 1.0)
    assert rates["a"] > 0
    assert rates["b"] == 0.0
    worse = allocation.learnability({"a": 0.2, "b": 0.6}, {"a": Closed(-0.1, 10.0)}, 1.0)
    assert worse == pytest.approx({"a": 0.8 / 0.6, "b": 0.4 / 0.6})


def test_what_earlier_rounds_closed_is_read_from_their_profiles_and_lessons() -> None:
    profiles = [pooled({"a": 0.8, "b": 0.5}), pooled({"a": 0.6, "b": 0.5}), pooled({"a": 0.5, "b": 0.2})]
    lessons = [lesson(f"{n}", skill="a", index=1) for n in range(10)]
    lessons += [lesson(f"{n}", skill=skill, index=2) for skill, k in (("a", 2), ("b", 30)) for n in range(k)]
    lessons += [lesson("warm", skill="b", index=0), lesson("now", skill="b", index=3)]
    found = allocation.closed_gaps(profiles, lessons)
    assert found["a"] == pytest.approx(Closed(0.2 + 0.1, 10 * 0.8 + 2 * 0.6))
    assert found["b"] == pytest.approx(Closed(0.3, 30 * 0.5))
    # A round whose student was not kept left no lessons: it says nothing, for better or worse.
    assert allocation.closed_gaps(profiles, [one for one in lessons if one.provenance.round != 2])["a"] == (
        pytest.approx(Closed(0.2, 8.0))
    )
    assert allocation.closed_gaps(profiles[:1], lessons) == {}


def test_learnable_follows_what_was_learned_not_the_gap_alone() -> None:
    before, now = pooled({"stubborn": 0.9, "quick": 0.9}), pooled({"stubborn": 0.9, "quick": 0.5})
    earlier = [lesson(f"{s} {n}", skill=s) for s in ("stubborn", "quick") for n in range(20)]
    choice = Choice(profile=now, rng=Random(0), index=2, profiles=[before, now], earlier=earlier)
    by_gap = Counter(one.provenance.skill for one in ByProfile().select(bank(stubborn=50, quick=50), 40, choice))
    by_rate = Counter(
        one.provenance.skill for one in ByProfile(by="learnable").select(bank(stubborn=50, quick=50), 40, choice)
    )
    assert by_gap["stubborn"] > by_gap["quick"]
    assert by_rate["quick"] > by_rate["stubborn"] > 0
    gain, exposure, mean = 0.4, 18.0, 0.4 / 36
    rates = {
        "quick": (gain + 10 * mean * 0.5 / 0.3) / (exposure + 10),
        "stubborn": (10 * mean * 0.1 / 0.3) / (exposure + 10),
    }
    part = rates["quick"] * 0.5 / (rates["quick"] * 0.5 + rates["stubborn"] * 0.9)
    assert by_rate["quick"] == round(40 * part)


# --- the selector -----------------------------------------------------------------------------------------------------


def test_knobs_work_together_by_hand() -> None:
    seen = pooled({"base": 0.5, "built": 0.3, "other": 0.2})
    knobs = {"prerequisites": {"built": ["base"]}, "closed": 0.4}
    assert ByProfile(**knobs).shares(seen) == pytest.approx({"base": 0.8, "built": 0.0, "other": 0.2})
    assert ByProfile(**knobs, most=0.7).shares(seen) == pytest.approx({"base": 0.7, "built": 0.0, "other": 0.3})
    assert ByProfile(**knobs, temper=0).shares(seen) == pytest.approx({"base": 0.5, "built": 0.0, "other": 0.5})
    assert ByProfile(**knobs, temper=0, floor=0.3).shares(seen) == pytest.approx(
        {"base": 0.45, "built": 0.1, "other": 0.45}
    )
    # No candidate aims at base: built keeps what it has.
    choice = Choice(profile=seen, rng=Random(0))
    chosen = ByProfile(**knobs).select(bank(built=50, other=50), 10, choice)
    assert Counter(one.provenance.skill for one in chosen) == {"built": 6, "other": 4}


def test_a_skill_that_nothing_was_tried_of_holds_nothing_up() -> None:
    seen = profile({"base": (0, 0), "built": (20, 10), "other": (20, 10)})
    assert ByProfile(prerequisites={"built": ["base"]}).shares(seen)["built"] > 0


def test_prerequisites_are_checked() -> None:
    with pytest.raises(ValueError, match="prerequisites: skills build on each other in a circle: a on b on a"):
        ByProfile(prerequisites={"a": ["b"], "b": ["a"]})
    with pytest.raises(InputError, match=r"select.prerequisites: there is no skill 'bass'; did you mean base"):
        ByProfile(prerequisites={"built": ["bass"]}).shares(pooled({"base": 0.5, "built": 0.5}))


@pytest.mark.parametrize(
    "knobs", [{"temper": -1}, {"most": 0}, {"most": 1.1}, {"fade": -1}, {"shrink": 0}, {"closed": 2}]
)
def test_knobs_out_of_range_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="temper and fade must be at least 0"):
        ByProfile(**knobs)  # pyright: ignore[reportArgumentType]


def test_replay_shares_by_hand() -> None:
    was = profile({"a": (10, 2), "b": (10, 5), "c": (10, 10)})
    now = profile({"a": (10, 5), "b": (10, 4), "c": (10, 10)})
    choice = Choice(profile=now, rng=Random(0), profiles=[was, now])
    assert ByProfile().replay_shares(choice) == {}
    assert ByProfile(replay_by="known").replay_shares(choice) == pytest.approx({"a": 5 / 11, "b": 6 / 11, "c": 0.0})
    assert ByProfile(replay_by="slipping").replay_shares(choice) == pytest.approx({"a": 1.0, "b": 0.0, "c": 0.0})
    calm = Choice(profile=now, rng=Random(0), profiles=[now])
    assert ByProfile(replay_by="slipping").replay_shares(calm) == {}  # nothing slipped: every skill alike
    with pytest.raises(ValueError, match="replay_by must be one of even, known, slipping"):
        ByProfile(replay_by="best")  # pyright: ignore[reportArgumentType]


@given(
    st.sampled_from(["gap", "count", "learnable"]), st.floats(0, 3), st.floats(0.1, 1), st.floats(0, 50),
    st.floats(0, 1), st.integers(0, 90), st.integers(0, 999),
)  # fmt: skip
def test_whatever_the_knobs_the_budget_is_spent_and_no_row_stands_twice(
    by: str, temper: float, most: float, fade: float, floor: float, budget: int, seed: int
) -> None:
    selector = ByProfile(by=by, temper=temper, most=most, fade=fade, floor=floor, prerequisites={"b": ["a"]})  # pyright: ignore[reportArgumentType]
    candidates = bank(a=30, b=20, c=20)
    was, now = profile(SEEN), profile({**SEEN, "a": (30, 12)})

    def choose() -> list[Lesson]:
        choice = Choice(profile=now, rng=Random(seed), index=2, profiles=[was, now], earlier=bank(a=9, c=3))
        return selector.select(candidates, budget, choice)

    chosen = choose()
    assert len(chosen) == len({one.id for one in chosen}) == min(budget, 70)
    assert {one.id for one in chosen} <= {one.id for one in candidates}
    assert chosen == choose()
    part = Counter(one.provenance.skill for one in chosen)
    for one in chosen:
        of_skill = {"a": 30, "b": 20, "c": 20}[one.provenance.skill or ""]
        assert one.share == pytest.approx(part[one.provenance.skill] / of_skill)
        assert msgspec.structs.replace(one, share=None) in candidates


def test_allocation_of_the_demo_is_as_even_as_whole_numbers_are() -> None:
    assert allocate({"a": 10, "b": 10, "c": 10}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}, 10) == {"a": 4, "b": 3, "c": 3}
