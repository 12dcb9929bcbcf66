"""A disk that is full, and the like: one line that names the file and what to do, and the same command goes on."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def run(folder: Path, largest: int) -> "subprocess.CompletedProcess[str]":
    """Start a run whose process may make no file larger than so many bytes; it stops before any weights are loaded."""
    recipe = {
        "task": {"id": "skills_demo", "train": 100, "held_out": 2},
        "student": "tiny",
        "teacher": "rule_tutor",
        "method": "rationale",
    }
    (folder / "r.yaml").write_text(yaml.safe_dump(recipe))
    code = (
        "from loops.cli import main; from loops.exams import freezing\n"
        "import sys; freezing.check = lambda folder: sys.exit(77)\n"
        "main()"
    )
    return subprocess.run(
        [sys.executable, "-c", code, "run", "r.yaml", "--into", "run", "--quiet"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest)),
    )


def test_a_file_that_cannot_grow(tmp_path: Path) -> None:
    done = run(tmp_path, 65_536)
    assert done.returncode == 5, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line == (
        f"tutelage: {Path('run', 'problems', 'train.jsonl')}: File too large; what is done is kept: use a file system "
        "that takes larger files, and the same command goes on"
    )
    assert (tmp_path / "run" / "problems" / "held_out.jsonl").exists()
    assert not list((tmp_path / "run").rglob(".*.tmp"))
    assert run(tmp_path, 10_000_000).returncode == 77
    assert (tmp_path / "run" / "problems" / "train.jsonl").stat().st_size > 65_536
