"""Methods that learn from the student's own answers, and rewriting ones, through the whole loop with a real student."""

import json
from pathlib import Path
from typing import Any

import pytest

from lessons.jsonl import read_jsonl
from lessons.records import Lesson
from loops.recipe import resolve
from loops.run import Run

DEMO: dict[str, Any] = {
    "task": {"id": "skills_demo", "train": 2, "held_out": 1, "skills": ["carrying", "units"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 12, "temperature": 1.0}, "adapter": {"rank": 2}},
    "teacher": {"kind": "rule_tutor"},
    "select": {"id": "uniform", "replay": 0.0},
    "train": {"epochs": 1},
    "examine": {"noise": False},
    "diagnose": {"by": "needed", "form": "skill"},
    "gate": {"rule": "always"},
    "seed": 3,
}


@pytest.fixture(scope="module")
def guessing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A recipe whose student is right a third of the time: the answer is the length of its text, modulo 3."""
    path = tmp_path_factory.mktemp("task") / "lengths.jsonl"
    rows = [
        {
            "question": f"How long is number {n}?", "answer": str(n % 3), "skills": ["guessing"],
            "solution": f"It is number {n}.\nThis is its length.",
        }
        for n in range(8)
    ]  # fmt: skip
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    grader = "tests.loops.teaching:Lengths"
    return {**DEMO, "task": {"id": "jsonl", "train": str(path), "held_out": 0.25, "graded_by": grader}}


def lessons_of(path: Path, index: int = 1) -> list[Lesson]:
    return list(read_jsonl(path / f"rounds/{index:02d}/lessons.jsonl", Lesson))


def through(recipe: dict[str, Any], path: Path, method: Any, **more: Any) -> list[Lesson]:
    """Run one round to its end, and return what was trained."""
    done = Run.start(resolve({**recipe, "method": method, **more}), path).to_the_end()
    assert done[1].metrics.student != done[0].metrics.student
    return lessons_of(path)


@pytest.mark.parametrize(
    "method",
    [
        {"id": "rft", "samples": 12, "max_tokens": 12},
        {"id": "rest_em", "samples": 12, "per_problem": 2},
        {"id": "lmsi", "samples": 12, "shots": 1},
        pytest.param({"id": "gsi", "guide": "answer", "samples": 3}, marks=pytest.mark.slow),
        {"id": "gsi", "guide": "state_reset", "samples": 3},
        "s3ft",
    ],
    ids=lambda method: method if isinstance(method, str) else " ".join(map(str, method.values())),
)
def test_the_students_own_answers_become_lessons(method: Any, guessing: dict[str, Any], tmp_path: Path) -> None:
    lessons = through(guessing, tmp_path / "r", method)
    assert lessons
    assert {lesson.provenance.method for lesson in lessons} == {method if isinstance(method, str) else method["id"]}
    if method != "s3ft" and method["id"] == "rest_em":
        assert max(sum(one.problem == lesson.problem for one in lessons) for lesson in lessons) <= 2
    if method != "s3ft" and method["id"] == "gsi":
        assert all([turn["role"] for turn in lesson.prompt] == ["user"] for lesson in lessons)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("llm2llm", {}),
        ("refaug", {"student": {**DEMO["student"], "answer": {"max_tokens": 12, "stop": ["Reflection:"]}}}),
        ("eit", {}),
        ("mistake_tuning", {"filters": ["format", "duplicate"]}),
        pytest.param(
            {"id": "mistake_tuning", "wrong": "teacher"},
            {"filters": [], "teacher": {"kind": "rule_tutor", "error_rate": 1.0}, "preflight": {"problems": 0}},
            marks=pytest.mark.slow,
        ),
        ({"id": "rise", "turns": 2}, {"filters": ["duplicate"]}),
        pytest.param(
            {"id": "rise", "improver": "self", "best_of": 3}, {"filters": ["duplicate"]}, marks=pytest.mark.slow
        ),
        pytest.param({"id": "rationale", "samples": 2}, {}, marks=pytest.mark.slow),
        ({"id": "gsi", "guide": "interactive", "gold": True, "resample": 1}, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(map(str, value.values()))[:30],
)  # fmt: skip
def test_rewriting_runs_on_the_demo(method: Any, more: dict[str, Any], tmp_path: Path) -> None:
    lessons = through(DEMO, tmp_path / "r", method, **more)
    assert len(lessons) >= 4
    if method == "llm2llm":
        new = [lesson for lesson in lessons if lesson.problem.parent]
        assert len(new) == 4  # one for each seed that an untrained student misses
        assert all("verified" in {check.filter for check in lesson.checks} for lesson in new)
    if method == "mistake_tuning":
        assert sum("INCORRECT" in lesson.prompt[-1]["content"] for lesson in lessons) == 4
    if method == "refaug":
        assert all("\n\nReflection:\n" in lesson.completion for lesson in lessons)
    if isinstance(method, dict) and method["id"] == "rise":
        assert {lesson.reward for lesson in lessons} >= {0.0}


def test_a_stage_that_is_begun_again_draws_the_same(guessing: dict[str, Any], tmp_path: Path) -> None:
    method = {"id": "gsi", "guide": "state_reset", "samples": 2, "resample": 2}
    candidates = tmp_path / "r/rounds/01/candidates.jsonl"
    through(guessing, tmp_path / "r", method)
    first = candidates.read_bytes()
    for marker in (tmp_path / "r/rounds/01/.done").iterdir():
        if marker.stem not in ("examine", "diagnose"):
            marker.unlink()
    candidates.unlink()
    Run.resume(tmp_path / "r").to_the_end()
    assert candidates.read_bytes() == first


@pytest.mark.parametrize(("earlier", "again"), [(False, False), (True, True)])
def test_each_round_of_rest_em_trains_on_its_own_answers_alone(
    earlier: bool, again: bool, guessing: dict[str, Any], tmp_path: Path
) -> None:
    method = {"id": "rest_em", "samples": 12, "per_problem": 2, "earlier": earlier}
    Run.start(resolve({**guessing, "method": method, "rounds": 2}), tmp_path / "r").to_the_end()
    first = {lesson.id for lesson in lessons_of(tmp_path / "r")}
    second = lessons_of(tmp_path / "r", 2)
    assert {lesson.provenance.round for lesson in second} == ({1, 2} if again else {2})
    assert (first <= {lesson.id for lesson in second}) is again


def test_a_warm_up_is_taught_again_whatever_the_method_leaves_out(guessing: dict[str, Any], tmp_path: Path) -> None:
    method = {"id": "gsi", "guide": "answer", "samples": 3, "gold": True}
    task = {**DEMO["task"], "warm_up": 1}
    Run.start(resolve({**DEMO, "task": task, "method": method, "rounds": 2}), tmp_path / "r").to_the_end()
    second = lessons_of(tmp_path / "r", 2)
    assert {lesson.provenance.round for lesson in second} == {0, 2}


def test_reward_weighted_trains_on_the_rewards_of_rise(tmp_path: Path) -> None:
    train = {"epochs": 1, "objective": "reward_weighted"}
    lessons = through(DEMO, tmp_path / "r", {"id": "rise", "turns": 2}, filters=["duplicate"], train=train)
    assert {lesson.reward for lesson in lessons} == {0.0, 1.0}
