"""Teacher against grader: four cells, two shares, kappa."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lessons.records import Attempt, Diagnosis, Problem
from loops.diagnosis.verdicts import Verdicts

cells = st.integers(0, 40)


def attempts(confirmed: int, excused: int, false_alarms: int, passed: int, unchecked: int = 0) -> list[Attempt]:
    kinds = [(0.0, "wrong"), (0.0, "right"), (1.0, "wrong"), (1.0, "right"), (1.0, None)]
    return [
        Attempt(
            problem=Problem(question=f"{score} {verdict} {number}"),
            student="s",
            text="",
            score=score,
            diagnosis=Diagnosis(by="teacher", verdict=verdict) if verdict else None,
        )
        for (score, verdict), count in zip(
            kinds, (confirmed, excused, false_alarms, passed, unchecked), strict=True
        )
        for number in range(count)
    ]  # fmt: skip


@given(cells, cells, cells, cells, cells)
def test_every_judged_attempt_is_in_one_cell(a: int, b: int, c: int, d: int, more: int) -> None:
    found = Verdicts.of(attempts(a, b, c, d, more))
    assert (found.confirmed, found.excused, found.false_alarms, found.passed) == (a, b, c, d)
    assert found.right == c + d + more
    assert sum(found.counts().values()) == a + b + c + d
    on_failures, on_right = found.shares
    assert on_failures == (a / (a + b) if a + b else None)
    assert on_right == (d / (c + d) if c + d else None)
    assert found.kappa is None or found.kappa <= 1


@given(cells, cells, cells, cells)
def test_kappa_is_cohens_own_where_all_right_attempts_were_checked(a: int, b: int, c: int, d: int) -> None:
    n = a + b + c + d
    found = Verdicts.of(attempts(a, b, c, d)).kappa
    if not a + b or not c + d:
        assert found is None
        return
    observed = (a + d) / n
    by_chance = (a + b) * (a + c) / n**2 + (c + d) * (b + d) / n**2
    assert found == pytest.approx((observed - by_chance) / (1 - by_chance))


def test_a_sample_of_the_right_ones_stands_for_all() -> None:
    """10 of 100 right attempts were checked, 1 of them a false alarm: as if 10 of 100 had been."""
    few = Verdicts.of(attempts(80, 20, 1, 9, 90)).kappa
    every = Verdicts.of(attempts(80, 20, 10, 90)).kappa
    assert few == pytest.approx(every)
    assert Verdicts.of(attempts(80, 20, 1, 9)).kappa != pytest.approx(every)


def test_perfect_and_chance_agreement() -> None:
    assert Verdicts.of(attempts(30, 0, 0, 70)).kappa == pytest.approx(1)
    assert Verdicts.of(attempts(25, 25, 25, 25)).kappa == pytest.approx(0)
    assert Verdicts.of(attempts(30, 0, 70, 0)).kappa == pytest.approx(0)


def test_what_nobody_graded_is_left_out() -> None:
    unsure = Attempt(problem=Problem(question="q"), student="s", text="", diagnosis=Diagnosis(by="t", verdict="wrong"))
    assert Verdicts.of([unsure]) == Verdicts()
