import json
from collections.abc import Callable
from pathlib import Path

from loops.reading import RunView
from loops.views.show import show


def test_the_funnel_adds_up(example_run: Path) -> None:
    view = show(example_run)
    for row in view.rounds[1:]:
        assert row.candidates is not None
        assert row.kept is not None
        assert row.candidates == row.kept + sum(drop.count for drop in row.dropped)
        assert row.trained is not None
        assert row.new is not None
        assert row.replayed == 20
        assert row.trained == row.new + row.replayed
        assert row.new <= row.kept
        assert row.asked is not None
        assert row.answered is not None
        assert row.asked > row.answered
        assert row.next_stage is None
    assert view.rounds[0].asked is None
    assert view.rounds[0].outcome is not None


def test_every_drop_and_lost_reply_has_its_reason_and_count(example_run: Path) -> None:
    first = show(example_run).rounds[1]
    assert {(drop.by, drop.reason) for drop in first.dropped} == {
        ("verified", "wrong answer"),
        ("near_duplicate", "too like another lesson"),
        ("format", "no final answer"),
    }
    assert [(drop.by, drop.reason, drop.count) for drop in first.lost] == [
        ("solution", "truncated", 5),
        ("new_problem", "refused", 1),
    ]
    assert [drop.count for drop in first.dropped] == sorted((drop.count for drop in first.dropped), reverse=True)


def test_tokens_by_purpose_come_from_the_ledger(example_run: Path) -> None:
    view = show(example_run)
    assert [row.purpose for row in view.teacher] == ["diagnose", "new_problem", "solution"]
    assert all(row.calls and row.prompt and row.completion and not row.unmeasured for row in view.teacher)


def test_text_says_the_whole_round(example_run: Path) -> None:
    told = show(example_run).text()
    for part in ("118 asked > 116 answered > 112 parsed > 109 candidates", "73 kept of 109", "70 new + 20 replayed"):
        assert part in told
    assert "loss 0.61 > 0.34" in told
    assert "promoted: better beyond chance" in told
    assert "3 m 10 s" in told


def test_a_round_that_was_killed_while_teaching(own_run: Path) -> None:
    folder = own_run / "rounds/02"
    whole = show(own_run).rounds[2]
    for path in folder.iterdir():
        if path.is_file() and path.name not in ("attempts.jsonl", "profile.json"):
            path.unlink()
    for path in (folder / ".done").iterdir():
        if path.stem not in ("examine", "diagnose"):
            path.unlink()
    row = show(own_run).rounds[2]
    assert (row.asked, row.candidates, row.kept, row.trained, row.loss, row.outcome) == (None,) * 6
    assert row.next_stage == "teach"
    assert whole.stages[:2] == row.stages
    assert "teach" in show(own_run).text()
    assert "not done yet" in show(own_run).text()


def test_candidates_that_no_filter_has_judged_are_counted(own_run: Path) -> None:
    folder = own_run / "rounds/02"
    before = show(own_run).rounds[2]
    for name in ("kept.jsonl", "dropped.jsonl", "lessons.jsonl", "learned.json", "metrics.json"):
        (folder / name).unlink()
    row = show(own_run).rounds[2]
    assert (row.candidates, row.kept) == (before.candidates, None)


def test_a_run_without_rounds_or_ledger(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("rounds: 1\n")
    view = show(RunView.open(tmp_path))
    assert (view.rounds, view.teacher) == ((), ())
    assert "no round has begun" in view.text()


def test_hostile_reasons_are_shown_not_obeyed(make_run: Callable[..., Path]) -> None:
    told = show(make_run(hostile="\x1b[2J[bold]\u202e", train=4, held_out=4)).text()
    assert "\x1b" not in told
    assert "wrong answer⟨ESC⟩[2J[bold]⟨U+202E⟩" in told


def test_data_is_what_json_can_hold(example_run: Path) -> None:
    data = json.loads(json.dumps(show(example_run).data()))
    assert data["rounds"][1]["asked"] == 118
