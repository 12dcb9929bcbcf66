"""Skill-matched examples in the prompt: which are kept, and what a question is then shown."""

from pathlib import Path

import pytest

from lessons.errors import RoundError
from loops.methods.skill_labelling import SkillLabelling
from students.memory import Recall
from tests.loops.memory_methods import attempt, problem, teach

SUMS = [problem(f"Add {n} and {n + 1} plums.", str(2 * n + 1), "adding") for n in range(9)]
TIMES = [problem(f"How many hours are {n} days?", str(24 * n), "units", "adding") for n in range(9)]
BARE = problem("Add 90 and 91 plums.", "181")


def test_each_skill_keeps_its_exemplars_and_nothing_is_asked_or_taught(tmp_path: Path) -> None:
    pool = [*SUMS, *TIMES, BARE]
    lessons, round_, asked = teach(
        SkillLabelling(shown=2, exemplars=3), {}, [attempt(SUMS[0], "?", "adding")], tmp_path, problems=pool
    )
    assert (lessons, asked) == ([], [])
    (memory,) = round_.remembered
    assert len({one.problem for one in memory.demonstrations}) == len(memory.demonstrations)
    assert sum("units" in one.skills for one in memory.demonstrations) >= 3
    assert 3 <= len(memory.demonstrations) <= 6  # three of each skill; a problem of both may be drawn twice
    assert BARE.question not in {one.question for one in memory.demonstrations}
    assert all(one.completion.startswith("So it is.\nAnswer: ") for one in memory.demonstrations)


def test_a_new_question_is_shown_k_examples_of_its_skill_without_its_label(tmp_path: Path) -> None:
    pool = [*SUMS, *(problem(p.question, p.answer or "", "units") for p in TIMES)]
    _, round_, _ = teach(
        SkillLabelling(shown=3, exemplars=0), {}, [attempt(SUMS[0], "?", "adding")], tmp_path, problems=pool
    )
    recall = Recall(round_.remembered[0])
    assert len(round_.remembered[0].demonstrations) == 18
    for question, skill in (("Add 50 and 70 plums.", "adding"), ("How many hours are 77 days?", "units")):
        assert [one.skills for one in recall.demonstrations(question)] == [(skill,)] * 3


def test_a_problem_of_the_round_is_not_shown_its_own_answer(tmp_path: Path) -> None:
    _, round_, _ = teach(
        SkillLabelling(shown=9, exemplars=0), {}, [attempt(SUMS[0], "?", "adding")], tmp_path, problems=SUMS
    )
    shown = Recall(round_.remembered[0]).demonstrations(SUMS[4].question)
    assert len(shown) == 8
    assert SUMS[4].question not in {one.question for one in shown}


def test_the_same_round_draws_the_same(tmp_path: Path) -> None:
    rounds = [
        teach(SkillLabelling(exemplars=4), {}, [attempt(SUMS[0], "?", "adding")], tmp_path, problems=[*SUMS, *TIMES])[1]
        for _ in range(2)
    ]
    assert rounds[0].remembered == rounds[1].remembered


def test_without_labels_there_is_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(RoundError, match="no problem of the pool has a skill and a reference: give the task skills"):
        teach(SkillLabelling(), {}, [attempt(BARE, "?", "adding")], tmp_path, problems=[BARE])
