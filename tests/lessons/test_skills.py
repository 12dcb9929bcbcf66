import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.records import Attempt, Problem
from lessons.skills import Skill, SkillCatalog, SkillProfile, SkillRow, by_skill


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
    assert profile.rows == {
        "spelling": SkillRow(attempts=0, right=0, failures=0, missing=0),
        "ratio": SkillRow(attempts=3, right=1, failures=2, missing=2),
        "units": SkillRow(attempts=2, right=2, failures=0, missing=1),
        "clock": SkillRow(attempts=0, right=0, failures=0, missing=1),
    }
    assert profile.ungraded == 1
    assert profile.gap("ratio") == pytest.approx(2 / 3)
    assert profile.gap("units") == 0.5
    assert profile.gap("clock") == 1.0  # missed, and never examined
    assert profile.gap("spelling") == 0.0
    assert profile.gap("unheard of") == 0.0
    assert profile.worst(2) == ["clock", "ratio"]
    assert profile.shares() == pytest.approx({"spelling": 0, "ratio": 0.5, "units": 0.25, "clock": 0.25})
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


@given(st.lists(st.builds(attempt, some, st.none() | st.floats(0, 1), some), max_size=20))
def test_profile_invariants(attempts: list[Attempt]) -> None:
    profile = SkillProfile.of(attempts)
    for row in profile.rows.values():
        assert row.attempts == row.right + row.failures
        assert 0 <= row.gap <= 1
    shares = profile.shares()
    missed = any(a.failed and a.missing for a in attempts)
    assert math.isclose(sum(shares.values()), 1.0 if missed else 0.0)
    assert profile.ungraded == sum(a.score is None for a in attempts)


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
