import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lessons.answers import question_key
from lessons.errors import InputError
from loops.tasks.base import Split
from loops.tasks.gsm8k import Gsm8k
from loops.tasks.snips import INTENTS, Snips

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
real_gsm8k = pytest.mark.skipif(not (DATA / "gsm8k").exists(), reason=f"GSM8K is not at {DATA / 'gsm8k'}")
real_snips = pytest.mark.skipif(not (DATA / "snips").exists(), reason=f"SNIPS is not at {DATA / 'snips'}")


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def assert_apart(split: Split) -> None:
    parts = [split.train, split.held_out, split.pool, split.warm_up, split.gate]
    everything = [problem for part in parts for problem in part]
    assert len({problem.id for problem in everything}) == len(everything)
    assert len({question_key(problem.question) for problem in everything}) == len(everything)


@pytest.fixture
def gsm8k(tmp_path: Path) -> Path:
    def row(question: str, n: int) -> dict:
        return {"question": question, "answer": f"It is {n}+1 = <<{n}+1={n + 1}>>{n + 1}.\n#### {n + 1:,}"}

    write(tmp_path / "train.jsonl", [row(f"Train question {n}?", n * 1000) for n in range(20)])
    with (tmp_path / "train.jsonl").open("a", encoding="utf-8") as out:
        out.write(json.dumps(row("TEST  question 3", 1)) + "\n\n")  # stands in the exam's file too
        out.write(json.dumps(row("Train question 3?", 7)) + "\n")  # stands there twice
    write(tmp_path / "test.jsonl", [row(f"Test question {n}?", n) for n in range(10)])
    return tmp_path


def test_gsm8k_parts(gsm8k: Path) -> None:
    task = Gsm8k(folder=str(gsm8k), train=15, held_out=5, gate=5)
    split = task.split(0)
    assert (len(split.train), len(split.held_out), len(split.gate)) == (15, 5, 5)
    assert_apart(split)
    assert all(problem.source.startswith("gsm8k/test") for problem in split.held_out)
    assert all(problem.source.startswith("gsm8k/train") for problem in (*split.train, *split.gate))
    assert "test question 3" not in {question_key(p.question) for p in (*split.train, *split.gate)}
    problem = next(p for p in (*split.train, *split.gate) if p.question == "Train question 4?")
    assert (problem.answer, problem.solution) == ("4001", "It is 4000+1 = 4001.")
    assert task.grader.grade(problem, task.reference(problem)).score == 1
    assert task.catalog(split.train).names == ()


def test_gsm8k_is_the_same_for_a_seed_only(gsm8k: Path) -> None:
    task = Gsm8k(folder=str(gsm8k), train=15, held_out=5)
    assert task.split(1) == task.split(1)
    assert task.split(1) != task.split(2)


def test_gsm8k_labels(gsm8k: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    plain = Gsm8k(folder=str(gsm8k), train=20, held_out=10)
    first, second = plain.split(0).train[:2]
    write(labels, [{"id": first.id, "skills": ["adding"]}, {"question": second.question.upper(), "skills": ["b", "c"]}])
    labelled = Gsm8k(folder=str(gsm8k), train=20, held_out=10, skills=str(labels))
    train = labelled.split(0).train
    assert [p.skills for p in train[:3]] == [("adding",), ("b", "c"), ()]
    assert [p.id for p in train] == [p.id for p in plain.split(0).train]  # labels leave the draw as it is
    assert labelled.catalog(train).names == ("adding", "b", "c")
    write(labels, [{"id": "x", "skills": "adding"}])
    with pytest.raises(InputError, match=r"labels.jsonl: line 1: field 'skills'"):
        labelled.split(0)


def test_gsm8k_says_what_is_wrong(gsm8k: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.*grade-school-math"):
        Gsm8k(folder=str(tmp_path / "nowhere"), train=1, held_out=1).split(0)
    with pytest.raises(InputError, match=r"train asks for 21 problems, but only 20"):
        Gsm8k(folder=str(gsm8k), train=21, held_out=1).split(0)
    with pytest.raises(ValueError, match="held_out must be 1 or more"):
        Gsm8k(folder=str(gsm8k), train=1, held_out=0)
    for line, said in (
        ('{"question": "a"}', r"line 2: field 'answer' is missing"),
        ('{"question": 4, "answer": "#### 3"}', r"line 2: field 'question' is not text"),
        ('{"question": "a", "answer": "3"}', r"line 2: field 'answer' does not end with '#### N'"),
        ("{", r"test.jsonl: line 2: "),
        ("[]", r"line 2: expected an object"),
    ):
        (gsm8k / "test.jsonl").write_text(f'{{"question": "q", "answer": "#### 1"}}\n{line}\n', encoding="utf-8")
        with pytest.raises(InputError, match=said):
            Gsm8k(folder=str(gsm8k), train=1, held_out=1).split(0)


@real_gsm8k
def test_gsm8k_real() -> None:
    task = Gsm8k(folder=str(DATA / "gsm8k"), train=7000, held_out=1319, gate=400)
    split = task.split(0)
    assert_apart(split)
    for problem in (*split.train, *split.held_out):
        assert "<<" not in str(problem.solution)
        assert task.grader.grade(problem, task.reference(problem)).score == 1


SPLIT_DIGEST = """
from lessons.ids import digest
from loops.tasks.gsm8k import Gsm8k
from loops.tasks.snips import Snips
for task in (Gsm8k(folder="{data}/gsm8k", train=50, held_out=20), Snips(folder="{data}/snips", pool=50)):
    split = task.split(3)
    print(digest([[p.id for p in part] for part in (split.train, split.held_out, split.pool, split.warm_up)]))
"""


@real_gsm8k
@real_snips
def test_a_split_is_the_same_in_every_process() -> None:
    outputs = {
        subprocess.run(
            [sys.executable, "-c", SPLIT_DIGEST.format(data=DATA)],
            env={"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@real_snips
def test_snips_real() -> None:
    task = Snips(folder=str(DATA / "snips"))
    split = task.split(0)
    assert_apart(split)
    assert len(split.warm_up) == 70
    assert set(Counter(p.answer for p in split.warm_up).values()) == {10}
    assert set(Counter(p.answer for p in split.train).values()) == {50}
    assert len(split.held_out) == 695  # of 700 rows; 5 are repeated
    assert len(split.pool) > 13_000  # all that is left of 13,784 rows
    assert {p.answer for p in split.held_out} == set(INTENTS)
    exam = {question_key(json.loads(line)["text"]) for line in (DATA / "snips/validate.jsonl").open(encoding="utf-8")}
    taught = (*split.train, *split.pool, *split.warm_up)
    assert not exam & {question_key(p.question) for p in taught}
    for problem in split.train:
        assert problem.skills == (problem.answer,)
        assert task.grader.grade(problem, task.reference(problem)).score == 1
    assert task.catalog(split.train).names == INTENTS
    assert all(intent in task.instruction for intent in INTENTS)
    assert task.split(0) == split


@real_snips
def test_snips_sizes() -> None:
    split = Snips(
        folder=str(DATA / "snips"), warm_up=0, train=100, balanced=False, pool=30, gate=20, held_out=100
    ).split(1)
    assert [len(part) for part in (split.warm_up, split.train, split.pool, split.gate, split.held_out)] == [
        0,
        100,
        30,
        20,
        100,
    ]
    assert_apart(split)
    with pytest.raises(InputError, match="held_out asks for 701"):
        Snips(folder=str(DATA / "snips"), held_out=701).split(0)


def test_snips_says_what_is_wrong(tmp_path: Path) -> None:
    task = Snips(folder=str(tmp_path), warm_up=0, train=1, held_out=1)
    with pytest.raises(InputError, match="nlu-benchmark"):
        task.split(0)
    write(tmp_path / "train.jsonl", [{"text": "play", "intent": "PlayMusic"}])
    write(tmp_path / "validate.jsonl", [{"text": "play", "intent": "Play"}])
    with pytest.raises(InputError, match=r"validate.jsonl: line 1: field 'intent' is 'Play'"):
        task.split(0)
    write(tmp_path / "validate.jsonl", [{"text": "Play!", "intent": "PlayMusic"}])
    with pytest.raises(InputError, match="train asks for 1 problems, but only 0"):
        task.split(0)
