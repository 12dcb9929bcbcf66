"""kill -9 at random moments: each run goes on, asks nothing that the ledger holds, and ends with the same lessons."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from teachers.ledger import read_calls
from teachers.loopback import LoopbackServer, Seen
from teachers.rule_tutor import RuleTutor

ROOT = Path(__file__).parents[2]
LESSONS = ("rounds/01/lessons.jsonl", "rounds/02/lessons.jsonl")
EXAMS = (
    "problems/frozen.json", "rounds/00/noise.json", "rounds/02/contamination.json", "rounds/02/exam.jsonl",
    "rounds/02/metrics.json", "rounds/00/final.jsonl", "rounds/02/final.jsonl", "final.json",
)  # fmt: skip
SAME = (*LESSONS, *EXAMS, "rounds/01/dropped.jsonl", "rounds/02/profile.json")


def recipe(server: LoopbackServer) -> dict[str, Any]:
    return {
        "task": {"id": "skills_demo", "train": 8, "held_out": 3, "final": 2},
        "student": {"model": "tiny", "answer": {"max_tokens": 12, "temperature": 1.0}, "adapter": {"rank": 4}},
        "teacher": {"kind": "openai", "model": "loopback", "base_url": server.base_url, "key": "LOOPBACK_KEY"},
        "method": "rationale",
        "select": {"id": "profile", "budget": 30, "replay": 0.2},
        "train": {"epochs": 1},
        "calls": {"in_flight": 4},
        "gate": {"rule": "always"},
        "rounds": 2,
    }


def command(path: Path, into: Path) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from loops.cli import main; main()",
        "run",
        str(path),
        "--into",
        str(into),
        "--quiet",
    ]


def environment(server: LoopbackServer) -> dict[str, str]:
    return {**os.environ, "LOOPBACK_KEY": server.key, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}


def asked(seen: Seen) -> str:
    return json.dumps([seen.body["messages"], seen.body.get("seed")], sort_keys=True)


def held(ledger: Path) -> set[str]:
    if not ledger.exists():
        return set()
    return {json.dumps([list(c.messages), c.sampling.seed], sort_keys=True) for c in read_calls(ledger)}


def kill_and_resume(kills: int, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    with LoopbackServer(RuleTutor(error_rate=0.1)) as server:
        path = tmp_path / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe(server)))
        started = time.monotonic()
        subprocess.run(command(path, tmp_path / "whole"), env=environment(server), check=True, timeout=240)
        whole_takes = time.monotonic() - started
        undisturbed = len(server.requests)
        for number in range(kills):
            into = tmp_path / f"killed-{number}"
            process = subprocess.Popen(command(path, into), env=environment(server))
            time.sleep(rng.uniform(0.1, 1.0) * whole_takes)  # the moment of the kill is the test
            process.send_signal(signal.SIGKILL)
            process.wait()
            known, before = held(into / "calls.sqlite"), len(server.requests)
            subprocess.run(command(path, into), env=environment(server), check=True, timeout=240)
            again = [asked(seen) for seen in server.requests[before:]]
            assert not [request for request in again if request in known]
            for name in SAME:
                assert (into / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), (number, name)
        # What was in flight at each kill may be asked twice, nothing else: at most four calls a kill.
        assert len(server.requests) <= (kills + 1) * undisturbed + 4 * kills


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_ten_times(tmp_path: Path) -> None:
    kill_and_resume(10, tmp_path, seed=2)
