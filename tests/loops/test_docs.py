"""The code of docs/write-a-method.md runs: a method, a teacher and a grader of the user's own, outside the project."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lessons.errors import GradeError
from lessons.graders.base import Grade
from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Lesson, Problem
from lessons.sandbox.confine import confinement
from loops.graders.base import AskingGrader
from loops.plugins import build, known
from loops.reading import RunView
from loops.recipe import load
from loops.run import Run
from teachers.calls import Caller
from teachers.ledger import Ledger
from teachers.scripted import ScriptedTeacher

PAGE = Path(__file__).parents[2] / "docs" / "write-a-method.md"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every code block that begins with its file's name, written under that name."""
    folder = tmp_path_factory.mktemp("user")
    blocks = re.findall(r"^```\w+\n# (\S+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    for name, code in blocks:
        (folder / name).write_text(code)
        assert len(code.splitlines()) < 40, f"{name} is longer than the page promises"
    assert {name for name, _ in blocks} == {
        "my_method.py", "my_recipe.yaml", "my_teacher.py", "my_grader.py", "my_prompt.py"
    }  # fmt: skip
    return folder


def test_the_method(files: Path, tmp_path: Path) -> None:
    Run.start(load(files / "my_recipe.yaml"), tmp_path / "run").to_the_end()
    lessons = list(read_jsonl(tmp_path / "run/rounds/01/lessons.jsonl", Lesson))
    new = [lesson for lesson in lessons if lesson.provenance.method == "my_method:WorstFirst"]
    assert new
    assert len({lesson.provenance.skill for lesson in new}) <= 3


def test_the_teacher_and_the_grader(files: Path, tmp_path: Path) -> None:
    rows = [f'{{"question": "Which number is {n}?", "answer": "4", "skills": ["reading"]}}' for n in "abcdefgh"]
    (tmp_path / "mine.jsonl").write_text("\n".join(rows) + "\n")
    recipe = {
        "task": {
            "id": "jsonl",
            "train": str(tmp_path / "mine.jsonl"),
            "held_out": 0.5,
            "graded_by": "my_grader:LastWord",
        },
        "student": {"model": "tiny", "answer": {"max_tokens": 8}},
        "teacher": {"kind": "my_teacher:Patient"},
        "method": "rationale",
        "diagnose": {"by": "needed"},
        "train": {"epochs": 1},
        "gate": {"rule": "always"},
    }
    (files / "other.yaml").write_text(yaml.safe_dump(recipe))
    Run.start(load(files / "other.yaml"), tmp_path / "run").to_the_end()
    (lesson, *_) = read_jsonl(tmp_path / "run/rounds/01/lessons.jsonl", Lesson)
    assert lesson.completion == "Look again.\nAnswer: 4"
    exam = list(read_jsonl(tmp_path / "run/rounds/01/exam.jsonl", Attempt))
    assert all(a.graded for a in exam)


def test_the_recipe_of_the_page_on_exams(tmp_path: Path) -> None:
    page = (PAGE.parent / "exams.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yaml\n# exams\.yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "exams.yaml").write_text(block)
    Run.start(load(tmp_path / "exams.yaml"), tmp_path / "run").to_the_end()
    run = RunView.open(tmp_path / "run")
    assert run.final is not None
    assert run.noise is not None
    assert run.frozen is not None
    assert set(run.frozen.parts) == {"train", "gate", "held_out", "final"}
    assert run.rounds[1].contamination is not None
    assert run.chosen_on == "gate"


async def test_the_prompt(files: Path, tmp_path: Path) -> None:
    found: dict[str, Any] = {}
    exec((files / "my_prompt.py").read_text(), found)
    prompt, review = found["REVIEW"], found["Review"]
    assert prompt.parse(prompt.example({}, 0)) == review(first_wrong_step=2, advice="Multiply before you add.")
    broken, whole = "step 2", 'Here: ```json\n{"first_wrong_step": 3, "advice": "Look.",}\n```'
    with Ledger.open(tmp_path / "calls.sqlite") as ledger:
        caller = Caller(ScriptedTeacher(replies=[broken, whole]), ledger)
        (answer,) = await caller.ask(prompt, {"question": "2 + 2?", "attempt": "5"})
    assert answer.value == review(first_wrong_step=3, advice="Look.")


@pytest.mark.skipif(not confinement().possible, reason=f"code cannot be confined: {confinement().told}")
def test_the_recipe_of_the_page_on_graders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (PAGE.parent / "graders.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"^```yaml\n# code\.yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (row,) = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    rows = [{**json.loads(row), "question": f"Write f(x), the square of x, in way {n}."} for n in range(8)]
    (tmp_path / "programs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "code.yaml").write_text(recipe)
    monkeypatch.chdir(tmp_path)
    Run.start(load(tmp_path / "code.yaml"), tmp_path / "run").to_the_end()
    lessons = list(read_jsonl(tmp_path / "run/rounds/01/lessons.jsonl", Lesson))
    assert lessons  # their programs ran, and passed
    assert all("verified" in [check.filter for check in lesson.checks] for lesson in lessons)
    attempts = list(read_jsonl(tmp_path / "run/rounds/01/answers.jsonl", Attempt))
    assert all(attempt.graded for attempt in attempts)


def test_every_grader_of_the_page_is_there_and_every_line_is_a_recipe() -> None:
    page = (PAGE.parent / "graders.md").read_text(encoding="utf-8")
    for name in known("grader"):
        assert f"`{name}`" in page, name
    named = re.findall(r"graded_by: (\{.*?\})\}?$", page, re.MULTILINE)
    assert len(named) >= 5
    for spec in named:
        given = yaml.safe_load(spec if spec.count("{") == spec.count("}") else spec.rstrip("}") + "}}")
        build("grader", given, where="graded_by")


async def test_a_grader_of_the_users_own_that_asks(tmp_path: Path) -> None:
    page = (PAGE.parent / "graders.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n# my_asking_grader\.py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "my_asking_grader.py").write_text(code)
    grader = build("grader", {"id": "my_asking_grader:Brief", "longest": 20}, where="graded_by", folder=tmp_path)
    assert isinstance(grader, AskingGrader)
    asked = [(Problem(question="Why?"), text) for text in ("Because.", "Because " * 9, "So.", "?")]
    replies = ["Verdict: right\nReason: yes", "Verdict: wrong\nReason: no", "", ""]
    with Ledger.open(tmp_path / "calls.sqlite") as ledger:
        found = await grader.grade_by_asking(asked, Caller(ScriptedTeacher(replies=replies), ledger))
    assert [one.score for one in found[:3] if isinstance(one, Grade)] == [1, 0, 0]
    assert isinstance(found[3], GradeError)
