import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lessons.answers import question_key
from lessons.errors import InputError
from lessons.graders.exact import ExactGrader
from lessons.graders.numeric import NumericGrader
from loops.plugins import build
from loops.tasks.jsonl import Jsonl


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mine.jsonl"


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def rows(count: int, start: int = 0) -> list[dict]:
    return [{"question": f"Question {n}?", "answer": str(n), "skills": ["a", "b"]} for n in range(start, start + count)]


def test_a_share_is_held_out(path: Path) -> None:
    task = Jsonl(train=write(path, rows(50)), held_out=0.2, gate=5)
    split = task.split(0)
    assert (len(split.held_out), len(split.gate), len(split.train)) == (10, 5, 35)
    assert len({p.id for p in (*split.held_out, *split.gate, *split.train)}) == 50
    assert task.split(0) == split
    assert task.split(1) != split
    assert task.catalog(split.train).names == ("a", "b")
    assert len(Jsonl(train=str(path), held_out=7).split(0).held_out) == 7
    assert len(Jsonl(train=str(path), limit=3).split(0).train) == 3


def test_a_file_is_held_out_and_never_taught(path: Path, tmp_path: Path) -> None:
    exam = write(tmp_path / "exam.jsonl", rows(10))
    repeated = [{"question": "  QUESTION 3", "answer": "3"}, {"question": "Question 20?", "answer": "20"}]
    task = Jsonl(train=write(path, rows(30, start=5) + repeated), held_out=exam)
    split = task.split(0)
    assert [p.source for p in split.held_out] == [f"exam.jsonl:{n}" for n in range(1, 11)]
    assert sorted(int(str(p.answer)) for p in split.train) == list(range(10, 35))


def test_fields_have_the_users_names(path: Path) -> None:
    row = {"q": "Which?", "gold": 3.5, "topic": "x", "options": ["3.5", "4"], "why": "Because."}
    task = Jsonl(
        train=write(path, [row, {"q": "Other?", "gold": 4}]),
        held_out=1,
        question="q",
        answer="gold",
        skills="topic",
        choices="options",
        solution="why",
        graded_by={"id": "numeric", "tolerance": 0.1},
        system="Be brief.",
    )
    split = task.split(0)
    problem = next(p for p in (*split.train, *split.held_out) if p.question == "Which?")
    assert (problem.answer, problem.skills, problem.choices, problem.solution) == (
        "3.5",
        ("x",),
        ("3.5", "4"),
        "Because.",
    )
    assert task.grader == NumericGrader(tolerance=0.1)
    assert task.instruction == "Be brief."
    assert task.reference(problem) == "Because.\nAnswer: 3.5"
    assert Jsonl(train="x").grader == ExactGrader()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "a"}', "line 2: field 'answer' is missing"),
        ('{"answer": "a"}', "line 2: field 'question' is missing"),
        ('{"question": "", "answer": "a"}', "line 2: field 'question' is empty"),
        ('{"question": ["a"], "answer": "a"}', "line 2: field 'question' is not text"),
        ('{"question": "a", "answer": true}', "line 2: field 'answer' is not text"),
        ('{"question": "a", "answer": "1", "skills": 3}', "line 2: field 'skills'"),
        ('{"question": "a", "answer": "1", "choices": ["a", 3]}', "line 2: field 'choices'"),
        ('{"question": "a", "answer": "1", "solution": 3}', "line 2: field 'solution' is not text"),
        ('{"question": "a", "answer": "1"', "line 2: "),
        ("3", "line 2: expected an object"),
    ],
)
def test_a_bad_row_names_file_line_and_field(path: Path, line: str, said: str) -> None:
    path.write_text(f"{json.dumps(rows(1)[0])}\n{line}\n", encoding="utf-8")
    with pytest.raises(InputError) as error:
        Jsonl(train=str(path)).split(0)
    assert str(error.value).startswith(f"{path}: {said}")


def test_what_is_missing_is_said(path: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Jsonl(train=str(tmp_path / "none.jsonl")).split(0)
    path.write_text("\n\n")
    with pytest.raises(InputError, match="holds no rows"):
        Jsonl(train=str(path)).split(0)
    write(path, rows(4))
    with pytest.raises(InputError, match="no row has the field 'topic' that task.skills names"):
        Jsonl(train=str(path), skills="topic").split(0)
    with pytest.raises(InputError, match="no problems are left"):
        Jsonl(train=str(path), held_out=str(path)).split(0)
    with pytest.raises(InputError, match="held_out asks for 9"):
        Jsonl(train=str(path), held_out=9).split(0)
    with pytest.raises(InputError, match="did you mean exact"):
        _ = Jsonl(train=str(path), graded_by="exakt").grader
    for wrong in (0, -1, 1.5):
        with pytest.raises(ValueError, match="held_out"):
            Jsonl(train=str(path), held_out=wrong)


def test_a_recipe_builds_it(path: Path) -> None:
    task = build("task", {"id": "jsonl", "train": write(path, rows(10)), "held_out": 0.5}, where="task")
    assert len(task.split(0).held_out) == 5
    with pytest.raises(InputError, match="held_out"):
        build("task", {"id": "jsonl", "train": "x", "held_out": -2}, where="task")


@given(st.lists(st.text("ab .?", min_size=1, max_size=4).filter(str.strip), min_size=4, max_size=20), st.integers(0, 9))
@settings(max_examples=50, deadline=None)
def test_parts_never_share_a_question(
    tmp_path_factory: pytest.TempPathFactory, questions: list[str], seed: int
) -> None:
    path = tmp_path_factory.mktemp("rows") / "mine.jsonl"
    task = Jsonl(train=write(path, [{"question": q, "answer": "1"} for q in questions]), held_out=0.3)
    if len(set(map(question_key, questions))) < 2:
        with pytest.raises(InputError):
            task.split(seed)
        return
    split = task.split(seed)
    exam = {question_key(p.question) for p in split.held_out}
    train = {question_key(p.question) for p in split.train}
    assert exam
    assert not exam & train
    assert exam | train == set(map(question_key, questions))


def test_problems_for_graders_that_need_no_reference_answer(path: Path) -> None:
    tests = ["assert f(1) == 1"]
    made = [{"question": f"q{n}", "checks": tests, "entry_point": "f", "solution": f"s{n}"} for n in range(4)]
    write(path, made)
    task = Jsonl(train=str(path), graded_by="code", tests="checks", held_out=1)
    problem = task.split(0).train[0]
    assert problem.answer is None
    assert problem.data == {"tests": tests, "entry_point": "f"}
    assert task.reference(problem) == problem.solution
    with pytest.raises(InputError, match="line 1: field 'answer' is missing"):
        Jsonl(train=str(path), graded_by="exact").split(0)
    with pytest.raises(InputError, match="no row has the field 'tset' that task.tests names"):
        Jsonl(train=str(path), graded_by="code", tests="tset").split(0)
    write(path, [{"question": f"q{n}"} for n in range(4)])
    bare = Jsonl(train=str(path), graded_by={"id": "contains", "phrases": ["x"]}, held_out=1)
    with pytest.raises(InputError, match=r"mine\.jsonl:\d: a lesson taken from it needs 'solution' or 'answer'"):
        bare.reference(bare.split(0).train[0])
