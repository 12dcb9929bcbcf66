"""What `tutelage new-method` writes runs, and its own test passes."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lessons.errors import InputError
from loops.cli import app
from loops.scaffold import scaffold

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_what_it_writes_passes_its_own_test_and_the_checks(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["new-method", "worst_first", "--into", str(tmp_path)])
    assert told.exit_code == 0, told.output
    assert {path.name for path in tmp_path.iterdir()} == {"worst_first.py", "worst_first.yaml", "test_worst_first.py"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "/dev/null", "test_worst_first.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    ruff = [sys.executable, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), "--select", "E,F,I,UP,B"]
    checked = subprocess.run([*ruff, str(tmp_path)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", ["", "Worst", "../x", "class", "1st", "a-b", "a/b"])
def test_a_name_that_is_no_modules_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a name has"):
        scaffold(name, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_is_there_already_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("mine")
    with pytest.raises(InputError, match="is there already; it is left as it is"):
        scaffold("mine", tmp_path)
    assert (tmp_path / "mine.yaml").read_text() == "mine"
    assert not (tmp_path / "mine.py").exists()
    with pytest.raises(InputError, match="there is a method of this name"):
        scaffold("stat_syn", tmp_path)
