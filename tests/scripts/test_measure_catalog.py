"""scripts/measure_catalog.py against a real HTTP server: every artefact is there, can be read, and is paid for once."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from lessons.demo.skills import SKILLS, generate
from lessons.ids import seed_of
from lessons.jsonl import read_jsonl
from lessons.records import Attempt, Message
from lessons.skills import SkillProfile
from loops.catalog.file import Label, read_catalog
from loops.store import read_record
from teachers.base import Sampling, Teacher
from teachers.loopback import LoopbackServer
from teachers.prompts import missing_skills, skill_clusters, skill_labels, skill_names
from teachers.prompts.reading import sections
from teachers.rule_tutor import RuleTutor
from teachers.scripted import ScriptedTeacher

ROOT = Path(__file__).parents[2]
GSM8K = ROOT.parent / "shared" / "data" / "gsm8k" / "model_solutions.jsonl"


def measured(teacher: Teacher, solutions: Path, out: Path, *more: str) -> dict[str, Any]:
    """Run the script twice; the second time nothing may reach the server."""
    with LoopbackServer(teacher) as server:
        command = [
            sys.executable, str(ROOT / "scripts" / "measure_catalog.py"), "--solutions", str(solutions),
            "--out", str(out), "--model", server.model, "--base-url", server.base_url,
            "--key-variable", "LOOPBACK_KEY", *more,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "LOOPBACK_KEY": server.key}
        first = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert first.returncode == 0, first.stderr
        reached = len(server.requests)
        assert reached
        second = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert second.returncode == 0, second.stderr
        assert len(server.requests) == reached
    summary = json.loads(first.stdout)
    again = json.loads((out / "summary.json").read_text())
    for key in ("catalogue", "agreement", "diagnosis"):
        assert again[key] == summary[key]
    return summary


def check(summary: dict[str, Any], out: Path, wrong: int) -> None:
    """What holds whatever the teacher is."""
    listed = read_catalog(out / "skills.yaml").catalog
    assert len(listed.skills) == summary["catalogue"]["skills"] > 0
    assert all(skill.description for skill in listed.skills)
    labels = list(read_jsonl(out / "skills.labels.jsonl", Label))
    assert all(set(one.skills) <= set(listed.names) and one.question for one in labels)
    assert sum(summary["catalogue"][key] for key in ("labelled", "none fits", "lost")) == summary["problems"]
    attempts = list(read_jsonl(out / "attempts.jsonl", Attempt))
    assert sum(one.failed for one in attempts) == summary["wrong"] == wrong
    assert all(set(one.missing) <= set(listed.names) for one in attempts)
    assert any(one.missing for one in attempts)
    assert not any(one.missing for one in attempts if one.right)
    assert read_record(out / "profile.json", SkillProfile) == SkillProfile.of(attempts, listed.names)
    assert (out / "diagnoses.txt").read_text().count("\nquestion: ") == len(attempts)


def test_with_a_teacher_that_knows_the_problems(tmp_path: Path) -> None:
    rng, rows = Random(0), list[dict[str, Any]]()
    for skill in list(SKILLS)[:5]:
        for _ in range(8):
            question, answer = generate(skill, rng)
            texts = ("I guess it.\nAnswer: 999999", False), (f"It is clear.\nAnswer: {answer}", True)
            rows += [{"question": question, "model": "m", "solution": t, "is_correct": c} for t, c in texts]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    more = ("--wrong", "30", "--right", "10", "--skill-sample", "20", "--agreement-sample", "15")
    summary = measured(RuleTutor(), tmp_path / "rows.jsonl", out, *more)
    check(summary, out, 30)
    assert summary["agreement"]["n"] == 15
    assert summary["agreement"]["kappa"] == 1.0  # it always says the same
    assert summary["diagnosis"]["wrong called wrong"]["hits"] == 30
    assert summary["diagnosis"]["right called right"]["hits"] == 10


SKILL_OF = {"$": "money", "%": "percentages", "hour": "time", "day": "time", "each": "multiply", "": "add and subtract"}


def a_weak_model(messages: Sequence[Message], sampling: Sampling) -> str:
    """Reply as small models do: in markdown, with an afterthought, and now and then with something else."""
    system, fields = messages[0]["content"], sections(messages[1]["content"])
    chance = Random(seed_of(fields.get("question", ""), sampling.seed, len(messages))).random()
    skill = next(name for sign, name in SKILL_OF.items() if sign in fields.get("question", ""))
    if chance < 0.05:
        return "I'm sorry, but as an AI I would rather explain the solution in full."
    if system == skill_names.SYSTEM:
        return f"**Skills:** {skill}, {skill} in word problems"
    if system == skill_clusters.SYSTEM:
        return "\n".join(
            f"{n}. **{name}**\n   Use {name}." for n, name in enumerate(dict.fromkeys(SKILL_OF.values()), 1)
        )
    if system == skill_labels.SYSTEM:
        return f"Skills: {'time' if chance > 0.9 else skill}\nReason: it is.\n\nI hope this helps!"
    assert missing_skills.SYSTEM.split(".")[0] in system
    return f"Verdict: {'right' if chance > 0.8 else 'wrong'}\nSkills: {skill}, common sense\nReason: step 1 is wrong."


def test_on_real_wrong_solutions(tmp_path: Path) -> None:
    if not GSM8K.exists():
        pytest.skip("GSM8K's model_solutions.jsonl is not here")
    summary = measured(ScriptedTeacher(replies=a_weak_model), GSM8K, tmp_path / "out", "--wrong", "120")
    check(summary, tmp_path / "out", 120)
    assert summary["catalogue"]["skills"] == len(set(SKILL_OF.values()))
    assert summary["catalogue"]["labelled"] > 0.95 * summary["problems"]
    assert 0.6 < summary["agreement"]["kappa"] < 1.0
    said = summary["diagnosis"]["wrong called wrong"]
    assert 0.6 * said["n"] < said["hits"] < said["n"]
