"""The loop, struck by one fault of each kind; and what the harness itself would take for wrong."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from chaotic import comparing, faults  # noqa: E402

COMPILER = shutil.which("cc") or shutil.which("gcc")


def struck(tmp_path: Path, *more: str) -> tuple[str, list[dict[str, Any]]]:
    """Run the script; return what it printed, and its trials."""
    command = [sys.executable, str(ROOT / "scripts" / "chaos.py"), "--json", str(tmp_path / "trials.json"), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, [json.loads(line) for line in (tmp_path / "trials.json").read_text().splitlines()]


@pytest.mark.timeout(600)
def test_six_trials(tmp_path: Path) -> None:
    said, trials = struck(tmp_path, "--small")
    assert not [trial for trial in trials if trial["wrong"]]
    assert len(trials) == (6 if COMPILER else 3), said
    assert all(trial["code"] for trial in trials)  # each was struck before it had come to its end
    assert f"| all | {len(trials)} | {len(trials)} | 0 |" in said


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_forty_trials(tmp_path: Path) -> None:
    _, trials = struck(tmp_path, "--kills", "20", "--faults", "20", "--seed", "7")
    assert len(trials) >= 20


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if COMPILER is None or not sys.platform.startswith("linux"):
        pytest.skip("file-system faults need Linux and a C compiler")
    made = faults.built(tmp_path_factory.mktemp("shim"))
    assert isinstance(made, Path), made
    return made


PROGRAM = """
import ctypes, json, os, sys, time
sys.path.insert(0, sys.argv[1])
from chaotic import faults
from pathlib import Path
folder, plan = Path(sys.argv[2]), json.loads(sys.argv[3])
folder.mkdir()
library = ctypes.CDLL(None)
faults.arm(library, plan, [str(folder)], 2)
try:
    before = time.time()
    (folder / "a").write_bytes(b"12345678")
    (folder / "a").rename(folder / "b")
    (folder.parent / "outside").write_bytes(b"1")
    print(json.dumps({"counts": faults.counts(library), "moved": time.time() - before}))
except OSError as error:
    print(json.dumps({"errno": error.errno}))
"""


def under(shim: Path, folder: Path, name: str, kind: str, *, jump: int = 0) -> "subprocess.CompletedProcess[str]":
    plan = faults.as_plain(faults.Plan(name, 0.0, kind, jump), dict.fromkeys(faults.KINDS, 1))
    command = [sys.executable, "-c", PROGRAM, str(ROOT / "scripts"), str(folder), json.dumps(plan)]
    environment = {**os.environ, "LD_PRELOAD": str(shim)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_the_shim_does_what_a_plan_says(shim: Path, tmp_path: Path) -> None:
    full = under(shim, tmp_path / "full", "disk full (ENOSPC)", "create")
    assert json.loads(full.stdout) == {"errno": 28}
    assert full.stderr.startswith(f"create {tmp_path / 'full' / 'a'}")
    torn = under(shim, tmp_path / "torn", "torn write, killed", "write")
    assert torn.returncode == -9
    assert (tmp_path / "torn" / "a").read_bytes() == b"1234"
    killed = under(shim, tmp_path / "killed", "kill at a call", "rename")
    assert killed.returncode == -9
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["a"]
    rights = under(shim, tmp_path / "rights", "permission lost (EACCES)", "rename")
    assert json.loads(rights.stdout) == {"errno": 13}
    clock = json.loads(under(shim, tmp_path / "clock", "clock jumps", "create", jump=-3600).stdout)
    assert -3601 < clock["moved"] < -3590
    assert (clock["counts"]["create"], clock["counts"]["write"], clock["counts"]["rename"]) == (1, 1, 1)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two runs that came to the same at different times."""
    for name, moment in (("own", "2026-11-20T10:00:00Z"), ("other", "2026-11-21T11:00:00Z")):
        folder = tmp_path / name / "rounds" / "01"
        (folder / ".done").mkdir(parents=True)
        (folder / "lessons.jsonl").write_text('{"a": 1}\n{"a": 2}\n')
        (folder / "metrics.json").write_text(json.dumps({"right": 3, "finished": moment}))
        marker = {"stage": "teach", "round": 1, "outputs": {"lessons.jsonl": "ab"}, "finished": moment,
                  "counts": {"teach/asked": 3, "teach/from ledger": len(name)}, "seconds": len(name)}  # fmt: skip
        (folder / ".done" / "teach.json").write_text(json.dumps(marker))
    return tmp_path / "own", tmp_path / "other"


def test_times_are_no_difference(pair: tuple[Path, Path]) -> None:
    assert comparing.differences(*pair) == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rounds/01/lessons.jsonl", '{"a": 1}\n{"a": 3}\n'),
        ("rounds/01/metrics.json", '{"right": 4, "finished": "2026-11-20T10:00:00Z"}'),
        ("rounds/01/.done/teach.json", '{"stage": "teach", "round": 1, "outputs": {}, "counts": {"teach/asked": 3}}'),
        ("rounds/01/other.json", "{}"),
    ],
)
def test_everything_else_is_one(pair: tuple[Path, Path], name: str, content: str) -> None:
    (pair[0] / name).write_text(content)
    assert [line.partition(":")[0] for line in comparing.differences(*pair)] == [name]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", b'{"a": '), ("a.jsonl", b'{"a": 1}\n{"a"'), ("a.jsonl", b'{"a": 1}'), ("a.yaml", b"- a"),
        ("a.safetensors", b"\x02\0\0\0\0\0\0\0{}"), ("a.json", b""),
    ],
)  # fmt: skip
def test_what_is_half_written_is_seen(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert len(comparing.unwhole(tmp_path)) == 1
