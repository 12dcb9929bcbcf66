"""What is replayed: right answers of the student's own, over the skills as asked, none twice."""

from collections import Counter
from random import Random

from lessons.ids import digest
from lessons.records import Attempt, Lesson, Problem
from loops.replay import replayed
from loops.selectors.base import new_rows, replay_rows
from tests.loops.selecting import attempt, bank, profile

SEEN = profile({"a": (30, 24), "b": (20, 5), "c": (12, 6), "d": (8, 0), "e": (0, 0)})
ATTEMPTS = [
    Attempt(
        problem=Problem(question=f"{skill}{number}", answer="1", skills=(skill,)),
        student="s",
        text=f"t {number}",
        score=float(number % 3 != 0),
    )
    for skill in "abcd"
    for number in range(9)
]


def replay(count: int, seed: int = 3, **more: object) -> list[Lesson]:
    known = {"attempts": ATTEMPTS, "earlier": bank(a=40, b=25, c=10, d=5), "profile": SEEN, **more}
    return replayed(count, instruction="I", index=2, rng=Random(seed), **known)  # pyright: ignore[reportArgumentType]


def skills(rows: list[Lesson]) -> dict[str | None, int]:
    return dict(Counter(one.provenance.skill for one in rows))


def test_it_is_as_it_was_before_it_could_be_shared_otherwise() -> None:
    assert digest([one.id for one in replay(20)]) == "56896d1b7c7c4dae5102197753f4509cc77f3a5c1aeb1e32a79e48fecc0f5981"
    assert digest([one.id for one in replay(60)]) == "06c8405c19cbd2f69a4d92c0ad6ec129877d43083eb06944d2a3b9104e62d8a7"


def test_right_answers_come_evenly_over_skills_and_wrong_ones_never() -> None:
    rows = replay(20)
    assert skills(rows) == {"a": 5, "b": 5, "c": 5, "d": 5}
    right = {(one.problem.question, one.text) for one in ATTEMPTS if one.right}
    assert all((row.problem.question, row.completion) in right for row in rows)
    assert {row.provenance.method for row in rows} == {"replay"}


def test_when_they_run_out_earlier_lessons_on_mastered_skills_follow() -> None:
    rows = replay(60)
    assert len(rows) == 24 + 36  # 6 right attempts of each skill; then lessons on b, c, d (accuracy from 0.5)
    assert skills(rows[24:]).keys() == {"b", "c", "d"}
    assert len(replay(500)) == 24 + 40


def test_shares_of_skills() -> None:
    assert skills(replay(10, shares={"a": 0.5, "b": 0.3, "c": 0.2, "d": 0.0})) == {"a": 5, "b": 3, "c": 2}
    # a has six alone: what it leaves goes to the others by their shares.
    assert skills(replay(12, shares={"a": 0.75, "b": 0.25, "c": 0.0})) == {"a": 6, "b": 6}
    assert replay(20, shares={}) == replay(20)


def test_no_row_stands_twice_and_none_that_is_trained_anyway() -> None:
    twice = [attempt("q", 1.0), attempt("q", 1.0), attempt("other", 1.0)]
    rows = replay(5, attempts=twice, earlier=[])
    assert len(rows) == len({row.id for row in rows}) == 2
    assert replay(5, attempts=twice, earlier=[], besides={row.id for row in rows}) == []
    known = bank(b=4)
    assert {row.id for row in replay(9, attempts=[], earlier=known, besides=[known[0].id])} == {o.id for o in known[1:]}


def test_the_share_is_of_new_and_replayed_rows_together() -> None:
    for budget, share in ((100, 0.3), (2000, 0.5), (37, 0.2)):
        new = new_rows(budget, share, 10_000)
        rows = replay_rows(new, share)
        assert abs(new + rows - budget) <= 1
        assert abs(rows / (new + rows) - share) < 1 / budget
