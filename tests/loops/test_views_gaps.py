import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.statistics import mcnemar
from loops.reading import RunView
from loops.views.gaps import gaps, trend_of
from loops.views.text import duration, one_line, p_value, points, spark, visible


def test_overall_figures_are_the_exams(example_run: Path) -> None:
    view = gaps(example_run)
    assert [row.round for row in view.rounds] == [0, 1, 2]
    metrics = RunView.open(example_run).rounds[2].metrics
    assert metrics is not None
    assert view.now is not None
    assert view.now.since_start == metrics.since_start
    assert (view.rounds[2].accuracy, view.rounds[2].low, view.rounds[2].high) == (
        metrics.accuracy,
        metrics.low,
        metrics.high,
    )


def test_a_skills_change_is_paired_over_the_two_exams(example_run: Path) -> None:
    view = gaps(example_run)
    run = RunView.open(example_run)
    products = next(row for row in view.skills if row.skill == "products")
    before = {a.problem.id: a for a in run.rounds[0].exam()}
    pairs = [(before[a.problem.id], a) for a in run.rounds[2].exam() if "products" in a.problem.skills]
    gained = sum(new.right and not old.right for old, new in pairs)
    lost = sum(old.right and not new.right for old, new in pairs)
    assert products.since_start is not None
    assert (products.since_start.gained, products.since_start.lost, products.since_start.n) == (gained, lost, 30)
    assert products.since_start.p >= mcnemar(gained, lost)  # corrected over the skills


def test_a_loss_is_named_as_loudly_as_a_gain(example_run: Path) -> None:
    view = gaps(example_run)
    assert view.down == ("products",)
    assert "carrying" in view.up
    assert all(trend_of(row.since_start) == row.trend for row in view.skills)
    lines = view.text().splitlines()
    assert any(line.strip().startswith("down: products −40") for line in lines)
    assert any(line.strip().startswith("up:   carrying +63") for line in lines)


def test_the_widest_gap_stands_first(example_run: Path) -> None:
    starts = [next(iter(row.gaps.values())) for row in gaps(example_run).skills]
    assert starts == sorted(starts, reverse=True)


def test_data_is_what_json_can_hold(example_run: Path) -> None:
    data = json.loads(json.dumps(gaps(example_run).data()))
    assert data["current"] == 2
    assert data["skills"][0]["gaps"]["1"] == 1.0
    assert data["rounds"][0]["since_start"] is None


def test_a_round_that_was_not_kept_is_not_where_the_run_stands(own_run: Path) -> None:
    path = own_run / "rounds/02/metrics.json"
    metrics = json.loads(path.read_text()) | {"promoted": False, "verdict": "kept the student before"}
    path.write_text(json.dumps(metrics))
    view = gaps(own_run)
    promoted = [row.round for row in view.rounds if row.promoted]
    assert view.current == promoted[-1] != 2
    assert "not promoted" in view.text()


def test_a_round_without_an_exam_yet(own_run: Path) -> None:
    for name in ("metrics.json", "exam.jsonl", ".done/exam.json", "learned.json"):
        (own_run / "rounds/02" / name).unlink()
    view = gaps(own_run)
    assert [row.round for row in view.rounds] == [0, 1]
    assert set(view.skills[0].gaps) == {1, 2}
    assert "round 1" in view.text()


def test_a_run_without_any_exam(own_run: Path) -> None:
    shutil.rmtree(own_run / "rounds")
    view = gaps(own_run)
    assert (view.rounds, view.skills, view.current, view.start, view.now) == ((), (), None, None, None)
    assert "no exam yet" in view.text()


def test_text_is_plain_and_hostile_names_are_shown_not_obeyed(make_run: Callable[..., Path]) -> None:
    path = make_run(hostile="\x1b[31m[red]\u202e:smile:", train=4, held_out=4)
    told = gaps(path).text()
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert "⟨ESC⟩[31m[red]⟨U+202E⟩:smile:" in told


def test_ungraded_answers_are_said(own_run: Path) -> None:
    path = own_run / "rounds/00/metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"ungraded": 3}))
    assert "3 not graded" in gaps(own_run).text()


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (points(0.0762), "+7.6"),
        (points(-0.4, 0), "−40"),
        (points(-0.0001), "0.0"),
        (points(0.0), "0.0"),
        (p_value(0.00001), "p < 0.001"),
        (p_value(0.0021), "p 0.0021"),
        (p_value(1.0), "p 1.00"),
        (duration(0.42), "0.4 s"),
        (duration(59.7), "1 m 00 s"),
        (duration(190), "3 m 10 s"),
        (duration(7500), "2 h 05 m"),
        (spark([0.0, None, 1.0]), "▁ █"),
        (one_line("a\n b\tc" * 50, 8), "a b ca…"),
        (visible("a\r\nb\u2066\x00\u00e9\u05d0"), "a\nb⟨U+2066⟩⟨U+0000⟩\u00e9\u05d0"),
    ],
)
def test_figures_are_written_as_people_write_them(told: str, expected: str) -> None:
    assert told == expected
