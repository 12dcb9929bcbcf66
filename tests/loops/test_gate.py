import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.records import Attempt, Problem
from lessons.statistics import mcnemar, wilson
from loops.exams.gate import compare, judge, sum_up


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
    change = compare(attempts("a", [0.5]), attempts("b", [1.0]))
    assert (change.gained, change.difference, change.test) == (1, 0.5, "paired bootstrap")
    metrics = sum_up(0, "a", attempts("a", [0.5, 1.0, 0.0, 1.0]), skills=("s",))
    assert (metrics.right, metrics.accuracy, metrics.score) == (2, 0.5, 0.625)
    assert metrics.skills["s"].row.score == 0.625


def samples(student: str, scores: list[list[float]]) -> list[Attempt]:
    return [
        msgspec.structs.replace(attempt, sample=sample, problem=Problem(question=f"s {i}", answer="1", skills=("s",)))
        for i, of_problem in enumerate(scores)
        for sample, attempt in enumerate(attempts(student, list(of_problem)))
    ]


def test_several_samples_are_compared_by_problem_not_by_sample() -> None:
    # two problems of eight went from never to always right; six samples each are no 12 independent gains
    before = samples("a", [[0.0] * 6] * 8)
    after = samples("b", [[1.0] * 6] * 2 + [[0.0] * 6] * 6)
    change = compare(before, after)
    assert (change.n, change.gained, change.lost, change.difference) == (8, 2, 0, 0.25)
    assert change.test == "paired bootstrap"
    assert change.low < 0 < change.high
    assert change.p > 0.05 > mcnemar(12, 0)
    metrics = sum_up(1, "b", after, skills=("s",), before=before, start=before)
    assert (metrics.low, metrics.high) == pytest.approx(wilson(2, 8))  # the samples of a problem all agree
    assert metrics.passes == {1: 0.25, 2: 0.25, 4: 0.25, 6: 0.25}
    assert metrics.score is None


def test_mcnemars_is_used_for_right_and_wrong_with_one_sample() -> None:
    change = compare(attempts("a", [0, 0, 1]), attempts("b", [1, 1, 0]))
    assert (change.test, change.p) == ("McNemar exact", mcnemar(2, 1))
    # of two samples one could not be graded: one is left for each student
    twice = [*attempts("a", [0.0]), msgspec.structs.replace(attempts("a", [None])[0], sample=1)]
    assert compare(twice, attempts("b", [1.0])).test == "McNemar exact"


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.4, 1.0]), st.sampled_from([0.0, 0.4, 1.0])), max_size=12))
@settings(max_examples=30, deadline=None)
def test_a_loss_is_told_exactly_as_a_gain(pairs: list[tuple[float, float]]) -> None:
    one, two = attempts("a", [x for x, _ in pairs]), attempts("b", [y for _, y in pairs])
    up, down = compare(one, two), compare(two, one)
    assert (up.n, up.gained, up.lost, up.test) == (down.n, down.lost, down.gained, down.test)
    assert (up.difference, up.low, up.high) == pytest.approx((-down.difference, -down.high, -down.low))
    assert up.p == pytest.approx(down.p)


def test_the_gate_goes_by_the_mean_score_where_scores_are_graded() -> None:
    before, after = attempts("a", [0.9, 0.1, 0.1, 0.1]), attempts("b", [0.0, 0.2, 0.2, 0.2])
    change = compare(before, after)
    assert (change.gained, change.lost) == (3, 1)
    promoted, why = judge(change, rule="better", alpha=0.05)
    assert not promoted
    assert "mean score -15.0 points by paired bootstrap" in why
    assert judge(compare(after, before), rule="better", alpha=0.05)[0]


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
