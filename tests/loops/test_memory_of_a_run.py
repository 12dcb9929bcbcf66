"""A student's memory through the whole loop: written, learned with, examined, kept or rejected, resumed, looked at."""

import json
from pathlib import Path
from typing import Any

import pytest

from lessons.errors import InputError, RoundError
from lessons.ids import content_id
from lessons.jsonl import read_jsonl
from lessons.memory import Memory
from lessons.records import Attempt, Dropped, Lesson
from loops import history
from loops.export.student import export_student
from loops.recipe import resolve
from loops.records import STAGES, RoundLearned
from loops.run import Run
from loops.store import read_record
from loops.views.show import show
from loops.views.why import why
from students.memory import bare, memory_of
from students.tiny import tiny
from tests.loops.memory_methods import recipe

TPD = {"id": "tpd", "principles": 1, "demonstrations": 1, "refine": False, "room": 150}
METHODS: dict[str, dict[str, Any]] = {
    "citing": {"method": {"id": "citing", "revisions": 1}},
    "tpd": {"method": TPD, "train": {"objective": "none"}},
    "skill_labelling": {"method": {"id": "skill_labelling", "room": 200}, "train": {"objective": "none"}},
    "tapir": {"method": {"id": "tapir", "delta": 0}, "filters": ["format", "duplicate"]},
    "reflection": {"method": {"id": "reflection", "bound": None}, "filters": ["format", "duplicate"]},
}
REMEMBERING = ("citing", "tpd", "skill_labelling")
SAME = ("candidates.jsonl", "lessons.jsonl", "exam.jsonl", "metrics.json", "attempts.jsonl")


def whole(name: str, **more: Any) -> Any:
    given = {**METHODS[name], **more}
    return resolve(recipe(given.pop("method"), **given))


def learned(path: Path, index: int) -> RoundLearned:
    record = read_record(path / f"rounds/{index:02d}/learned.json", RoundLearned)
    assert record is not None
    return record


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of CITING, two rounds."""
    path = tmp_path_factory.mktemp("runs") / "citing"
    Run.start(whole("citing"), path).to_the_end()
    return path


@pytest.mark.parametrize("name", METHODS)
def test_each_method_runs_and_goes_on_from_where_it_was_cut_as_if_it_had_not_been(
    name: str, tmp_path: Path, finished: Path
) -> None:
    straight, cut = finished if name == "citing" else tmp_path / "straight", tmp_path / "cut"
    if name != "citing":
        Run.start(whole(name), straight).to_the_end()
    for stage in ("filter", "exam"):  # after the teach stage, and after the memory stands beside the weights
        Run.start(whole(name), cut).up_to(1, stage)
    assert (cut / "rounds/01/.done/teach.json").exists()
    assert not (cut / "rounds/01/metrics.json").exists()
    Run.resume(cut).to_the_end()
    for index in (1, 2):
        one, other = (path / f"rounds/{index:02d}" for path in (straight, cut))
        assert {path.stem for path in (other / ".done").iterdir()} == set(STAGES)
        for file in SAME:
            assert (one / file).read_bytes() == (other / file).read_bytes(), file
        told = one / "memory.json"
        assert told.exists() == (name in REMEMBERING)
        if told.exists():
            assert told.read_bytes() == (other / "memory.json").read_bytes()
            assert told.read_bytes() == (other / "student" / "memory.json").read_bytes()
            outputs = json.loads((other / ".done/teach.json").read_text())["outputs"]
            assert "memory.json" in outputs
        assert learned(straight, index).student == learned(cut, index).student
        exam = list(read_jsonl(other / "exam.jsonl", Attempt))
        assert {attempt.student for attempt in exam} == {learned(cut, index).student}
    lessons = list(read_jsonl(straight / "rounds/01/lessons.jsonl", Lesson))
    assert bool(lessons) == (name not in ("tpd", "skill_labelling"))


def test_a_memory_alone_leaves_the_weights_and_makes_another_student(tmp_path: Path) -> None:
    run = Run.start(whole("skill_labelling", rounds=1), tmp_path / "r")
    run.to_the_end()
    it = learned(tmp_path / "r", 1)
    assert (it.taught, it.learned.steps, it.learned.adapter) == (tiny().digest, 0, "")
    memory = read_record(tmp_path / "r/rounds/01/memory.json", Memory)
    assert memory is not None
    assert it.memory == memory.id
    assert it.student == content_id("remembering student", weights=tiny().digest, memory=memory.id)
    student = history.learned_student(run.work, 1)
    assert (bare(student).digest, memory_of(student)) == (tiny().digest, memory)


@pytest.mark.parametrize("objective", ["none", "sft"])
def test_without_lessons_the_weights_of_the_student_before_stay_not_those_of_the_base(
    objective: str, tmp_path: Path
) -> None:
    task = {"id": "skills_demo", "train": 3, "held_out": 2, "warm_up": 2}
    path = tmp_path / "r"
    run = Run.start(whole("skill_labelling", task=task, train={"epochs": 1, "objective": objective}), path)
    run.to_the_end()
    warm, first, second = (learned(path, index) for index in (0, 1, 2))
    assert warm.student != tiny().digest
    assert first.taught == warm.student
    assert first.learned.adapter == second.learned.adapter == warm.learned.adapter
    assert bare(history.learned_student(run.work, 2)).digest == warm.student
    assert (path / "rounds/02/student" / second.learned.adapter).is_dir()


def test_the_gate_rejects_weights_and_memory_together(tmp_path: Path) -> None:
    path = tmp_path / "r"
    never = {"rule": "significant", "alpha": 1e-9}
    run = Run.start(whole("citing", gate=never), path)
    done = run.to_the_end()
    assert [one.metrics.promoted for one in done] == [True, False, False]
    assert memory_of(history.student_after(run.work, 2)).empty
    assert (path / "rounds/02/memory.json").exists()
    # Round 2 began from the student without rubrics, so that they were written again.
    counts = json.loads((path / "rounds/02/.done/teach.json").read_text())["counts"]
    assert counts["teach/rubrics written"] > 0
    attempts = list(read_jsonl(path / "rounds/02/attempts.jsonl", Attempt))
    assert {attempt.student for attempt in attempts} == {tiny().digest}


def test_a_kept_memory_is_that_of_the_student_that_the_next_round_teaches(finished: Path) -> None:
    counts = json.loads((finished / "rounds/02/.done/teach.json").read_text())["counts"]
    assert "teach/rubrics written" not in counts
    attempts = list(read_jsonl(finished / "rounds/02/attempts.jsonl", Attempt))
    assert {attempt.student for attempt in attempts} == {learned(finished, 1).student}


def test_a_changed_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r"
    Run.start(whole("tpd"), path).up_to(1, "exam")
    held = path / "rounds/01/student/memory.json"
    held.write_text(held.read_text().replace("Read the question", "Skip the question"))
    with pytest.raises(InputError, match=r"memory\.json: is not the memory that the round's student was made with"):
        Run.resume(path).to_the_end()


def test_a_demonstration_that_asks_a_question_of_the_exam_is_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "r"
    method = "tests.loops.remembering_method:Peeking"
    Run.start(resolve(recipe(method, rounds=1, train={"objective": "none"})), path).to_the_end()
    memory = read_record(path / "rounds/01/memory.json", Memory)
    assert memory is not None
    assert len(memory.demonstrations) == 1
    (drop,) = read_jsonl(path / "rounds/01/dropped.jsonl", Dropped)
    assert (drop.check.filter, drop.check.reason) == ("overlap", "a question of the exam")
    assert drop.lesson.problem.question != memory.demonstrations[0].question


def test_a_round_without_lessons_and_without_a_memory_still_says_why_it_ends(tmp_path: Path) -> None:
    with pytest.raises(RoundError, match="round 1: no lesson is left to train on"):
        Run.start(whole("reflection", method={"id": "reflection", "bound": 1e-9}), tmp_path / "r").to_the_end()


def test_a_memory_that_does_not_fit_is_said_to_be_the_reason(tmp_path: Path) -> None:
    from lessons.errors import StudentError

    long = {"id": "skill_labelling", "shown": 24, "choose": "words"}
    with pytest.raises(StudentError, match=r"24 demonstrations\) is part of every chat: let the method remember less"):
        Run.start(whole("skill_labelling", method=long), tmp_path / "r").to_the_end()


def test_it_is_looked_at_and_exported(tmp_path: Path, finished: Path) -> None:
    path = finished
    seen = show(path)
    assert seen.rounds[1].memory is not None
    assert seen.rounds[1].memory.endswith("rubrics, 1 revision")
    assert seen.rounds[0].memory is None
    lesson = next(iter(read_jsonl(path / "rounds/01/lessons.jsonl", Lesson)))
    assert why(path, lesson.id)
    out = export_student(path, tmp_path / "out", index=1)
    assert (Path(out.folder) / "memory.json").read_bytes() == (path / "rounds/01/student/memory.json").read_bytes()
    alone = tmp_path / "tpd"
    Run.start(whole("tpd", rounds=1), alone).to_the_end()
    with pytest.raises(InputError, match=r"round 1 trained no weights: the student is the base model, with what it"):
        export_student(alone, tmp_path / "other")
