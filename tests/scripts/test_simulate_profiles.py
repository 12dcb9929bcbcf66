"""A small simulation by the script: the real path of diagnoses, figures that are shares, and the same for a seed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def simulated(*more: str) -> dict[str, Any]:
    command = [sys.executable, str(ROOT / "scripts" / "simulate_profiles.py"), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env=os.environ)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_help_says_what_is_simulated() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "simulate_profiles.py"), "--help"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert "A simulated student works a problem" in told
    assert "--error-rate" in told


def test_pooled_gaps_spend_a_budget_better_than_raw_ones_and_cover_the_truth() -> None:
    found = simulated("--seeds", "12", "--only", "coverage", "regret")
    assert found == simulated("--seeds", "12", "--only", "coverage", "regret")
    population, samples = found["population"], found["several samples"]
    assert population["regret"]["pooled gap"] < population["regret"]["raw gap"]
    assert population["regret"]["pooled gap"] < population["regret"]["count"]
    assert population["coverage"]["pooled gap"]["n"] == 12 * 8
    assert population["coverage"]["pooled gap"]["share"] > 0.88
    alone = samples["accuracy, samples taken for independent"]["share"]
    assert alone < samples["accuracy, effective n"]["share"] > 0.88


def test_an_honest_teacher_and_many_attempts_rank_the_weakest_first() -> None:
    found = simulated("--seeds", "2", "--attempts", "24", "--error-rate", "0", "--only", "ranking")["ranking"]["0.6"]
    for kind in ("true labels", "labels by the teacher"):
        ranked = found[kind]["weakest three first"]
        assert {name: one["share"] for name, one in ranked.items()} == dict.fromkeys(ranked, 1.0)
        assert found[kind]["coverage"]["pooled gap"]["n"] == 2 * 8
