"""The whole loop with a real (tiny) student: examined, taught, trained by TRL, examined again."""

import json
from pathlib import Path

import pytest

from lessons.errors import InputError, RoundError
from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Dropped, Lesson, Problem
from loops.filters.base import normal
from loops.recipe import resolve
from loops.records import STAGES, ExamMetrics
from loops.run import Run
from loops.store import read_record
from teachers.ledger import read_calls

RECIPE = {
    "task": {"id": "skills_demo", "train": 6, "held_out": 3, "gate": 2},
    "student": {"model": "tiny", "answer": {"max_tokens": 12, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": {"kind": "rule_tutor", "error_rate": 0.2},
    "method": "rationale",
    "select": {"id": "profile", "budget": 20, "replay": 0.2},
    "train": {"epochs": 1, "start": "last"},
    "examine": {"per_round": 24},
    "diagnose": {"form": "skill"},  # of a student that babbles until it is cut off, all failures would be of form
    "gate": {"rule": "always"},
    "rounds": 2,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "small"
    done = Run.start(resolve(RECIPE), path).to_the_end()
    assert [one.index for one in done] == [0, 1, 2]
    assert done[0].profile is None
    assert done[2].profile is not None
    return path


def rows(path: Path, name: str, kind: type) -> list:
    return list(read_jsonl(path / name, kind))


def test_every_stage_left_its_marker_and_its_files(finished: Path) -> None:
    for index in (1, 2):
        folder = finished / "rounds" / f"{index:02d}"
        assert {p.stem for p in (folder / ".done").iterdir()} == set(STAGES)
        assert list((folder / "student").glob("adapter-*/adapter_model.safetensors"))
    assert not list(finished.rglob("*.tmp"))
    assert not [p for p in finished.rglob("*") if p.suffix in (".bin", ".pt", ".pkl", ".pth")]


def test_the_exam_is_frozen_and_apart(finished: Path) -> None:
    parts = {n: rows(finished / "problems", f"{n}.jsonl", Problem) for n in ("train", "gate", "held_out")}
    questions = {name: {normal(p.question) for p in problems} for name, problems in parts.items()}
    assert not questions["train"] & questions["held_out"]
    assert not questions["train"] & questions["gate"]
    assert not questions["gate"] & questions["held_out"]
    for index in (0, 1, 2):
        exam = rows(finished / "rounds" / f"{index:02d}", "exam.jsonl", Attempt)
        assert [a.problem.id for a in exam] == [p.id for p in parts["held_out"]]


def test_every_candidate_is_a_lesson_or_named_among_the_dropped(finished: Path) -> None:
    for index in (1, 2):
        folder = finished / "rounds" / f"{index:02d}"
        candidates = [c.id for c in rows(folder, "candidates.jsonl", Lesson)]
        kept = [k.id for k in rows(folder, "kept.jsonl", Lesson)]
        dropped = rows(folder, "dropped.jsonl", Dropped)
        assert sorted(kept + [d.lesson.id for d in dropped]) == sorted(candidates)
        assert all(d.check.reason and not d.check.passed for d in dropped)
    # error_rate 0.2: some wrong rationales must have been caught
    reasons = {d.check.reason for i in (1, 2) for d in rows(finished / "rounds" / f"0{i}", "dropped.jsonl", Dropped)}
    assert "wrong answer" in reasons


def test_every_lesson_leads_back_to_a_failure_and_to_the_calls_that_paid(finished: Path) -> None:
    calls = {call.id for call in read_calls(finished / "calls.sqlite")}
    for index in (1, 2):
        folder = finished / "rounds" / f"{index:02d}"
        attempts = {a.id: a for a in rows(folder, "attempts.jsonl", Attempt)}
        lessons = rows(folder, "lessons.jsonl", Lesson)
        assert lessons
        for lesson in lessons:
            cause = attempts[lesson.provenance.attempt]
            assert lesson.provenance.round == index
            if lesson.provenance.method == "replay":
                assert cause.right
                assert lesson.completion == cause.text.strip()
            else:
                assert cause.failed
                assert lesson.provenance.skill in cause.missing
                assert set(lesson.provenance.calls) <= calls
                assert [check.filter for check in lesson.checks] == ["format", "duplicate", "verified", "overlap"]


def test_what_the_student_is_taught_is_asked_in_the_words_of_the_exam(finished: Path) -> None:
    exam = rows(finished / "problems", "held_out.jsonl", Problem)
    lesson = rows(finished / "rounds" / "01", "lessons.jsonl", Lesson)[0]
    assert [m["role"] for m in lesson.prompt] == ["system", "user"]
    assert lesson.prompt[-1]["content"] == lesson.problem.question
    assert exam[0].question != lesson.problem.question


def test_metrics_are_the_exams(finished: Path) -> None:
    metrics = read_record(finished / "rounds" / "02" / "metrics.json", ExamMetrics)
    exam = rows(finished / "rounds" / "02", "exam.jsonl", Attempt)
    assert metrics is not None
    assert (metrics.n, metrics.right) == (len(exam), sum(a.right for a in exam))
    assert metrics.gate is not None
    assert metrics.change is not None
    assert metrics.student == exam[0].student
    assert sum(s.row.attempts for s in metrics.skills.values()) == metrics.n


def test_running_again_does_nothing(finished: Path) -> None:
    def state() -> dict[str, tuple[int, bytes]]:
        return {
            str(p): (p.stat().st_mtime_ns, p.read_bytes())
            for p in sorted(finished.rglob("*"))
            if p.is_file() and p.name != ".lock" and not p.name.startswith("calls.sqlite")
        }

    before, calls = state(), len(list(read_calls(finished / "calls.sqlite")))
    assert len(Run.start(resolve(RECIPE), finished).to_the_end()) == 3
    assert len(Run.resume(finished).to_the_end()) == 3
    assert state() == before
    assert len(list(read_calls(finished / "calls.sqlite"))) == calls


def test_another_recipe_is_refused_and_the_folder_is_given_back(finished: Path) -> None:
    with pytest.raises(InputError, match="differs in rounds"):
        Run.start(resolve({**RECIPE, "rounds": 3}), finished)
    Run.resume(finished).to_the_end()


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a run folder"):
        Run.resume(tmp_path)


def test_two_runs_of_one_recipe_make_the_same_lessons(finished: Path, tmp_path: Path) -> None:
    Run.start(resolve(RECIPE), tmp_path / "again").to_the_end()
    for index in (1, 2):
        name = f"rounds/{index:02d}/lessons.jsonl"
        assert (tmp_path / "again" / name).read_bytes() == (finished / name).read_bytes()


def test_from_base_each_round_trains_on_the_lessons_of_all_kept_rounds(tmp_path: Path) -> None:
    recipe = resolve({**RECIPE, "train": {"epochs": 1, "start": "base"}})
    Run.start(recipe, tmp_path / "r").to_the_end()
    first = rows(tmp_path / "r/rounds/01", "lessons.jsonl", Lesson)
    second = rows(tmp_path / "r/rounds/02", "lessons.jsonl", Lesson)
    new = [lesson for lesson in first if lesson.provenance.method != "replay"]
    assert [lesson.id for lesson in second[: len(new)]] == [lesson.id for lesson in new]
    learned = [json.loads((tmp_path / f"r/rounds/0{i}/learned.json").read_text()) for i in (1, 2)]
    assert learned[0]["taught"] == learned[1]["taught"]


def test_from_base_the_warm_up_is_learned_again_with_every_round(tmp_path: Path) -> None:
    task = {**RECIPE["task"], "warm_up": 2}
    recipe = resolve({**RECIPE, "task": task, "train": {"epochs": 1, "start": "base"}, "rounds": 1})
    Run.start(recipe, tmp_path / "r").to_the_end()
    warm_up = rows(tmp_path / "r/rounds/00", "lessons.jsonl", Lesson)
    lessons = rows(tmp_path / "r/rounds/01", "lessons.jsonl", Lesson)
    assert len(warm_up) == 16
    assert [lesson.id for lesson in lessons[:16]] == [lesson.id for lesson in warm_up]
    assert {lesson.provenance.method for lesson in lessons[16:]} >= {"rationale"}


def test_a_rejected_student_is_not_gone_on_with(tmp_path: Path) -> None:
    # Two held-out problems a skill can show no change beyond chance: both rounds are rejected.
    recipe = resolve({**RECIPE, "gate": {"rule": "significant", "alpha": 1e-9}})
    done = Run.start(recipe, tmp_path / "r").to_the_end()
    assert [one.metrics.promoted for one in done] == [True, False, False]
    learned = [json.loads((tmp_path / f"r/rounds/0{i}/learned.json").read_text()) for i in (1, 2)]
    assert learned[0]["taught"] == learned[1]["taught"] == done[0].metrics.student
    assert json.loads((tmp_path / "r/finished.json").read_text())["best"] == 0


def test_when_everything_is_dropped_the_round_says_why(tmp_path: Path) -> None:
    wrong = {"teacher": {"kind": "rule_tutor", "error_rate": 1.0}, "preflight": {"problems": 0}}
    recipe = resolve({**RECIPE, **wrong, "diagnose": {"by": "needed"}})
    with pytest.raises(RoundError, match="round 1: no lesson is left to train on; most were dropped by verified"):
        Run.start(recipe, tmp_path / "r").to_the_end()


@pytest.mark.parametrize("method", ["critique", {"id": "stat_sel", "rewrites": 1, "references": 1}, "stat_syn"])
def test_every_method_runs_through_the_loop(method, tmp_path: Path) -> None:
    recipe = resolve({**RECIPE, "method": method, "teacher": {"kind": "rule_tutor"}, "rounds": 1})
    done = Run.start(recipe, tmp_path / "r").to_the_end()
    assert done[1].metrics.n == 3 * len(done[1].metrics.skills)
    lessons = rows(tmp_path / "r/rounds/01", "lessons.jsonl", Lesson)
    assert sum(lesson.provenance.method != "replay" for lesson in lessons) >= 8
