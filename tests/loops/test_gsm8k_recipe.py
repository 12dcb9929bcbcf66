"""scripts/recipes/gsm8k_stat_syn.yaml on real GSM8K problems, through a real HTTP server, real student included."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Lesson, Message, Problem
from lessons.skills import SkillProfile
from loops.recipe import load
from loops.run import Run
from loops.store import read_record
from teachers.base import Sampling
from teachers.ledger import read_calls
from teachers.loopback import Fault, LoopbackServer, Seen
from teachers.scripted import ScriptedTeacher

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "gsm8k"
SKILLS = ("addition", "multiplication", "money")


def reply(messages: Sequence[Message], sampling: Sampling) -> str:
    """A program that keeps to the prompts' forms; its new problems are sums that it can solve."""
    system, text = messages[0]["content"], messages[-1]["content"]
    if "name the skills" in system:
        return "Skills: " + ", ".join(SKILLS)
    if "put skills in order" in system:
        return "\n".join(f"- {name}: problems that need {name}" for name in SKILLS)
    if "label a problem" in system:
        chosen = SKILLS[len(text) % 3], SKILLS[(len(text) + 1) % 3]
        return f"Reason: it needs both.\nSkills: {', '.join(chosen)}"
    if "which skills the student lacks" in system:
        return "Verdict: wrong\nSkills: multiplication\nReason: the product is wrong."
    if "practice problems" in system:
        number = 1000 + sampling.seed % 7919 if sampling.seed else 1000
        size = len(text)
        return f"Question: Ann has {number} and gets {size}. How many?\nQuestion: Bo has {size} and {number}. How many?"
    numbers = [int(n) for n in re.findall(r"\d+", text.partition("</question>")[0])]
    return f"{' + '.join(map(str, numbers))} = {sum(numbers)}.\nAnswer: {sum(numbers)}"


def faulty(seen: Seen) -> Fault | None:
    """Now and then what an endpoint does on a bad day; each request succeeds when tried again."""
    if seen.repeat:
        return None
    if seen.index % 11 == 3:
        return Fault(status=500)
    return Fault(cut=True) if seen.index % 17 == 5 else None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not DATA.exists(), reason="the GSM8K data is not there")
def test_a_small_round_with_the_real_student(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with LoopbackServer(ScriptedTeacher(replies=reply), fault=faulty) as server:
        monkeypatch.setenv("GSM8K_TEST_KEY", server.key)
        changes: list[str] = [
            f"task.folder={DATA}", "task.train=10", "task.held_out=10", "task.final=4", "student.answer.max_tokens=64",
            f"teacher.base_url={server.base_url}", "teacher.key=GSM8K_TEST_KEY", "teacher.model=loopback",
            "select.budget=16", "train.epochs=1", "rounds=1", "diagnose.skill_sample=4",
            "diagnose.form=skill",  # 64 tokens cut most answers off; here the teacher is asked about them all the same
        ]  # fmt: skip
        recipe = load(ROOT / "scripts/recipes/gsm8k_stat_syn.yaml", changes)
        done = Run.start(recipe, tmp_path / "run").to_the_end()
        asked = len(server.requests)
        Run.resume(tmp_path / "run").to_the_end()
        assert len(server.requests) == asked
    assert done[1].metrics.n == 10
    first = tmp_path / "run/rounds/01"
    attempts = list(read_jsonl(first / "attempts.jsonl", Attempt))
    assert len(attempts) == 10
    assert all(a.text for a in attempts)  # the real student's own words
    failed = [a for a in attempts if a.failed]
    assert all(a.missing == ("multiplication",) for a in failed)
    profile = read_record(first / "profile.json", SkillProfile)
    assert profile is not None
    assert profile.rows["multiplication"].missing == len(failed)
    lessons = [x for x in read_jsonl(first / "lessons.jsonl", Lesson) if x.provenance.method == "stat_syn"]
    assert lessons
    train = {p.id for p in read_jsonl(tmp_path / "run/problems/train.jsonl", Problem)}
    paid = {call.id: call for call in read_calls(tmp_path / "run/calls.sqlite")}
    for lesson in lessons:
        assert lesson.problem.parent in train
        assert lesson.completion.endswith(f"Answer: {lesson.problem.answer}")
        assert [paid[call].purpose for call in lesson.provenance.calls] == ["new_problems", "solution"]
    assert list((first / "student").glob("adapter-*/adapter_model.safetensors"))
    assert_no_secret(tmp_path / "run", server.key)


def assert_no_secret(folder: Path, secret: str) -> None:
    held: list[Any] = [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert held == []
