import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lessons.statistics import mcnemar
from loops.reading import RunView
from loops.records import NoiseFloor, SkillNoise
from loops.store import write_record
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


def test_the_widest_pooled_gap_stands_first_with_its_interval_and_its_share(example_run: Path) -> None:
    view = gaps(example_run)
    starts = [next(iter(row.pooled.values())).gap for row in view.skills]
    assert starts == sorted(starts, reverse=True)
    profile = RunView.open(example_run).rounds[1].profile
    assert profile is not None
    assert {row.skill: row.shares[1] for row in view.skills} == pytest.approx(profile.shares("gap"))
    assert {row.skill: row.pooled[1] for row in view.skills} == profile.pooled()
    first = view.skills[0]
    assert first.attempts[2] == profile.rows[first.skill].attempts
    last = first.pooled[2]
    (line,) = [line for line in view.text().splitlines() if line.strip().startswith(first.skill)]
    assert f"> {100 * last.gap:.0f} % [{100 * last.low:.0f}, {100 * last.high:.0f}]" in line


def test_shares_are_as_the_recipe_reckons_them(own_run: Path) -> None:
    profile = RunView.open(own_run).rounds[1].profile
    assert profile is not None
    recipe = own_run / "recipe.yaml"
    plain = recipe.read_text()
    for select, expected in (
        ("{id: profile, by: gap}", profile.shares("gap")),
        ("{id: profile}", profile.shares("count")),  # from before there was a choice
        ("{id: profile, by: count, floor: 1.0}", dict.fromkeys(profile.rows, 1 / len(profile.rows))),
        ("{id: uniform}", {}),
    ):
        recipe.write_text(f"{plain}select: {select}\n")
        view = gaps(own_run)
        assert {row.skill: row.shares[1] for row in view.skills if row.shares} == pytest.approx(expected)
        assert ("share" in view.text()) is bool(expected)


def test_error_kinds_and_the_form_gap_are_told_apart_from_skills(own_run: Path) -> None:
    folder = own_run / "rounds/01"
    profile = json.loads((folder / "profile.json").read_text())
    profile |= {"missed": 12, "formless": 4, "errors": {"format": 3, "truncated": 1, "wrong plan": 6}}
    (folder / "profile.json").write_text(json.dumps(profile))
    marker = json.loads((folder / ".done/diagnose.json").read_text())
    marker["counts"] = {
        "verdict/grader wrong, teacher wrong": 7,
        "verdict/grader wrong, teacher right": 1,
        "verdict/grader right, teacher right": 5,
    }
    (folder / ".done/diagnose.json").write_text(json.dumps(marker))
    view = gaps(own_run)
    row = view.errors[0]
    assert (row.round, row.missed, row.formless, row.untold) == (1, 12, 4, 2)
    assert row.verdicts is not None
    assert row.verdicts.shares == (7 / 8, 1.0)
    (line,) = [line for line in view.text(240).splitlines() if "form:" in line]
    assert "failures 12: wrong plan 6, format 3, truncated 1, kind not told 2" in line
    assert "form: 4 of 12 failures are format or truncated; no skill's gap" in line
    assert "teacher agrees on 7 of 8 failures, 5 of 5 right ones" in line


def test_profiles_of_older_runs_are_pooled_when_they_are_looked_at(own_run: Path) -> None:
    path = own_run / "rounds/01/profile.json"
    profile = json.loads(path.read_text())
    old = {"attempts", "right", "failures", "missing"}
    rows = {name: {key: row[key] for key in old} for name, row in profile["rows"].items()}
    path.write_text(json.dumps({"rows": rows}))
    view = gaps(own_run)
    assert view.errors[0].missed is None
    assert "failures –" in view.text()
    for row in view.skills:
        assert 0 <= row.pooled[1].low < row.pooled[1].gap < row.pooled[1].high <= 1


def test_the_noise_floor_is_shown_and_moves_no_skill(own_run: Path) -> None:
    plain = gaps(own_run)
    assert plain.noise is None
    noise = NoiseFloor(
        n=40, changed=9, flipped=4, difference=0.05, floor=0.0987,
        skills={"carrying": SkillNoise(n=8, flipped=1, floor=0.24)},
    )  # fmt: skip
    write_record(own_run / "rounds/00/noise.json", noise)
    view = gaps(own_run)
    assert "noise floor 9.9 points: examined twice, 4 of 40 verdicts differ" in view.text()
    assert {row.skill: row.floor for row in view.skills if row.floor is not None} == {"carrying": 0.24}
    assert (view.up, view.down) == (plain.up, plain.down)


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
