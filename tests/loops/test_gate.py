import pytest

from lessons.records import Attempt, Problem
from loops.gate import compare, judge, sum_up


def attempts(student: str, scores: list[float | None], skill: str = "s") -> list[Attempt]:
    return [
        Attempt(
            problem=Problem(question=f"{skill} {i}", answer="1", skills=(skill,)), student=student, text="t", score=s
        )
        for i, s in enumerate(scores)
    ]


def test_compare_pairs_by_problem_and_leaves_ungraded_out() -> None:
    change = compare(attempts("a", [0, 0, 1, 1, None, 0]), attempts("b", [1, 1, 0, 1, 1, None]))
    assert (change.n, change.gained, change.lost) == (4, 2, 1)
    assert change.difference == pytest.approx(0.25)
    assert change.low < 0.25 < change.high


def test_order_does_not_matter() -> None:
    before, after = attempts("a", [0, 1, 0, 1]), attempts("b", [1, 1, 1, 0])
    assert compare(before, after) == compare(list(reversed(before)), after)


def test_partial_scores_are_not_right() -> None:
    assert compare(attempts("a", [0.5]), attempts("b", [1.0])).gained == 1


def test_sum_up_counts_and_corrects_over_skills() -> None:
    before = attempts("a", [0] * 10, "x") + attempts("a", [1] * 10, "y")
    after = attempts("b", [1] * 10, "x") + attempts("b", [1] * 10, "y")
    metrics = sum_up(1, "b", after, skills=("x", "y", "z"), before=before, start=before)
    assert (metrics.n, metrics.right, metrics.accuracy) == (20, 20, 1.0)
    assert list(metrics.skills) == ["x", "y", "z"]
    # ten gained and none lost: exact p = 2 / 2**10; Holm over three skills multiplies the smallest by three
    change = metrics.skills["x"].change
    assert change is not None
    assert change.p == pytest.approx(3 * 2 / 2**10)
    assert metrics.change is not None
    assert metrics.change.p == pytest.approx(2 / 2**10)
    assert metrics.skills["z"].row.attempts == 0


@pytest.mark.parametrize(
    ("gained", "lost", "rule", "kept"),
    [
        (30, 5, "significant", True),
        (6, 3, "significant", False),
        (6, 3, "better", True),
        (3, 3, "better", False),
        (2, 9, "better", False),
        (2, 9, "always", True),
    ],
)
def test_gate_never_promotes_on_noise(gained: int, lost: int, rule: str, kept: bool) -> None:
    before = attempts("a", [0] * gained + [1] * lost)
    after = attempts("b", [1] * gained + [0] * lost)
    promoted, why = judge(compare(before, after), rule=rule, alpha=0.05)
    assert promoted is kept
    assert f"{gained} gained, {lost} lost" in why
