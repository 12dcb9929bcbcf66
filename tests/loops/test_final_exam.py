"""The final exam: sat once, at the end; nothing sees its problems before, and nothing is chosen on it."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lessons.graders.base import Grade
from lessons.graders.math import MathGrader
from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Lesson, Message, Problem
from loops.exams.records import Contamination
from loops.reading import RunView
from loops.recipe import resolve
from loops.records import STAGES, ChosenOn
from loops.run import DECIDED, Run
from loops.views.exams_text import alike, chosen_told
from loops.views.gaps import gaps
from loops.views.show import show
from loops.watching.progress import Silent
from students.hf import HFStudent
from teachers.ledger import read_calls

RECIPE: dict[str, Any] = {
    "task": {
        "id": "skills_demo", "skills": ["carrying", "units", "clock"], "train": 4, "held_out": 3, "gate": 2, "final": 3,
    },
    "student": {"model": "tiny", "answer": {"max_tokens": 8, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": {"kind": "rule_tutor", "error_rate": 0.1},
    "method": "stat_syn",
    "filters": ["format", "contamination", "duplicate"],
    "diagnose": {"by": "needed"},
    "select": {"id": "profile", "budget": 12},
    "train": {"epochs": 1},
    "gate": {"rule": "always"},
    "rounds": 2,
}  # fmt: skip


@dataclass
class Spy(Silent):
    """Knows every question that the student is asked and every one that is graded, in order, with the run's lines."""

    seen: list[tuple[str, str]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def line(self, text: str) -> None:
        self.lines.append(text)

    def of(self, questions: set[str]) -> list[int]:
        return [place for place, (_, question) in enumerate(self.seen) if question in questions]


@dataclass(frozen=True)
class Done:
    path: Path
    spy: Spy


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    spy = Spy()
    answer, grade = HFStudent.answer, MathGrader.grade

    def asked(self: HFStudent, prompts: Sequence[Sequence[Message]], *more: Any, **named: Any) -> Any:
        spy.seen += [(f"asked {self.digest}", prompt[-1]["content"]) for prompt in prompts]
        return answer(self, prompts, *more, **named)

    def graded(self: MathGrader, problem: Problem, text: str) -> Grade:
        spy.seen.append(("graded", problem.question))
        return grade(self, problem, text)

    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HFStudent, "answer", asked)
        patch.setattr(MathGrader, "grade", graded)
        Run.start(resolve(RECIPE), path, spy).to_the_end()
    return Done(path, spy)


def questions(run: RunView, part: str) -> set[str]:
    return {problem.question for problem in run.problems(part)}


def test_no_final_problem_is_seen_before_the_end_and_each_student_sits_it_once(done: Done) -> None:
    run = RunView.open(done.path)
    final, others = questions(run, "final"), questions(run, "held_out") | questions(run, "gate")
    assert len(final) == 9
    assert min(done.spy.of(final)) > max(done.spy.of(others | questions(run, "train")))
    asked = [(who, question) for who, question in done.spy.seen if question in final and who != "graded"]
    assert len(asked) == len(set(asked)) == 2 * len(final)
    for call in read_calls(done.path / "calls.sqlite"):
        assert not any(question in message["content"] for message in call.messages for question in final)
    for turn in run.rounds:
        assert not any(lesson.problem.question in final for lesson in (*turn.lessons(), *turn.candidates()))


def test_the_final_exam_is_paired_with_the_student_before_any_lesson(done: Done) -> None:
    run = RunView.open(done.path)
    assert run.final is not None
    assert run.finished is not None
    assert run.final.round == run.finished.best == 2
    first, last = run.round(0), run.round(2)
    assert first is not None
    assert last is not None
    base, now = list(first.final()), list(last.final())
    assert [a.problem.id for a in base] == [a.problem.id for a in now] == [p.id for p in run.problems("final")]
    assert {a.student for a in base} == {run.final.base.student} == {first.metrics.student if first.metrics else ""}
    assert {a.student for a in now} == {run.final.metrics.student} == {last.metrics.student if last.metrics else ""}
    assert (run.final.metrics.n, run.final.base.n, run.final.looks) == (9, 9, 1)
    since = run.final.metrics.since_start
    assert since is not None
    assert since.n == 9
    assert since.gained - since.lost == sum(a.right for a in now) - sum(a.right for a in base)
    assert run.final.metrics.change is None
    assert {exam.row.attempts for exam in run.final.metrics.skills.values()} == {3}
    middle = run.round(1)
    assert middle is not None
    assert not list(middle.final())


def test_it_is_told_last_and_the_reader_is_told_what_was_chosen_on(done: Done) -> None:
    run = RunView.open(done.path)
    assert done.spy.lines[-1].startswith("final exam   9 problems   accuracy ")
    assert done.spy.lines[-1].endswith("nothing was chosen on it")
    assert any("9 problems kept for the final exam" in line for line in done.spy.lines)
    assert run.chosen_on == "nothing"  # every round's student is kept
    assert run.info is not None
    assert (run.info.gate, run.info.final, run.info.notes) == (6, 9, ())
    assert not any(DECIDED in line for line in done.spy.lines)


def test_the_noise_and_the_contamination_of_each_round_are_there(done: Done) -> None:
    run = RunView.open(done.path)
    assert run.noise is not None
    assert run.noise.n == 9
    assert set(run.noise.skills) == {"carrying", "units", "clock"}
    again = list(read_jsonl(done.path / "rounds/00/noise.jsonl", Attempt))
    assert sorted(a.problem.id for a in again) == sorted(p.id for p in run.problems("held_out"))
    assert [a.problem.id for a in again] != [p.id for p in run.problems("held_out")]
    for turn in run.rounds[1:]:
        assert turn.contamination is not None
        assert turn.contamination.lessons == sum(1 for _ in turn.lessons())
        assert turn.contamination.problems == 9 + 6 + 9
        assert turn.contamination.rows["exact"] == 0
        assert turn.contamination.own == 0  # the filter has dropped those


def test_the_views_begin_with_it_and_say_what_the_other_figures_are(done: Done) -> None:
    view = gaps(done.path)
    assert view.final == RunView.open(done.path).final
    told = view.text()
    assert told.index("final    9 problems") < told.index("start    accuracy")
    assert "every round's student is kept: nothing was chosen on the rounds' exam" in told
    assert [row.contamination is not None for row in show(done.path).rounds] == [False, True, True]


@pytest.mark.parametrize(
    ("by", "final", "told"),
    [
        ("held_out", True, "may flatter; the final exam's do not"),
        ("held_out", False, "the rounds' exam also decides which student is kept, so its figures may flatter"),
        ("gate", False, "problems of its own decide"),
        ("nothing", True, "every round's student is kept"),
    ],
)
def test_what_a_figure_was_used_for_is_said(by: ChosenOn, final: bool, told: str) -> None:
    assert told in chosen_told(by, final=final)


def test_rows_like_the_exams_are_told_beside_what_the_wording_does() -> None:
    found = Contamination(
        round=1, lessons=50, problems=9, rows={"exact": 0, "13-gram": 4}, own=1, touched={"final": 2}, dropped={},
        baseline=0.125,
    )  # fmt: skip
    assert alike(found) == "like the exams: 13-gram 4, 1 beyond the task's wording (train problems 12.5 %)"
    assert alike(msgspec.structs.replace(found, rows={"exact": 0, "13-gram": 0})) == ""


def resumed(path: Path) -> None:
    Run.resume(path).to_the_end()


def state(path: Path, *, times: bool = False) -> dict[str, Any]:
    """What the results are; markers and clocks tell how long things took, which is another matter."""
    kept = [
        file for file in sorted(path.rglob("*"))
        if file.is_file() and file.suffix in (".json", ".jsonl", ".yaml") and ".done" not in file.parts
        and file.name not in ("clock.json", "live.json", "learned.json", "finished.json")
    ]  # fmt: skip
    return {str(f.relative_to(path)): (f.read_bytes(), f.stat().st_mtime_ns if times else 0) for f in kept}


def test_a_finished_run_that_is_resumed_does_nothing(done: Done, tmp_path: Path) -> None:
    path = shutil.copytree(done.path, tmp_path / "run", copy_function=shutil.copy2)
    before = state(path, times=True)
    resumed(path)
    assert state(path, times=True) == before


KILLED: dict[str, Callable[[Path], list[Path]]] = {
    "while it froze": lambda run: [run / "problems/frozen.json", run / "rounds/00/.done/freeze.json"],
    "before the noise was summed up": lambda run: [
        run / "rounds/00/.done/noise.json", run / "rounds/00/noise.json", *after_round(run, 0),
    ],
    "before the audit": lambda run: [
        run / "rounds/02/.done/select.json", run / "rounds/02/contamination.json",
        *((run / f"rounds/02/.done/{stage}.json") for stage in ("learn", "exam")), run / "rounds/02/metrics.json",
        *after_round(run, 2),
    ],
    "before the final exam": lambda run: after_round(run, 2),
    "between its two students": lambda run: [
        run / "rounds/02/final.jsonl", run / "rounds/02/.done/final.json", run / "final.json", run / "finished.json",
    ],
    "before it was summed up": lambda run: [run / "final.json", run / "finished.json"],
    "before the run was over": lambda run: [run / "finished.json"],
}  # fmt: skip


def after_round(run: Path, index: int) -> list[Path]:
    """What is not there yet when a round has just ended."""
    sat = [*run.glob("rounds/*/final.jsonl"), *run.glob("rounds/*/.done/final.json")]
    gone = [run / "final.json", run / "finished.json", *sat]
    return gone + [folder for folder in run.glob("rounds/*") if int(folder.name) > index]


@pytest.mark.parametrize("moment", KILLED)
def test_killed_between_two_stages_it_comes_to_the_same(done: Done, tmp_path: Path, moment: str) -> None:
    path = shutil.copytree(done.path, tmp_path / "run", copy_function=shutil.copy2)
    for gone in KILLED[moment](path):
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    resumed(path)
    assert state(path) == state(done.path)


def test_a_run_whose_budget_ends_it_sits_the_final_exam_and_says_when_another_student_did(tmp_path: Path) -> None:
    path = tmp_path / "run"
    budget = {"requests": 30, "at_cap": "finish"}
    Run.start(resolve({**RECIPE, "budget": budget, "rounds": 3}), path).to_the_end()
    run = RunView.open(path)
    assert run.finished is not None
    assert run.finished.budget
    assert run.final is not None
    ended = run.final.round
    assert (ended, run.final.looks) == (run.finished.best, 1)
    spy = Spy()
    Run.resume(path, spy, ["budget.requests=100000"]).to_the_end()
    after = RunView.open(path).final
    assert after is not None
    assert (after.round, after.looks) == (3, 2)
    assert ended < 3
    assert "sat by 2 students so far" in spy.lines[-1]


def test_a_run_that_keeps_no_student_sits_it_once(tmp_path: Path) -> None:
    recipe = {**RECIPE, "rounds": 1, "gate": {"rule": "significant", "alpha": 1e-9}, "examine": {"noise": False}}
    Run.start(resolve(recipe), tmp_path / "run").to_the_end()
    run = RunView.open(tmp_path / "run")
    assert run.final is not None
    assert (run.final.round, run.final.metrics, run.final.looks) == (0, run.final.base, 1)
    assert not list((tmp_path / "run/rounds/01").glob("final.jsonl"))
    assert run.chosen_on == "gate"
    assert run.noise is None
    assert not (tmp_path / "run/rounds/00/noise.jsonl").exists()


def test_without_gate_and_final_problems_the_run_says_that_its_exam_decides(tmp_path: Path) -> None:
    task = {**RECIPE["task"], "gate": 0, "final": 0}
    recipe = {**RECIPE, "task": task, "rounds": 1, "gate": {"rule": "better"}, "examine": {"noise": False}}
    spy = Spy()
    Run.start(resolve(recipe), tmp_path / "run", spy).to_the_end()
    run = RunView.open(tmp_path / "run")
    assert f"note: {DECIDED}" in spy.lines
    assert run.info is not None
    assert run.info.notes == (DECIDED,)
    assert (run.final, run.chosen_on) == (None, "held_out")
    assert set(run.rounds[1].markers) == set(STAGES)
    assert {row.problem.id for row in read_jsonl(tmp_path / "run/rounds/01/lessons.jsonl", Lesson)}
