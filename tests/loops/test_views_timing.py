"""`tutelage show --time`: every second of a run stands in one column."""

import json
from pathlib import Path

import pytest

from lessons.timing import Part
from loops.records import Clock
from loops.store import RunFolder, write_record
from loops.views.timing import RunTime, run_time

TIMES: dict[str, tuple[float, dict[Part, float]]] = {
    "examine": (11.0, {"answer": 10.0, "load": 0.5}),
    "teach": (5.0, {"teacher": 3.0, "answer": 1.0, "score": 0.5}),
    "filter": (0.25, {}),
    "learn": (20.0, {"learn": 18.0, "load": 2.0}),
}


def written(path: Path, clock: Clock | None = None) -> RunTime:
    folder = RunFolder(path)
    folder.start({"task": "any"})
    for stage, (seconds, times) in TIMES.items():
        folder.finish(1, stage, (), {}, seconds, times)
    if clock is not None:
        write_record(path / "clock.json", clock)
    folder.release()
    return run_time(path)


def test_every_second_stands_in_one_column(tmp_path: Path) -> None:
    view = written(tmp_path / "run", Clock(seconds=40.0, starting=2.0))
    assert [stage.stage for stage in view.stages] == list(TIMES)
    for stage in view.stages:
        parts = stage.answer + stage.score + stage.learn + stage.teacher + stage.load + stage.own
        assert parts == pytest.approx(stage.seconds)
    assert (view.student, view.teacher, view.load) == (29.5, 3.0, 2.5)
    assert view.between == pytest.approx(40.0 - 2.0 - 36.25)
    assert view.own == pytest.approx(40.0 - 2.0 - 29.5 - 3.0 - 2.5)
    assert view.own == pytest.approx(sum(stage.own for stage in view.stages) + view.between)
    assert view.overhead == pytest.approx(3.0 / (40.0 - 2.0 - 2.5))
    assert view.overhead_with_loading == pytest.approx((40.0 - 29.5 - 3.0) / 40.0)


def test_the_text_and_the_data_say_the_same(tmp_path: Path) -> None:
    view = written(tmp_path / "run", Clock(seconds=40.0, starting=2.0))
    told = view.text()
    assert "overhead 8.5 % of the wall time without start-up and loading, 18.8 % with them" in told
    assert json.loads(json.dumps(view.data()))["overhead"] == view.overhead
    row = next(line for line in told.splitlines() if " teach " in line)
    assert row.split() == ["teach", "5.00", "s", "1.50", "s", "3.00", "s", "–", "0.50", "s"]


def test_a_clock_that_was_not_noted_lately_takes_the_stages(tmp_path: Path) -> None:
    view = written(tmp_path / "run")
    assert view.seconds == pytest.approx(36.25)
    assert view.between == 0.0


def test_stages_of_older_versions_tell_no_share(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start({"task": "any"})
    folder.finish(1, "examine", (), {}, 3.0)
    folder.release()
    view = run_time(tmp_path / "run")
    assert view.overhead is None
    assert view.unmeasured == 1
    assert "1 stages were done by an older version" in view.text()


def test_a_run_that_has_not_begun(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.start({"task": "any"})
    folder.release()
    view = run_time(tmp_path / "run")
    assert view.stages == ()
    assert view.overhead is None
    assert "overhead" not in view.text()


def test_a_real_run_is_measured(tmp_path: Path) -> None:
    from loops.recipe import resolve
    from loops.run import Run

    recipe = resolve(
        {
            "task": {"id": "skills_demo", "train": 2, "held_out": 2},
            "student": {"model": "tiny", "answer": {"max_tokens": 6}, "adapter": {"rank": 2}},
            "teacher": {"kind": "rule_tutor"}, "method": "rationale", "train": {"epochs": 1}, "rounds": 1,
        }
    )  # fmt: skip
    Run.start(recipe, tmp_path / "run").to_the_end()
    view = run_time(tmp_path / "run")
    of = {(stage.round, stage.stage): stage for stage in view.stages}
    assert of[1, "learn"].learn > 0
    assert of[1, "learn"].own < 0.5 * of[1, "learn"].seconds
    assert of[0, "exam"].answer > 0
    assert of[1, "teach"].teacher > 0
    assert of[1, "filter"].student == 0
    assert all(stage.own >= 0 for stage in view.stages)
    assert view.overhead is not None
    assert 0 < view.overhead < 1
    assert view.starting > 0
    assert view.starting + view.between + sum(stage.seconds for stage in view.stages) == pytest.approx(view.seconds)
