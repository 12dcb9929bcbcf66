"""The demo's task: parts without a common problem, the same on every machine, every reference right."""

import pytest

from lessons.demo.skills import SKILLS, solve
from lessons.errors import GradeError, InputError
from lessons.records import Problem
from loops.plugins import build
from loops.tasks.base import Split
from loops.tasks.skills_demo import DEFAULT_SKILLS, SkillsDemo


def parts(split: Split) -> list[tuple[Problem, ...]]:
    return [split.train, split.held_out, split.gate, split.warm_up]


def test_the_parts_have_the_sizes_asked_for_and_share_nothing() -> None:
    task = SkillsDemo(skills=tuple(SKILLS), train=60, held_out=50, gate=40, warm_up=5)
    split = task.split(7)
    assert [len(part) // len(SKILLS) for part in parts(split)] == [60, 50, 40, 5]
    every = [problem for part in parts(split) for problem in part]
    assert len({problem.question for problem in every}) == len({problem.id for problem in every}) == len(every)
    facts = {(worked.skill, worked.facts) for worked in (solve(problem.question) for problem in every) if worked}
    assert len(facts) == len(every)  # nor the same numbers in other words


def test_the_skills_take_turns() -> None:
    task = SkillsDemo()
    split = task.split(0)
    assert (len(split.train), len(split.held_out), len(split.gate)) == (8 * 24, 8 * 30, 0)
    assert [problem.skills[0] for problem in split.train[:16]] == [*DEFAULT_SKILLS, *DEFAULT_SKILLS]


def test_a_seed_gives_one_split() -> None:
    task = SkillsDemo(train=5, held_out=5)
    assert task.split(1) == task.split(1)
    one, other = ({p.question for p in task.split(seed).train} for seed in (1, 2))
    assert len(one & other) <= 5  # another draw; chance may repeat a few


def test_more_training_problems_leave_the_exam_as_it_was() -> None:
    small, large = SkillsDemo(train=5).split(0), SkillsDemo(train=50, gate=9, warm_up=3).split(0)
    assert small.held_out == large.held_out


def test_every_reference_is_graded_as_right() -> None:
    task = SkillsDemo(skills=tuple(SKILLS), train=10, held_out=10)
    for problem in task.split(3).train:
        assert task.grader.grade(problem, task.reference(problem)).score == 1.0
        assert problem.solution == task.reference(problem)
        assert task.grader.grade(problem, f"Answer: {problem.answer}0").score == 0.0
        with pytest.raises(GradeError):
            task.grader.grade(Problem(question=problem.question), task.reference(problem))


def test_a_reference_for_problems_of_others() -> None:
    task = SkillsDemo()
    assert task.reference(Problem(question="Why?", answer="so")) == "Answer: so"
    assert task.reference(Problem(question="Why?", solution="Because.\nAnswer: so")) == "Because.\nAnswer: so"
    with pytest.raises(InputError, match="neither"):
        task.reference(Problem(question="Why?"))


def test_a_mapping_warms_up_skill_by_skill() -> None:
    split = SkillsDemo(train=1, held_out=1, warm_up={"clock": 3, "units": 1}).split(0)
    assert [problem.skills[0] for problem in split.warm_up] == ["units", "clock", "clock", "clock"]
    with pytest.raises(InputError, match="task.warm_up: 'clocks' is no skill"):
        SkillsDemo(warm_up={"clocks": 3})
    with pytest.raises(InputError, match="leave it out"):
        SkillsDemo(warm_up={"clock": 3}, warm_up_skills=("units",))
    with pytest.raises(InputError, match="at least 0"):
        SkillsDemo(warm_up={"clock": -1})


def test_only_the_skills_named_are_warmed_up() -> None:
    split = SkillsDemo(train=3, held_out=3, warm_up=4, warm_up_skills=("clock", "units")).split(0)
    assert sorted(problem.skills[0] for problem in split.warm_up) == ["clock"] * 4 + ["units"] * 4
    assert len(split.train) == 8 * 3


def test_the_catalogue_is_closed_and_described() -> None:
    catalog = SkillsDemo(skills=("units", "clock")).catalog([])
    assert catalog.names == ("units", "clock")
    assert all(skill.description for skill in catalog.skills)


def test_the_instruction_is_short() -> None:
    assert len(SkillsDemo().instruction.split()) < 20


@pytest.mark.parametrize(
    ("knobs", "complaint"),
    [
        ({"skills": ("carying",)}, "did you mean carrying"),
        ({"skills": ("juggling with fire",)}, "known: averages, borrowing"),
        ({"skills": ()}, "at least one skill"),
        ({"skills": ("units", "units")}, "twice"),
        ({"train": 0}, "at least 1"),
        ({"held_out": 0}, "at least 1"),
        ({"gate": -1}, "at least 0"),
        ({"warm_up": -1}, "at least 0"),
        ({"warm_up_skills": ("sorting",)}, "'sorting' is no skill of task.skills"),
    ],
)
def test_wrong_knobs_are_refused(knobs: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        build("task", {"id": "skills_demo", **knobs}, where="task")


def test_a_skill_that_is_used_up_is_named() -> None:
    with pytest.raises(InputError, match="'remainders' has only about"):
        SkillsDemo(skills=("remainders",), train=2000).split(0)


def test_it_is_a_plugin() -> None:
    assert build("task", {"id": "skills_demo", "skills": ["units"], "train": 3}, where="task") == SkillsDemo(
        skills=("units",), train=3
    )
