"""scripts/gpu_check.sh: every line of it but the GPU's own figures, on a CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.real_vllm import vllm_command

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "teachers" / "fake_vllm.py"


def checked(*more: str, seconds: float = 900.0) -> "subprocess.CompletedProcess[str]":
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "TUTELAGE_VENV": str(Path(sys.prefix)), "HF_HUB_OFFLINE": "1"}
    command = [str(ROOT / "scripts" / "gpu_check.sh"), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, env=environment)


def run_here(words: str) -> Any:
    """Run Python with the scripts' folder on its path, as the script has it, and return what it prints as JSON."""
    lead = f"import sys; sys.path[:0] = [{str(ROOT / 'scripts')!r}, {str(ROOT)!r}]; import json\n"
    told = subprocess.run([sys.executable, "-c", lead + words], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return json.loads(told.stdout)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_CACHE", str(tmp_path / "cache"))


def test_operations_are_counted_as_they_are_written_down() -> None:
    found = run_here(
        """
from gpu_checking.training import operations, peak_of, shape_of
from students.tiny import TinyBase
import torch
shape = shape_of(TinyBase().model(torch.float32))
names = ["NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA A100-SXM4-40GB", "NVIDIA L4", "NVIDIA L40S", "Tesla T4"]
print(json.dumps([list(shape), operations(shape, 100.0), [peak_of(name) for name in names]]))
"""
    )
    # Two layers of width 64: queries 64 x 64, keys and values 64 x 32 each, output 64 x 64, three of 64 x 128; the head
    # 261 x 64. The adapter: rank 16 times the inputs and outputs of each but the head.
    base = 2 * (64 * 64 + 2 * 64 * 32 + 64 * 64 + 3 * 64 * 128) + 261 * 64
    adapter = 2 * 16 * (128 + 2 * 96 + 128 + 3 * 192)
    assert found[0] == [base, adapter, 2, 64]
    assert found[1] == 4 * base + 6 * adapter + 3 * 2 * 2 * 64 * 100
    assert found[2] == [989.0, 756.0, 312.0, 121.0, 362.0, None]


def test_made_up_lessons_are_about_as_long_as_was_asked_for() -> None:
    found = run_here(
        """
from gpu_checking.training import made_up
from students.chats import row_tokens
from students.tiny import tiny
student = tiny()
rows = [row_tokens(student.tokenizer, x.prompt, x.completion, student.stops) for x in made_up(student, 5, 200)]
print(json.dumps([[len(row) for row in rows], len({tuple(row.prompt) for row in rows})]))
"""
    )
    assert all(180 <= length <= 220 for length in found[0])
    assert found[1] == 5


def test_without_a_gpu_it_says_so_in_one_line() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    done = checked()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "gpu_check: no GPU that torch can use; --device cpu --small goes through the same on a CPU\n"
    )


@pytest.mark.slow
def test_a_server_that_does_not_serve_the_adapter_is_found_out(tmp_path: Path) -> None:
    """With a program that stands in for vLLM, all is measured, and the check of the examined student fails."""
    command = tmp_path / "vllm"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{FAKE}" "$@"\n')
    command.chmod(0o755)
    done = checked("--device", "cpu", "--small", "--vllm", str(command), "--json", str(tmp_path / "out.json"))
    assert done.returncode == 1, done.stderr
    report = json.loads((tmp_path / "out.json").read_text())
    fails = {name for name, one in report["checks"].items() if not one["holds"]}
    assert fails == {f"stop, round {index}: the examined student is the one just trained" for index in (1, 2)}
    assert set(report["checks"]) - fails == {
        "stop: never two at once", "stop: nothing is left", "stop: nothing went wrong"
    }  # fmt: skip
    changes = report["switches"]["stop and start"]
    assert {change: len(times) for change, times in changes.items()} == {
        "start teacher": 2, "stop teacher": 2, "start student's server": 4, "stop student's server": 4,
    }  # fmt: skip
    for way in ("ours", "trl"):
        assert report["training"][way]["tokens_per_second"] > 0
        assert report["training"][way]["flop_utilisation"] is None
    assert abs(report["training"]["ours"]["first_loss"] - report["training"]["trl"]["first_loss"]) < 0.05
    assert set(report["peak_memory_gib"]) == {
        "before", "train", "train with TRL", "teacher (stop)", "student answers", "train a round"
    }  # fmt: skip
    assert all(peak > 0.1 for peak in report["peak_memory_gib"].values())
    assert "FAILS" in done.stdout
    assert "tokens/s" in done.stdout


@pytest.mark.vllm
@pytest.mark.timeout(3600)
def test_a_real_server_on_a_cpu_holds_all_of_it(tmp_path: Path) -> None:
    command = vllm_command()
    out = tmp_path / "out.json"
    done = checked(
        "--device", "cpu", "--small", "--vllm", command, "--peak-tflops", "0.1", "--json", str(out), seconds=3500
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert all(one["holds"] for one in report["checks"].values())
    assert 0 < report["training"]["ours"]["flop_utilisation"] < 1


@pytest.mark.gpu
@pytest.mark.timeout(3600)
def test_on_a_gpu_all_of_it_holds(tmp_path: Path) -> None:
    command = vllm_command()
    out = tmp_path / "out.json"
    done = checked("--small", "--vllm", command, "--json", str(out), seconds=3500)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr
    report = json.loads(out.read_text())
    assert all(one["holds"] for one in report["checks"].values())
    assert {change.split()[0] for change in report["switches"]["sleep and wake"]} >= {"start", "sleep", "wake"}
