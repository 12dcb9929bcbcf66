"""The teacher's exam before round 1: a teacher that cannot solve the task itself teaches nobody."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lessons.errors import BudgetError, InputError
from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Message, Problem
from lessons.statistics import wilson
from loops import doctor
from loops.costs.estimating import Range, estimate
from loops.exams.records import TeacherExam
from loops.exams.teacher import drawn
from loops.recipe import Recipe, resolve
from loops.report import write_report
from loops.run import Run
from loops.store import RunFolder, read_record, write_record
from loops.views.show import show
from loops.work import Work
from teachers.accounts import accounts
from teachers.base import Reply, Sampling
from teachers.loopback import LoopbackServer
from teachers.rule_tutor import RuleTutor
from teachers.scripted import ScriptedTeacher

BASE: dict[str, Any] = {
    "task": {"id": "skills_demo", "train": 8, "held_out": 2, "skills": ["carrying", "products"]},
    "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4}},
    "teacher": "rule_tutor",
    "method": "rationale",
    "diagnose": {"by": "needed"},
    "select": {"id": "uniform", "budget": 20, "replay": 0},
    "train": {"epochs": 1},
    "examine": {"noise": False},
    "gate": {"rule": "always"},
}
WRONG = {"kind": "rule_tutor", "error_rate": 1.0}


class Heard:
    """Keeps the lines of a run."""

    def __init__(self) -> None:
        from loops.watching.progress import Silent

        self.lines: list[str] = []
        self._silent = Silent()
        self.bar, self.live = self._silent.bar, self._silent.live

    def line(self, text: str) -> None:
        self.lines.append(text)

    def of(self, title: str) -> list[str]:
        return [line.split(None, 1)[1] for line in self.lines if line.startswith(f"  {title} ")]


def recipe(**more: Any) -> Recipe:
    return resolve({**BASE, **more})


def exam_of(path: Path) -> TeacherExam:
    exam = read_record(path / "rounds/00/teacher.json", TeacherExam)
    assert exam is not None
    return exam


def test_a_teacher_that_is_wrong_on_everything_is_refused_before_it_teaches(tmp_path: Path):
    path = tmp_path / "run"
    with pytest.raises(InputError) as caught:
        Run.start(recipe(teacher=WRONG), path).to_the_end()
    told = str(caught.value)
    assert "\n" not in told
    for part in ("solves 0 of 16 train problems itself, [0, 19] %", "at_least is 25 %", "--set preflight.at_least=0"):
        assert part in told
    assert "solve" in told
    assert "teach errors" in told
    assert not (path / "rounds/01").exists()  # no round began: no lesson, nothing trained
    assert not list(path.rglob("student"))
    assert (path / "rounds/00/metrics.json").exists()  # the student's own exam stands
    exam = exam_of(path)
    assert (exam.asked, exam.graded, exam.right, exam.lost) == (16, 16, 0, {})
    assert (exam.low, exam.high) == wilson(0, 16)


def test_without_the_exam_the_same_teacher_trains_silently_wrong(tmp_path: Path):
    """What the refusal is for: no filter of this recipe sees that the lessons are wrong."""
    path = tmp_path / "run"
    done = Run.start(recipe(teacher=WRONG, filters=["format"], preflight={"problems": 0}), path).to_the_end()
    assert [one.index for one in done] == [0, 1]
    lessons = show(path).rounds[1]
    assert lessons.new is not None
    assert lessons.new > 0
    with pytest.raises(InputError, match="solves 0 of 16"):
        Run.start(recipe(teacher=WRONG, filters=["format"]), tmp_path / "other").to_the_end()


def test_a_resumed_run_is_refused_again_until_the_bound_is_lowered(tmp_path: Path):
    path = tmp_path / "run"
    with pytest.raises(InputError):
        Run.start(recipe(teacher=WRONG, filters=["format"]), path).to_the_end()
    written = (path / "rounds/00/teacher.jsonl").read_bytes()
    calls = accounts(path / "calls.sqlite")["preflight"].used.calls
    for _ in range(2):
        with pytest.raises(InputError, match="solves 0 of 16"):
            Run.resume(path).to_the_end()
    assert accounts(path / "calls.sqlite")["preflight"].used.calls == calls
    done = Run.resume(path, changes=["preflight.at_least=0"]).to_the_end()
    assert [one.index for one in done] == [0, 1]
    assert (path / "rounds/00/teacher.jsonl").read_bytes() == written
    assert accounts(path / "calls.sqlite")["preflight"].used.calls == calls


def test_a_good_teacher_passes_and_its_answers_are_kept(tmp_path: Path):
    path, heard = tmp_path / "run", Heard()
    Run.start(recipe(), path, heard).to_the_end()
    exam = exam_of(path)
    assert (exam.asked, exam.graded, exam.right) == (16, 16, 16)
    assert {name: (row.right, row.graded) for name, row in exam.skills.items()} == {
        "carrying": (8, 8),
        "products": (8, 8),
    }
    assert exam.student == 0.0
    assert not exam.behind
    attempts = list(read_jsonl(path / "rounds/00/teacher.jsonl", Attempt))
    assert {attempt.student for attempt in attempts} == {exam.teacher} == {RuleTutor().name}
    assert all(attempt.right and "Answer:" in attempt.text for attempt in attempts)
    (line,) = heard.of("preflight")
    assert line == "the teacher itself solves 16 of 16  [80.6, 100.0]"
    assert heard.lines.index(f"  {'preflight':<10} {line}") < heard.lines.index("round 1 of 1")
    counts = RunFolder(path).marker(0, "preflight").counts  # type: ignore[union-attr]
    assert counts["preflight/asked"] == counts["preflight/parsed"] == counts["preflight/right"] == 16


def test_the_answer_is_not_in_sight_and_the_instruction_is(tmp_path: Path):
    seen: list[str] = []

    def tell(messages: Sequence[Message], sampling: Sampling) -> Reply:
        seen.append(messages[1]["content"])
        assert sampling.temperature == 0.0
        return Reply(text="I do not know.\nAnswer: none")

    work = asked_by(tmp_path, tell)
    (exam,) = [exam_of(work.folder.path)]
    assert exam.right == 0
    problems = {problem.question: problem for problem in work.split.train}
    for text in seen:
        question = text.split("<question>\n")[1].split("\n</question>")[0]
        solution = problems[question].solution
        assert solution is not None
        assert solution not in text
        assert "<hint>" not in text
        assert work.task.instruction in text


class Plain:
    """A teacher of a test's own that is no program of fixed replies."""

    prices = ScriptedTeacher.prices
    name = "plain"

    def __init__(self, tell: Callable[[Sequence[Message], Sampling], Reply]) -> None:
        self.tell = tell

    async def ask(self, messages: Sequence[Message], sampling: Sampling) -> Reply:
        return self.tell(messages, sampling)

    async def aclose(self) -> None:
        """Nothing."""


def asked_by(tmp_path: Path, tell: Callable[[Sequence[Message], Sampling], Reply], **more: Any) -> Work:
    """Run up to the first round's teaching with such a teacher; a refusal is passed over."""
    run = Run.start(recipe(preflight={"problems": 16, "at_least": 0}, **more), tmp_path / "run")
    run.work.__dict__["teacher"] = Plain(tell)
    run.up_to(1, "teach")
    return run.work


def test_what_is_no_rationale_is_graded_as_it_stands_and_what_is_no_reply_is_not_counted(tmp_path: Path):
    """Form is not what is examined: a bare right answer counts. A refusal, or a reply cut off, counts neither way."""
    known: dict[str, int] = {}

    def tell(messages: Sequence[Message], sampling: Sampling) -> Reply:
        asked = messages[1]["content"]
        place = known.setdefault(asked, len(known))
        if place < 3:
            return Reply(text="", finish="refused", detail="not today")
        if place < 5:
            return Reply(text="First I", finish="length")
        question = asked.split("<question>\n")[1].split("\n</question>")[0]
        from lessons.demo.skills import solve

        worked = solve(question)
        assert worked is not None
        right = worked.text.rpartition("Answer:")[2].strip()
        return Reply(text=right if place < 11 else "banana")  # neither is a rationale, not even when asked again

    work = asked_by(tmp_path, tell)
    exam = exam_of(work.folder.path)
    assert (exam.asked, exam.graded, exam.right, exam.lost) == (16, 11, 6, {"refused": 3, "truncated": 2})
    assert (exam.low, exam.high) == wilson(6, 11)
    attempts = list(read_jsonl(work.folder.path / "rounds/00/teacher.jsonl", Attempt))
    unread = [attempt for attempt in attempts if not attempt.graded]
    assert Counter(attempt.note.split(":")[1].split()[0] for attempt in unread) == {"refused": 3, "truncated": 2}
    assert sum(attempt.cut for attempt in attempts) == 2


def test_a_teacher_of_which_nothing_is_known_is_not_refused_and_that_is_said(tmp_path: Path):
    heard = Heard()
    run = Run.start(recipe(), tmp_path / "run", heard)
    run.work.__dict__["teacher"] = Plain(lambda messages, sampling: Reply(text="", finish="refused"))
    run.up_to(1, "teach")
    assert exam_of(tmp_path / "run").graded == 0
    assert heard.of("preflight") == ["none of the teacher's own solutions could be graded   not counted: 16 refused"]
    assert any("nobody knows whether the teacher can solve" in line for line in heard.lines)


def test_the_bound_is_the_upper_end_of_the_interval(tmp_path: Path):
    """Of 16, none right is refused at 0.25 (0.194), one right is not (0.283)."""
    for right in (0, 1):
        known: dict[str, int] = {}

        def tell(messages: Sequence[Message], sampling: Sampling, right: int = right, known: Any = known) -> Reply:
            place = known.setdefault(messages[1]["content"], len(known))
            worked = messages[1]["content"].split("<question>\n")[1].split("\n</question>")[0]
            from lessons.demo.skills import solve

            return Reply(text=solve(worked).text if place < right else "Hm.\nAnswer: none")  # type: ignore[union-attr]

        run = Run.start(recipe(), tmp_path / f"run{right}")
        run.work.__dict__["teacher"] = Plain(tell)
        if right:
            run.up_to(1, "teach")
        else:
            with pytest.raises(InputError, match="solves 0 of 16"):
                run.to_the_end()
        assert exam_of(tmp_path / f"run{right}").right == right


def test_a_teacher_that_is_not_better_than_the_student_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The student's figure is of the same skills: it knows `carrying` and not `products`; the teacher solves half."""
    from loops.exams import teacher as exams
    from loops.history import metrics_of as real

    def told(work: Work, index: int) -> Any:
        import msgspec

        metrics = real(work, index)
        known = {
            name: msgspec.structs.replace(
                skill, row=msgspec.structs.replace(skill.row, attempts=4, right=4 if name == "carrying" else 1)
            )
            for name, skill in metrics.skills.items()
        }
        return msgspec.structs.replace(metrics, skills=known)

    monkeypatch.setattr(exams, "metrics_of", told)
    heard = Heard()
    teacher = {"kind": "rule_tutor", "error_rate": 0.5, "seed": 3}
    Run.start(recipe(teacher=teacher, preflight={"at_least": 0}), tmp_path / "run", heard).up_to(1, "teach")
    exam = exam_of(tmp_path / "run")
    assert exam.student == pytest.approx((8 * 1.0 + 8 * 0.25) / 16)
    assert exam.behind == (exam.share <= 0.625)
    assert exam.behind
    assert "warning: the teacher is not better than the student, which has 62.5 % right" in "\n".join(heard.lines)
    assert "the teacher is not better than the student" in show(tmp_path / "run").text()


def test_a_cap_stops_the_exam_and_a_higher_one_goes_on_without_buying_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with LoopbackServer(RuleTutor()) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        teacher = {"kind": "openai", "model": server.model, "base_url": server.base_url, "key": "LOOPBACK_KEY"}
        path = tmp_path / "run"
        with pytest.raises(BudgetError, match=r"5 of 5 requests .*go on with tutelage resume"):
            Run.start(recipe(teacher=teacher, budget={"requests": 5, "at_cap": "finish"}), path).to_the_end()
        assert not (path / "rounds/00/teacher.json").exists()
        Run.resume(path, changes=["budget.requests=1000"]).up_to(1, "teach")
        assert exam_of(path).right == 16
        assert len([seen for seen in server.requests if seen.path.endswith("completions")]) == 16
        counts = RunFolder(path).marker(0, "preflight").counts  # type: ignore[union-attr]
        assert counts["preflight/from ledger"] == 5


def test_off_asks_nobody_and_says_nothing(tmp_path: Path):
    heard = Heard()
    Run.start(recipe(teacher=WRONG, preflight={"problems": 0}), tmp_path / "run", heard).up_to(1, "teach")
    assert not (tmp_path / "run/rounds/00/teacher.json").exists()
    assert not heard.of("preflight")
    assert show(tmp_path / "run").teacher_exam is None


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"teacher": {"kind": "scripted", "replies": []}}, "its replies are fixed"),
        ({"method": "rft"}, "the method asks it nothing"),
        ({"method": {"id": "stat_sel", "rewrites": 0}}, "the method asks it nothing"),
        (
            {
                "task": {"id": "house", "kinds": ["find the room"], "train": 2, "held_out": 2, "steps": 4},
                "method": "leap",
                "filters": [],
            },
            "the problems are acted out, and it only writes",
        ),
    ],
)
def test_who_need_not_sit_it_and_why(tmp_path: Path, more: dict[str, Any], why: str):
    heard = Heard()
    Run.start(recipe(**{"teacher": WRONG, **more}), tmp_path / "run", heard).up_to(1, "examine")
    assert heard.of("preflight") == [f"the teacher sits no exam: {why}"]
    assert not (tmp_path / "run/rounds/00/teacher.json").exists()
    told = estimate(recipe(**{"teacher": WRONG, **more}))
    assert f"the teacher sits no exam before round 1: {why}" in told.how
    assert not [row for row in told.rows if row.stage == "preflight"]


def test_a_knob_that_has_the_teacher_asked_has_it_examined(tmp_path: Path):
    with pytest.raises(InputError, match="solves 0 of 16"):
        Run.start(recipe(teacher=WRONG, method={"id": "stat_sel", "rewrites": 1}), tmp_path / "run").to_the_end()


def test_a_grader_by_probabilities_reads_no_answer(tmp_path: Path):
    rows = [
        {"question": f"Which is {n}?", "answer": "A", "choices": [str(n), str(n + 1)], "skills": ["reading"]}
        for n in range(24)
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"id": "jsonl", "train": str(tmp_path / "mine.jsonl"), "held_out": 4, "graded_by": "likelihood"}
    heard = Heard()
    made = recipe(task=task, filters=["format"])
    Run.start(made, tmp_path / "run", heard).up_to(1, "examine")
    assert heard.of("preflight") == [
        "the teacher sits no exam: the grader goes by the student's probabilities, and reads no answer"
    ]


def test_a_run_that_has_taught_without_it_goes_on_without_it(tmp_path: Path):
    path = tmp_path / "run"
    Run.start(recipe(teacher=WRONG, filters=["format"], preflight={"problems": 0}), path).to_the_end()
    (path / "rounds/01/.done/exam.json").unlink()
    assert Run.resume(path, changes=["preflight.problems=16"]).to_the_end()
    assert not (path / "rounds/00/teacher.json").exists()


def test_the_digest_of_a_recipe_does_not_hang_on_it():
    assert recipe().digest == recipe(preflight={"problems": 4, "at_least": 0.9}).digest
    for wrong in ({"problems": -1}, {"at_least": 1.5}, {"problem": 3}):
        with pytest.raises(InputError, match=r"^preflight: "):
            recipe(preflight=wrong)


def test_a_judge_grades_it_and_that_is_reckoned(tmp_path: Path):
    rows = [
        {"question": p.question, "answer": p.answer, "skills": list(p.skills)}
        for p in Run.start(recipe(), tmp_path / "other").work.task.split(0).train
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"id": "jsonl", "train": str(tmp_path / "mine.jsonl"), "held_out": 4, "graded_by": "judge"}
    made = recipe(task=task, filters=["verified"])
    Run.start(made, tmp_path / "run").up_to(1, "teach")
    exam = exam_of(tmp_path / "run")
    assert (exam.graded, exam.right) == (12, 12)
    counts = RunFolder(tmp_path / "run").marker(0, "preflight").counts  # type: ignore[union-attr]
    assert counts["judge/asked"] == 24  # both orders
    with_exam, without = estimate(made), estimate(recipe(task=task, filters=["verified"], preflight={"problems": 0}))

    def judged(told: Any) -> float:
        return sum(row.requests.high for row in told.rows if row.stage == "judge")

    assert judged(with_exam) - judged(without) == 24


def test_what_is_reckoned_for_it_is_what_it_asks(tmp_path: Path):
    (row,) = [row for row in estimate(recipe(), failing=Range(1, 1)).rows if row.stage == "preflight"]
    assert row.requests == (16, 16)
    path = tmp_path / "run"
    Run.start(recipe(), path).up_to(1, "teach")
    used = accounts(path / "calls.sqlite")["preflight"].used
    assert used.calls == 16
    few = estimate(recipe(preflight={"problems": 5}))
    assert [row.requests for row in few.rows if row.stage == "preflight"] == [(5, 5)]


def test_show_and_the_report_have_its_figures(tmp_path: Path):
    path = tmp_path / "run"
    Run.start(recipe(), path).to_the_end()
    data = json.loads(json.dumps(show(path).data()))
    assert data["teacher_exam"]["right"] == data["teacher_exam"]["graded"] == 16
    assert data["teacher_exam"]["skills"]["carrying"]["graded"] == 8
    assert "the teacher itself solves 16 of 16  [80.6, 100.0]" in show(path).text()
    page = write_report(path).read_text(encoding="utf-8")
    assert "without the answers in sight: the teacher itself solves 16 of 16  [80.6, 100.0]." in page
    exam = exam_of(path)
    import msgspec

    hostile = msgspec.structs.replace(exam, lost={"<script>alert(1)</script>": 2})
    write_record(path / "rounds/00/teacher.json", hostile)
    assert "<script>alert(1)" not in write_report(path).read_text(encoding="utf-8")


def test_the_command_refuses_in_one_line_with_the_exit_code_of_wrong_input(tmp_path: Path):
    (tmp_path / "r.yaml").write_text(yaml.safe_dump({**BASE, "teacher": WRONG}))
    command = [sys.executable, "-c", "from loops.cli import main; main()", "run", "r.yaml", "--into", "out"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("tutelage: teacher: rule_tutor")
    assert "Traceback" not in done.stderr


async def test_doctor_names_the_exam_and_asks_a_judges_own_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = {check.name: check.found for check in await doctor.check_recipe(recipe())}
    assert found["teacher exam"] == "16 train problems before round 1, refused where it is below 25 %"
    off = {check.name: check.found for check in await doctor.check_recipe(recipe(preflight={"problems": 0}))}
    assert off["teacher exam"] == "off"
    (tmp_path / "mine.jsonl").write_text('{"question": "1?", "answer": "1"}\n')
    async with LoopbackServer(RuleTutor()) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        own = {"kind": "openai", "model": "another", "base_url": server.base_url, "key": "LOOPBACK_KEY"}
        graded_by = {"id": "judge", "teacher": own}
        task = {"id": "jsonl", "train": str(tmp_path / "mine.jsonl"), "held_out": 1, "graded_by": graded_by}
        checks = {check.name: check for check in await doctor.check_recipe(recipe(task=task, filters=["format"]))}
        assert checks["teacher answers"].ok
        assert not checks["judge answers"].ok  # the endpoint has no such model
        right = {**graded_by, "teacher": {**own, "model": server.model}}
        task = {**task, "graded_by": right}
        checks = {check.name: check for check in await doctor.check_recipe(recipe(task=task, filters=["format"]))}
        assert checks["judge model"].ok
        assert checks["judge answers"].ok


@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 20), st.integers(0, 5))
def test_problems_are_drawn_evenly_and_the_same_for_a_seed(kinds: list[int], count: int, seed: int):
    problems = [
        Problem(question=f"{place}?", answer="1", skills=(f"s{kind}",) if kind else ())
        for place, kind in enumerate(kinds)
    ]
    chosen = drawn(problems, count, Random(seed))
    assert chosen == drawn(problems, count, Random(seed))
    assert len(chosen) == min(count, len(problems)) == len({problem.id for problem in chosen})
    have = Counter(problem.skills for problem in problems)
    got = Counter(problem.skills for problem in chosen)
    for one in have:
        for other in have:
            assert got[one] >= got[other] - 1 or got[one] == have[one]  # none waits while another has two more
