import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.pooling import Pooled, pool
from lessons.records import Attempt, Diagnosis, Problem
from lessons.skills import Skill, SkillCatalog, SkillProfile, SkillRow, by_skill
from lessons.statistics import wilson


def attempt(skills: tuple[str, ...], score: float | None, missing: tuple[str, ...] = ()) -> Attempt:
    problem = Problem(question=f"{skills} {score} {missing}", answer="1", skills=skills)
    return Attempt(problem=problem, student="s", text="t", score=score, missing=missing)


WORKED = [
    attempt(("ratio", "units"), 1.0),
    attempt(("ratio",), 0.0, ("ratio", "units")),  # lacked a skill that the problem was not labelled with
    attempt(("ratio",), 0.5, ("ratio",)),  # half right is failed
    attempt(("units",), 1.0, ("units",)),  # right: what it is said to lack does not count
    attempt(("units",), None, ("units",)),  # the grader could not tell
    attempt((), 0.0, ("clock",)),
]


def test_profile_worked_by_hand() -> None:
    profile = SkillProfile.of(WORKED, ("spelling",))
    assert {name: msgspec.structs.replace(row, pooled=None) for name, row in profile.rows.items()} == {
        "spelling": SkillRow(attempts=0, right=0, failures=0, missing=0, lacking=0.0, trials=0.0),
        "ratio": SkillRow(attempts=3, right=1, failures=2, missing=2, problems=3, score=0.5, lacking=2.0, trials=3.0),
        # one attempt lacked it at a problem that is not labelled with it: that is one trial more
        "units": SkillRow(attempts=2, right=2, failures=0, missing=1, problems=2, score=1.0, lacking=1.0, trials=3.0),
        "clock": SkillRow(attempts=0, right=0, failures=0, missing=1, lacking=1.0, trials=1.0),
    }
    assert (profile.ungraded, profile.missed, profile.formless) == (1, 3, 0)
    assert profile.gap("ratio") == pytest.approx(2 / 3)
    assert profile.gap("units") == 0.5
    assert profile.gap("clock") == 1.0  # missed, and never examined
    assert profile.gap("spelling") == 0.0
    assert profile.gap("unheard of") == 0.0
    assert profile.worst(2) == ["clock", "ratio"]
    assert profile.worst(4) == ["clock", "ratio", "units", "spelling"]  # nothing was tried of the last
    assert profile.shares("count") == pytest.approx({"spelling": 0, "ratio": 0.5, "units": 0.25, "clock": 0.25})
    by_gap, pooled = profile.shares(), profile.pooled()
    tried = ("ratio", "units", "clock")
    whole = sum(pooled[skill].gap for skill in tried)
    assert by_gap == pytest.approx({"spelling": 0.0, **{skill: pooled[skill].gap / whole for skill in tried}})
    assert profile.mastered() == ["units"]
    assert profile.mastered(0.3) == ["units", "ratio"]
    assert profile.rows["ratio"].accuracy == pytest.approx(1 / 3)
    assert profile.rows["spelling"].accuracy is None
    assert profile.rows["spelling"].interval == (0.0, 1.0)


def test_an_empty_profile_has_no_shares() -> None:
    assert SkillProfile.of([]).shares() == {}
    assert set(SkillProfile.of([attempt(("a",), 1.0)]).shares().values()) == {0.0}


names = st.sampled_from(["a", "b", "c", "d"])
some = st.lists(names, max_size=3, unique=True).map(tuple)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.builds(attempt, some, st.none() | st.floats(0, 1), some), max_size=20))
def test_profile_invariants(attempts: list[Attempt]) -> None:
    profile = SkillProfile.of(attempts)
    for row in profile.rows.values():
        assert row.attempts == row.right + row.failures
        assert 0 <= row.gap <= 1
    assert profile.ungraded == sum(a.score is None for a in attempts)
    shares = profile.shares()
    missed = any(a.failed and a.missing for a in attempts)
    assert math.isclose(sum(shares.values()), 1.0 if missed else 0.0)
    assert math.isclose(sum(profile.shares("count").values()), 1.0 if missed else 0.0)
    for row in profile.rows.values():
        assert 0 <= row.lacked <= row.tried
        assert (row.pooled is not None) == missed
    # each skill that a missed attempt was said to lack is a whole count, or two halves where it is contested
    assert math.isclose(
        sum(row.lacked for row in profile.rows.values()), sum(worth(a) for a in attempts if a.failed), abs_tol=1e-9
    )


def worth(attempt: Attempt) -> float:
    named, needed = set(attempt.missing), set(attempt.problem.skills)
    return (len(named) + len(needed)) / 2 if named and needed and not named & needed else len(named)


def diagnosed(error: str | None, missing: tuple[str, ...] = (), score: float = 0.0, number: int = 0) -> Attempt:
    problem = Problem(question=f"{number}", answer="1", skills=("ratio",))
    found = Diagnosis(by="teacher", error=error)
    return Attempt(problem=problem, student="s", text=f"{error}", score=score, missing=missing, diagnosis=found)


def test_failures_of_form_are_no_gap_and_no_trial_and_are_counted_apart() -> None:
    attempts = [
        diagnosed("format", number=0),
        diagnosed("truncated", number=1),
        diagnosed("format", ("ratio",), number=2),  # taken for a gap of the skill all the same
        diagnosed("wrong plan", ("ratio",), number=3),
        diagnosed(None, ("ratio",), number=4),
    ]
    profile = SkillProfile.of(attempts)
    row = profile.rows["ratio"]
    assert (row.attempts, row.failures, row.formless, row.missing, row.lacking, row.trials) == (5, 5, 2, 3, 3.0, 3.0)
    assert (profile.missed, profile.formless) == (5, 2)
    assert profile.errors == {"format": 2, "wrong plan": 1, "truncated": 1}


def test_diagnosis_and_labels_that_contradict_each_other_count_half_each() -> None:
    row = {
        name: (row.lacking, row.trials, row.missing)
        for name, row in SkillProfile.of([attempt(("a", "b"), 0.0, ("c",)), attempt(("a",), 1.0)]).rows.items()
    }
    assert row == {"a": (0.5, 2.0, 0), "b": (0.5, 1.0, 0), "c": (0.5, 0.5, 1)}


def test_the_interval_reaches_as_far_as_what_is_contested_allows() -> None:
    attempts = [attempt(("a",), float(number > 6), ("b",) if number < 4 else ("a",)) for number in range(16)]
    attempts += [attempt(("b",), float(number > 2), ("b",)) for number in range(16)]
    attempts = [
        msgspec.structs.replace(one, problem=msgspec.structs.replace(one.problem, question=f"{number}"))
        for number, one in enumerate(attempts)
    ]
    found = SkillProfile.of(attempts).rows["a"]
    # four of the seven failures are said to lack b: either three of 16 lacked a, or seven, and b 7 of 20 or 3 of 16
    half, least, most = (pool((a, b), (16.0, n)) for a, b, n in ((5.0, 5.0, 18.0), (3.0, 7.0, 20.0), (7.0, 3.0, 16.0)))
    assert found.pooled == Pooled(gap=half[0].gap, low=least[0].low, high=most[0].high)


def test_process_rewards_say_what_is_missed_also_where_nothing_is_graded() -> None:
    easy = msgspec.structs.replace(attempt(("a",), None), difficult=False)
    hard = msgspec.structs.replace(attempt(("a", "b"), None, ("a",)), difficult=True)
    profile = SkillProfile.of([easy, hard])
    assert {name: (row.attempts, row.lacking, row.trials) for name, row in profile.rows.items()} == {
        "a": (0, 1.0, 2.0),
        "b": (0, 0.0, 1.0),
    }
    assert (profile.missed, profile.ungraded) == (1, 2)


def test_several_samples_give_pass_at_k_and_wider_intervals() -> None:
    attempts = [
        msgspec.structs.replace(
            attempt(("a",), float(number < 8), () if number < 8 else ("a",)),
            problem=Problem(question=f"{number}", answer="1", skills=("a",)), sample=sample,
        )
        for number in range(16)
        for sample in range(4)
    ]  # fmt: skip
    row = SkillProfile.of(attempts).rows["a"]
    assert (row.attempts, row.problems, row.passes) == (64, 16, {1: 0.5, 2: 0.5, 4: 0.5})
    # samples that always agree say as much as one: four samples of 16 problems are 16 attempts
    assert (row.design, row.effective) == (4.0, 16.0)
    assert row.interval == pytest.approx(wilson(8, 16))
    assert row.pooled == pool((8.0,), (16.0,))[0]
    assert row.pass_interval(4) == pytest.approx(wilson(8, 16))


def test_partial_scores_make_a_mean_score() -> None:
    row = SkillProfile.of([attempt(("a",), score) for score in (0.25, 0.5, 1.0)]).rows["a"]
    assert (row.score, row.right) == (pytest.approx(7 / 12), 1)
    assert row.score_interval == pytest.approx(wilson(7 / 4, 3))


def test_a_skill_of_three_attempts_does_not_take_the_budget() -> None:
    often = {f"skill {place}": (60, 24) for place in range(5)}
    rows = {
        name: SkillRow(attempts=n, right=n - k, failures=k, missing=k)
        for name, (n, k) in {**often, "seldom": (3, 3)}.items()
    }
    profile = SkillProfile(rows=rows)
    assert profile.rows["seldom"].gap == 1.0
    assert profile.shares()["seldom"] < 0.25 < 1 / (1 + 5 * 0.4)  # what the raw gaps would give it
    low, high = profile.pooled()["seldom"].low, profile.pooled()["seldom"].high
    assert high - low > 0.3


def test_profiles_from_before_gaps_were_pooled_stay_readable() -> None:
    old = b"""{"rows": {"a": {"attempts": 4, "right": 1, "failures": 3, "missing": 3},
        "b": {"attempts": 0, "right": 0, "failures": 0, "missing": 2}}, "ungraded": 1}"""
    profile = msgspec.json.decode(old, type=SkillProfile)
    assert profile.shares("count") == pytest.approx({"a": 0.6, "b": 0.4})
    assert profile.pooled() == dict(zip("ab", pool((3.0, 2.0), (4.0, 2.0)), strict=True))
    assert msgspec.json.decode(msgspec.json.encode(profile), type=SkillProfile) == profile
    new = SkillProfile.of([attempt(("a",), 0.0, ("a",)), attempt(("a",), 1.0)])
    assert msgspec.json.decode(msgspec.json.encode(new), type=SkillProfile) == new


CATALOG = SkillCatalog(
    skills=(
        Skill(name="Unit conversion", subject="measures"),
        Skill(name="multi-step_change"),
        Skill(name="C++", subject="code"),
    )
)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("Unit conversion", "Unit conversion"),
        ("  unit_CONVERSION. ", "Unit conversion"),
        ("**unit-conversion**", "Unit conversion"),
        ("'Multi step change'", "multi-step_change"),
        ("c++", "C++"),
        ("unit conversions", None),
        ("unit", None),
        ("", None),
        ("...", None),
    ],
)
def test_the_list_is_closed(written: str, name: str | None) -> None:
    assert CATALOG.match(written) == name


@given(st.text())
def test_a_match_is_always_a_name_of_the_list(written: str) -> None:
    assert CATALOG.match(written) in (None, *CATALOG.names)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5))
def test_every_name_matches_itself(written: list[str]) -> None:
    catalog = SkillCatalog.of_names(written)
    for name in written:
        found = catalog.match(name)
        assert found in catalog.names


def test_subjects() -> None:
    assert [s.name for s in CATALOG.of_subject("code")] == ["multi-step_change", "C++"]
    assert CATALOG.of_subject("") == CATALOG.skills


def test_catalogue_of_problems_is_sorted_and_by_skill_keeps_order() -> None:
    one = Problem(question="1", skills=("b", "a"))
    two = Problem(question="2", skills=("a",))
    assert SkillCatalog.of_problems([one, two]).names == ("a", "b")
    assert by_skill([two, one]) == {"a": [two, one], "b": [one]}
    assert SkillCatalog.of_names(["x", "y", "x"]).names == ("x", "y")
