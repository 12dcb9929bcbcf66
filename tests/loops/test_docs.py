"""The code of docs/write-a-method.md runs: a method, a teacher and a grader of the user's own, outside the project."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Lesson
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
