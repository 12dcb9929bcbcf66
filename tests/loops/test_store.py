import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from lessons.errors import InputError
from loops.recipe import resolve
from loops.records import Marker
from loops.store import RunFolder, read_record, write_record
from loops.watching.progress import Silent
from loops.work import Work

PLAIN = {"task": {"id": "t", "train": 3}, "rounds": 2}


def test_a_new_folder_then_the_same_recipe_then_another(tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert RunFolder(path).start(PLAIN) is True
    folder = RunFolder(path)
    assert folder.start(PLAIN) is False
    folder.release()
    with pytest.raises(InputError, match=r"holds a run of another recipe \(differs in rounds, task.train\)"):
        RunFolder(path).start({"task": {"id": "t", "train": 4}, "rounds": 3})


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"is not empty and holds no run \(there is 'thesis.txt'\)"):
        RunFolder(tmp_path).start(PLAIN)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        RunFolder(tmp_path / "run").start(PLAIN)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_an_unwritable_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    code = (
        f"import os, sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from pathlib import Path; from loops.store import RunFolder; from lessons.errors import InputError\n"
        "os.setuid(65534)\n"
        f"try: RunFolder(Path({str(tmp_path / 'run')!r})).start({PLAIN!r})\n"
        "except InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if "ModuleNotFoundError" in done.stderr or "PermissionError" in done.stderr:
        pytest.skip("another user cannot read this Python or checkout")
    assert "the run folder cannot be made (Permission denied)" in done.stdout


def test_a_run_has_one_writer(tmp_path: Path) -> None:
    first = RunFolder(tmp_path / "run")
    first.start(PLAIN)
    code = (
        "from pathlib import Path; from loops.store import RunFolder; from lessons.errors import InputError\n"
        f"try: RunFolder(Path({str(tmp_path / 'run')!r})).acquire()\n"
        "except InputError as error: print(error)"
    )
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    assert "another process is running this run" in subprocess.check_output(command, text=True, cwd=root)
    first.release()
    assert subprocess.check_output(command, text=True, cwd=root) == ""


def work_in(path: Path) -> Work:
    recipe = resolve({"task": "skills_demo", "student": "tiny", "teacher": "rule_tutor", "method": "rationale"})
    return Work(folder=RunFolder(path), recipe=recipe, listener=Silent())


def test_a_stage_is_done_once_and_its_marker_comes_last(tmp_path: Path) -> None:
    work = work_in(tmp_path)
    runs: list[int] = []

    def do(folder: Path, counts: Counter[str]) -> None:
        assert work.folder.marker(1, "select") is None
        runs.append(1)
        (folder / "lessons.jsonl").write_bytes(b"x\n")
        counts["select/new"] += 1

    first = work.once(1, "select", ("lessons.jsonl",), do)
    assert first.outputs["lessons.jsonl"].startswith("73cb3858")  # SHA-256 of "x\n"
    assert work.once(1, "select", ("lessons.jsonl",), do) == first
    assert runs == [1]


def test_a_stage_that_fails_leaves_no_marker(tmp_path: Path) -> None:
    work = work_in(tmp_path)

    def do(folder: Path, counts: Counter[str]) -> None:
        (folder / "half.jsonl").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        work.once(1, "select", ("half.jsonl",), do)
    assert work.folder.marker(1, "select") is None


def test_a_damaged_record_is_an_error_and_not_a_missing_one(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    assert read_record(path, Marker) is None
    write_record(path, Marker(stage="s", round=1, outputs={}))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="m.json"):
        read_record(path, Marker)
