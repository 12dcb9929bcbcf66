from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from lessons.records import Attempt, Lesson, Problem, Provenance
from lessons.skills import SkillProfile
from loops.examining import of_round
from loops.replay import replayed

PROBLEMS = [Problem(question=f"{skill} {i}", answer="1", skills=(skill,)) for skill in "abcd" for i in range(12)]


def test_rounds_take_the_next_problems_with_every_skill_in_proportion() -> None:
    first, second = of_round(PROBLEMS, 1, 24, 0), of_round(PROBLEMS, 2, 24, 0)
    assert Counter(p.skills[0] for p in first) == Counter(p.skills[0] for p in second) == dict.fromkeys("abcd", 6)
    assert not {p.id for p in first} & {p.id for p in second}
    assert of_round(PROBLEMS, 3, 24, 0) == first  # all seen: it begins again


@given(st.integers(1, 9), st.integers(0, 60), st.integers(0, 99))
def test_a_round_never_has_a_problem_twice_and_is_the_same_for_a_seed(index: int, per_round: int, seed: int) -> None:
    chosen = of_round(PROBLEMS, index, per_round, seed)
    assert len({p.id for p in chosen}) == len(chosen) == (per_round if 0 < per_round < 48 else 48)
    assert chosen == of_round(PROBLEMS, index, per_round, seed)


def attempt(problem: Problem, score: float) -> Attempt:
    return Attempt(problem=problem, student="s", text=f"own words on {problem.question}", score=score)


def test_replay_takes_own_right_answers_evenly_over_skills() -> None:
    attempts = [attempt(p, float(p.skills[0] in "ab")) for p in PROBLEMS]
    profile = SkillProfile.of(attempts)
    rows = replayed(10, attempts=attempts, earlier=[], profile=profile, instruction="Think.", index=2, rng=Random(0))
    assert Counter(row.provenance.skill for row in rows) == {"a": 5, "b": 5}
    assert all(row.completion == f"own words on {row.problem.question}" for row in rows)
    assert all(row.provenance.method == "replay" and row.provenance.attempt for row in rows)
    assert [m["role"] for m in rows[0].prompt] == ["system", "user"]


def test_replay_falls_back_on_earlier_lessons_of_mastered_skills_only() -> None:
    right = attempt(PROBLEMS[0], 1.0)
    profile = SkillProfile.of([right, *[attempt(p, 0.0) for p in PROBLEMS if p.skills[0] == "b"]])
    earlier = [
        Lesson(
            prompt=(),
            completion=f"{skill} {i}",
            problem=PROBLEMS[0],
            provenance=Provenance(method="m", round=1, skill=skill),
        )
        for skill in "ab"
        for i in range(3)
    ]
    rows = replayed(9, attempts=[right], earlier=earlier, profile=profile, instruction="", index=2, rng=Random(0))
    assert sorted(row.completion for row in rows) == ["a 0", "a 1", "a 2", "own words on a 0"]
