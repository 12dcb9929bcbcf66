"""Curves in a tracker: TRL's and the loop's own, in one run, on one axis."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from lessons.errors import InputError
from loops import tracking
from loops.reading import RunView
from loops.recipe import resolve
from loops.run import Run
from loops.settings import TrackingSettings

RECIPE = {
    "task": {"id": "skills_demo", "skills": ["carrying", "clock"], "train": 4, "held_out": 4, "gate": 2},
    "student": {"model": "tiny", "answer": {"max_tokens": 12, "temperature": 1.0}, "adapter": {"rank": 4}},
    "teacher": "rule_tutor",
    "method": "rationale",
    "select": {"id": "profile", "budget": 16},
    "train": {"epochs": 2, "start": "last"},
    "gate": {"rule": "always"},
    "rounds": 2,
}


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_all_rounds_lie_on_one_axis_beside_the_loops_own_figures(tmp_path: Path) -> None:
    path = tmp_path / "tracked"
    Run.start(resolve({**RECIPE, "tracking": {"report_to": ["tensorboard"]}}), path).to_the_end()
    run = RunView.open(path)
    losses = [loss for turn in run.rounds if turn.learned for loss in turn.learned.learned.losses]
    assert len(losses) >= 4
    told = scalars(path / "tracking", "train/loss")
    assert [step for step, _ in told] == list(range(1, len(losses) + 1))
    assert [loss for _, loss in told] == pytest.approx(losses, abs=1e-6)
    steps = [0, run.rounds[1].learned.learned.steps, len(losses)]
    accuracies = scalars(path / "tracking", "exam/accuracy")
    assert accuracies == [
        (step, pytest.approx(turn.metrics.accuracy)) for step, turn in zip(steps, run.rounds, strict=True)
    ]
    gaps = scalars(path / "tracking", "gap/carrying")
    assert [step for step, _ in gaps] == steps[1:]
    assert [gap for _, gap in gaps] == pytest.approx([turn.profile.rows["carrying"].gap for turn in run.rounds[1:]])

    Run.resume(path).to_the_end()  # a finished run sends nothing again
    assert scalars(path / "tracking", "exam/accuracy") == accuracies


def test_tracking_is_no_part_of_what_a_run_comes_to(tmp_path: Path) -> None:
    plain, tracked = resolve(RECIPE), resolve({**RECIPE, "tracking": {"report_to": ["tensorboard"], "project": "p"}})
    assert plain.digest == tracked.digest
    Run.start(plain, tmp_path / "run").to_the_end()
    assert not (tmp_path / "run" / "tracking").exists()
    Run.resume(tmp_path / "run", changes=["tracking.report_to=[tensorboard]"]).to_the_end()
    assert next(step for step, _ in scalars(tmp_path / "run" / "tracking", "round")) == 0


def test_a_tracker_that_is_not_installed_is_refused_before_anything_is_done(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None if name == "wandb" else object())
    recipe = resolve({**RECIPE, "tracking": {"report_to": ["tensorboard", "wandb"]}})
    with pytest.raises(InputError, match=r"tracking.report_to.1: wandb is not installed here: pip install wandb"):
        Run.start(recipe, tmp_path / "run")
    assert not (tmp_path / "run" / "problems").exists()


def test_an_unknown_tracker_is_named() -> None:
    with pytest.raises(InputError, match=r"tracking.report_to.0: .*got 'tensorbord'"):
        resolve({**RECIPE, "tracking": {"report_to": ["tensorbord"]}})


def test_a_tracker_that_cannot_be_opened_is_one_line(tmp_path: Path, monkeypatch) -> None:
    def broken(tracker: tracking.Tracker) -> tracking.Log:
        raise RuntimeError("api key not configured\nand a long story")

    monkeypatch.setitem(tracking._OPEN, "wandb", broken)
    tracker = tracking.Tracker(TrackingSettings(report_to=("wandb",)), tmp_path / "t", "name", {})
    with pytest.raises(InputError, match=r"^tracking.report_to: wandb cannot be opened: api key not configured$"):
        tracker.open()


@pytest.mark.slow
def test_trackio_holds_one_run_of_both(tmp_path: Path) -> None:
    pytest.importorskip("trackio")
    recipe = {**RECIPE, "tracking": {"report_to": ["trackio"], "project": "both"}}
    (tmp_path / "r.yaml").write_text(json.dumps(recipe))
    done = subprocess.run(
        [sys.executable, "-c", "from loops.cli import main; main()", "run", "r.yaml", "--into", "tracked", "--quiet"],
        cwd=tmp_path, env=_environment(tmp_path), capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(tmp_path / "trackio" / "both.db") as database:
        rows = [(run, json.loads(told)) for run, told in database.execute("SELECT run_name, metrics FROM metrics")]
    assert {run for run, _ in rows} == {"tracked"}
    losses = [told["train/global_step"] for _, told in rows if "train/loss" in told]
    assert losses == list(range(1, len(losses) + 1))
    assert [told["round"] for _, told in rows if "round" in told] == [0, 1, 2]


def _environment(tmp_path: Path) -> dict[str, str]:
    import os

    return {**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "PYTHONPATH": os.pathsep.join(sys.path)}
