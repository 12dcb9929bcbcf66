"""The final part of every built-in task: apart from all others, and without it the splits are what they always were."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lessons.errors import InputError
from loops.tasks.base import Split
from loops.tasks.gsm8k import Gsm8k
from loops.tasks.jsonl import Jsonl
from loops.tasks.reasoning_gym import ReasoningGym
from loops.tasks.skills_demo import SkillsDemo
from loops.tasks.snips import INTENTS, Snips
from loops.work import PARTS

Make = Callable[..., Any]


def write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def makers(tmp_path: Path) -> dict[str, Make]:
    questions = [{"question": f"Question {n}?", "answer": f"So.\n#### {n}"} for n in range(80)]
    write(tmp_path / "train.jsonl", questions[:50])
    write(tmp_path / "test.jsonl", questions[50:])
    (tmp_path / "snips").mkdir()
    commands = [{"text": f"command {n}", "intent": INTENTS[n % 7]} for n in range(120)]
    write(tmp_path / "snips/train.jsonl", commands[:100])
    write(tmp_path / "snips/validate.jsonl", commands[100:])
    mine = write(tmp_path / "mine.jsonl", questions)
    folder, snips = str(tmp_path), str(tmp_path / "snips")
    return {
        "gsm8k": lambda final: Gsm8k(folder=folder, train=30, held_out=10, gate=5, final=final),
        "snips": lambda final: Snips(folder=snips, train=21, held_out=15, gate=5, warm_up=7, final=final),
        "jsonl": lambda final: Jsonl(train=mine, held_out=10, gate=5, final=final),
        "reasoning_gym": lambda final: ReasoningGym(name="gcd", train=20, held_out=10, gate=5, final=final),
        "skills_demo": lambda final: SkillsDemo(train=5, held_out=5, gate=2, warm_up=1, final=final),
    }


NAMES = ["gsm8k", "snips", "jsonl", "reasoning_gym", "skills_demo"]


@pytest.mark.parametrize("name", NAMES)
def test_the_final_part_is_apart_and_leaves_the_exam_as_it_was(name: str, makers: dict[str, Make]) -> None:
    if name == "reasoning_gym":
        pytest.importorskip("reasoning_gym")
    make = makers[name]
    without, split = make(0).split(3), make(6).split(3)
    assert len(split.final) == (48 if name == "skills_demo" else 6)
    assert make(6).split(3) == split
    every = [problem for part in PARTS for problem in getattr(split, part)]
    assert len({problem.question for problem in every}) == len({problem.id for problem in every}) == len(every)
    assert (without.final, without.held_out, without.gate) == ((), split.held_out, split.gate)
    with pytest.raises((InputError, ValueError), match="final"):
        make(-1)
    if name in ("gsm8k", "snips", "jsonl"):  # what there is of these is known
        with pytest.raises(InputError, match=r"final asks for 100 problems, but only \d+ different ones are left"):
            make(100).split(3)


def test_jsonl_takes_a_file_whose_questions_no_other_part_asks(tmp_path: Path) -> None:
    rows = [{"question": f"Question {n}?", "answer": str(n)} for n in range(30)]
    task = Jsonl(
        train=write(tmp_path / "t.jsonl", rows[:20]),
        held_out=write(tmp_path / "h.jsonl", rows[18:26]),
        final=write(tmp_path / "f.jsonl", [*rows[24:], {"question": "question 0", "answer": "0"}]),
    )
    split = task.split(0)
    asked = {part: {int(p.answer or -1) for p in getattr(split, part)} for part in ("train", "held_out", "final")}
    assert asked == {"final": {0, *range(24, 30)}, "held_out": set(range(18, 24)), "train": set(range(1, 18))}


def of(split: Split, part: str) -> str:
    text = "".join(problem.id + problem.source for problem in getattr(split, part))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def test_without_a_final_part_a_seed_gives_the_split_that_it_always_gave() -> None:
    split = SkillsDemo(gate=3, warm_up=2).split(7)
    assert {part: of(split, part) for part in ("train", "held_out", "warm_up", "gate")} == GOLDEN


GOLDEN = {"train": "912a4e70", "held_out": "683d26fc", "warm_up": "237c1660", "gate": "a9712d37"}
"""Taken before tasks had a final part."""
