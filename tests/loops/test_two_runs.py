"""Two runs at once on one cache of replies: both come to the same, and a third asks nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from loops.run import Run
from teachers.ledger import read_calls
from teachers.loopback import Fault, LoopbackServer
from teachers.rule_tutor import RuleTutor

ROOT = Path(__file__).parents[2]
RECIPE = {
    "task": {"id": "skills_demo", "train": 3, "held_out": 1},
    "student": {"model": "tiny", "answer": {"max_tokens": 8}, "adapter": {"rank": 4}},
    "method": "rationale",
    "train": {"epochs": 1},
    "calls": {"in_flight": 4},
    "gate": {"rule": "always"},
}


def replies(ledger: Path) -> dict[str, str]:
    return {call.id: call.reply.text for call in read_calls(ledger)}


TEACH = """
import sys
from pathlib import Path
from loops.run import Run
Run.start(Path(sys.argv[1]), Path(sys.argv[2])).up_to(1, "filter")
"""


@pytest.mark.slow
def test_two_processes_share_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, cache = tmp_path / "recipe.yaml", tmp_path / "cache" / "calls.sqlite"
    monkeypatch.setenv("TUTELAGE_CALLS", str(cache))
    with LoopbackServer(RuleTutor(error_rate=0.1), fault=lambda seen: Fault(delay=0.02)) as server:
        monkeypatch.setenv("LOOPBACK_KEY", server.key)
        teacher = {"kind": "openai", "model": "loopback", "base_url": server.base_url, "key": "LOOPBACK_KEY"}
        path.write_text(yaml.safe_dump({**RECIPE, "teacher": {**teacher, "features": ["n"]}}))
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_WAIT_POLICY": "PASSIVE"}
        command = [sys.executable, "-c", TEACH, str(path)]
        both = [
            subprocess.Popen([*command, str(tmp_path / name)], env=environment, stderr=subprocess.PIPE, text=True)
            for name in ("one", "two")
        ]
        for process in both:
            _, said = process.communicate(timeout=200)
            assert process.returncode == 0, said
        one, two, shared = (replies(tmp_path / name / "calls.sqlite") for name in ("one", "two", "cache"))
        assert one == two == shared
        asked = len(server.requests)
        assert len(one) <= asked <= 2 * len(one)
        Run.start(path, tmp_path / "three").up_to(1, "filter")
        assert len(server.requests) == asked
    made = {(tmp_path / name / "rounds/01/candidates.jsonl").read_bytes() for name in ("one", "two", "three")}
    assert len(made) == 1
