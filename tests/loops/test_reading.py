import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.errors import InputError
from loops.reading import RunView


def test_a_finished_run_is_read_whole(example_run: Path) -> None:
    run = RunView.open(example_run)
    assert run.name == "grade-school-7c1e2f"
    assert run.state == "finished"
    assert run.recipe["method"]["id"] == "stat_syn"
    assert [turn.index for turn in run.rounds] == [0, 1, 2]
    assert [turn.index for turn in run.examined] == [0, 1, 2]
    first = run.round(1)
    assert first is not None
    assert list(first.markers) == ["examine", "diagnose", "teach", "filter", "select", "learn", "exam"]
    assert first.profile is not None
    assert first.profile.worst(1) == ["spelling backwards"]
    assert sum(1 for _ in run.problems("held_out")) == 210
    rows = list(first.lessons())
    assert {row.provenance.method for row in rows if not first.is_new(row)} == {"replay"}
    assert {row.provenance.method for row in rows if first.is_new(row)} == {"stat_syn"}


def test_streams_can_be_read_again(example_run: Path) -> None:
    turn = RunView.open(example_run).rounds[1]
    assert [lesson.id for lesson in turn.lessons()] == [lesson.id for lesson in turn.lessons()]


def test_what_is_no_run_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        RunView.open(tmp_path / "absent")
    with pytest.raises(InputError, match="is not a run") as told:
        RunView.open(tmp_path)
    assert "\n" not in str(told.value)


def test_a_run_that_has_only_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("rounds: 2\n")
    run = RunView.open(tmp_path)
    assert (run.info, run.rounds, run.state, run.name) == (None, (), "not begun", tmp_path.name)
    assert run.accounts == {}
    assert list(run.calls(["0" * 16])) == []


def test_a_damaged_file_is_named(own_run: Path) -> None:
    (own_run / "rounds/01/metrics.json").write_text("{")
    with pytest.raises(InputError, match=r"metrics\.json"):
        _ = RunView.open(own_run).rounds[1].metrics


def test_state_follows_the_markers(own_run: Path) -> None:
    (own_run / "finished.json").unlink()
    assert RunView.open(own_run).state == "after round 2"
    last = own_run / "rounds/02"
    for name in ("metrics.json", ".done/exam.json"):
        (last / name).unlink()
    assert RunView.open(own_run).state == "in round 2, exam"
    for name in ("learn", "select", "filter"):
        (last / f".done/{name}.json").unlink()
    assert RunView.open(own_run).state == "in round 2, filter"
    shutil.rmtree(last)
    assert RunView.open(own_run).state == "after round 1"


def test_answers_and_drops_are_read_before_their_stage_is_whole(own_run: Path) -> None:
    folder = own_run / "rounds/01"
    (folder / "attempts.jsonl").rename(folder / "answers.jsonl")
    (folder / "dropped.jsonl").rename(folder / "dropped_by_method.jsonl")
    turn = RunView.open(own_run).rounds[1]
    assert sum(1 for _ in turn.attempts()) == 42
    assert sum(1 for _ in turn.dropped()) > 0


def test_reading_imports_nothing_heavy() -> None:
    names = "loops.reading, loops.views.gaps, loops.views.show, loops.views.why, loops.report"
    program = f"import sys, {names}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "plotly", "rich", "jinja2", "openai", "scipy"} & set(loaded)
